import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { daemonUnit, serveUnit } from '../../../packaging/deb/files.ts';
import { unitText } from '../src/commands/daemon/unit.ts';

const CRASH = new URL('../src/cli/crash.ts', import.meta.url).href;

/** Runs a script with the handler installed; resolves with how it ended. */
async function run(script: string): Promise<{ signal: string | null; err: string; tookMs: number }> {
  const source = `import { endOnUncaughtError } from ${JSON.stringify(CRASH)}; endOnUncaughtError(); ${script}`;
  const started = performance.now();
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let err = '';
  child.stderr.on('data', (data: Buffer) => {
    err += data.toString();
  });
  const [, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { signal, err, tookMs: performance.now() - started };
}

describe('an error that nobody caught (A1)', { timeout: 60_000 }, () => {
  test.each([
    ['in a callback', "setTimeout(() => { throw new Error('defect one'); }, 1)"],
    ['in a promise', "Promise.reject(new Error('defect one'))"],
  ])('%s ends the process, although a server and timers keep it busy', async (_where, script) => {
    const busy = "import('node:net').then(({ createServer }) => createServer().listen(0)); setInterval(() => {}, 1);";
    const { signal, err } = await run(`${busy} ${script}`);
    expect([signal, err]).toEqual(['SIGKILL', expect.stringContaining('defect one')]);
    expect(err).toContain('internal error');
  });

  test.each(['the daemon', 'cameras alone', 'serve', "the package's daemon", "the package's serve"])(
    'systemd starts %s again after it',
    (name) => {
      const deployed = readFileSync(new URL('../../../deploy/towpath.service', import.meta.url), 'utf8');
      const program: [node: string, script: string] = ['/usr/bin/node', '/usr/lib/towpath.js'];
      const node = { program, stateFolder: '/var/lib/towpath' };
      const units: Record<string, string> = {
        'the daemon': unitText({ ...node, camerasOnly: false }),
        'cameras alone': unitText({ ...node, camerasOnly: true }),
        serve: deployed,
        "the package's daemon": daemonUnit(),
        "the package's serve": serveUnit(deployed),
      };
      expect(units[name]).toMatch(/^Restart=(always|on-failure)$/m);
    },
  );

  test('ends the process although its clean-up would never end', async () => {
    const { signal, tookMs } = await run("process.on('exit', () => { for (;;) {} }); setTimeout(() => { null.x; }, 1)");
    expect(signal).toBe('SIGKILL');
    expect(tookMs).toBeLessThan(30_000);
  });
});
