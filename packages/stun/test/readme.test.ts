import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test("the README's example runs as it stands, and data goes through the relay (C3)", () => {
  const folder = new URL('..', import.meta.url);
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readFileSync(new URL('README.md', folder), 'utf8')) ?? [];
  const options = { cwd: folder, encoding: 'utf8' } as const;
  const output = execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', example], options);
  expect(output).toMatch(/ann: 11\.\d+\.\d+\.\d+, round trip 4\d/);
  expect(output).toContain('ben hears "hello"');
  expect(output).toContain('1 packet relayed');
});
