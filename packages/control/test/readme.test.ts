import { readFile } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';

test('the example of the README is the one that runs, and says what it promises', async () => {
  const file = (name: string) => readFile(new URL(name, import.meta.url), 'utf8');
  const [, example] = /```ts\n([\s\S]*?)```/.exec(await file('../README.md'))!;
  expect(await file('readme-example.ts')).toBe(example);
  const said: string[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((line: string) => {
    said.push(line);
  });
  await import('./readme-example.ts');
  log.mockRestore();
  expect(said.join('\n')).toMatch(/^invite code: [0-9A-Z-]{19}\nBen is here, at 10\.66\.\d+\.\d+\nBen got: hello$/);
});
