import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test("the README's examples run as they stand, and print what they say", () => {
  const folder = new URL('..', import.meta.url);
  const examples = [...readFileSync(new URL('README.md', folder), 'utf8').matchAll(/```ts\n(.*?)```/gs)];
  expect(examples.length).toBe(2);
  for (const [, example = ''] of examples) {
    const options = { cwd: folder, encoding: 'utf8' } as const;
    const output = execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', example], options);
    const promised = [...example.matchAll(/^\/\/ (.+)$/gm)].map(([, line]) => line);
    expect(output.trimEnd().split('\n')).toEqual(promised);
  }
});
