import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test("the README's example runs and prints the documented result", () => {
  const folder = new URL('..', import.meta.url);
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readFileSync(new URL('README.md', folder), 'utf8')) ?? [];
  const options = { cwd: folder, encoding: 'utf8' } as const;
  const output = execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', example], options);
  expect(output).toMatch(/^symmetric: Direct connections work with/);
  expect(output).toContain('port-restricted cone: port-prediction');
  expect(output).toContain('External ports are sequential, with a step of 1.');
});
