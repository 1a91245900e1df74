import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test("the README's example runs and says what is missing where there is no D-Bus", () => {
  const folder = new URL('..', import.meta.url);
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readFileSync(new URL('README.md', folder), 'utf8')) ?? [];
  const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nonexistent/bus' };
  const options = { cwd: folder, encoding: 'utf8', env } as const;
  const output = execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', example], options);
  expect(output).toMatch(/^no-system-bus: The D-Bus system bus was not reached .*Next: this works on Linux/);
});
