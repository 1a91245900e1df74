import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { expect, test } from 'vitest';

test("the README's example runs as it stands: connects, and brings three pictures home (B3, B13)", () => {
  const root = new URL('..', import.meta.url);
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readFileSync(new URL('README.md', root), 'utf8')) ?? [];
  const options = { cwd: root, encoding: 'utf8' } as const;
  const output = execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', example], options);
  expect(output).toMatch(/^DISCOVERING\nDISCOVERED\nAUTHENTICATING\nCONNECTED\n/);
  expect(output).toContain('battery');
  const [, folder = ''] = /3 of 83 pictures are in (.*)/.exec(output) ?? [];
  const pictures = readdirSync(folder).filter((name) => name.endsWith('.jpg'));
  rmSync(folder, { recursive: true });
  expect(pictures).toHaveLength(3);
});
