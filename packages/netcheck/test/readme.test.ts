import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test("the README's example runs as it stands and says what it claims", () => {
  const folder = new URL('..', import.meta.url);
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readFileSync(new URL('README.md', folder), 'utf8')) ?? [];
  const options = { cwd: folder, encoding: 'utf8' } as const;
  const output = execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', example], options);
  expect(output).toMatch(/^symmetric: Direct connections work with/);
  expect(output).toContain('port-restricted cone: predicted');
  expect(output).toContain('Ports are given out one after the other, 1 apart.');
});
