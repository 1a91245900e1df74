import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

test('a Node that is too old is said once, when the library is imported (D6)', () => {
  const old = `data:text/javascript,${encodeURIComponent('delete Promise.withResolvers;')}`;
  const index = new URL('../src/index.ts', import.meta.url).href;
  const program = `import(${JSON.stringify(index)}).catch(({ code, message }) => console.log(code, message))`;
  const run = (...args: string[]) => spawnSync(process.execPath, [...args, '--eval', program], { encoding: 'utf8' });
  const { stdout } = run('--import', old);
  expect(stdout).toMatch(
    /^unsupported-node Towpath needs Node 22\.16 or newer, and this is v\d[^\n]+Next: install[^\n]+\n$/,
  );
  expect(run().stdout).toBe('');
});
