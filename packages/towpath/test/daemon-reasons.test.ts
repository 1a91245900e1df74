import { readFileSync } from 'node:fs';
import { PathReason } from '@towpath/core';
import { MeshReason } from '@towpath/mesh';
import { expect, test } from 'vitest';
import { REASON_CODES } from '../src/daemon/parties/reasons.ts';

test('every reason code of paths and peers has words, and is in the documents (D4)', () => {
  const codes = [...Object.values(PathReason), ...Object.values(MeshReason)].sort();
  expect(REASON_CODES.toSorted()).toEqual([...new Set(codes)]);
  const documented = readFileSync(new URL('../../../docs/protocol/reasons.md', import.meta.url), 'utf8');
  for (const code of codes) expect(documented).toContain(`\`${code}\``);
});
