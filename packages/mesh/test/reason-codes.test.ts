import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PathReason } from '@towpath/core';
import { expect, test } from 'vitest';
import { MeshReason } from '../src/reason.ts';

test('the page of reason codes lists every code once', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs', 'protocol', 'reasons.md'), 'utf8');
  const listed = [...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, code]) => code);
  const codes: string[] = [...Object.values(PathReason), ...Object.values(MeshReason)];
  expect(listed.toSorted()).toEqual(codes.toSorted());
});
