import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { daemonUnit, serveUnit } from '../../../packaging/deb/files.ts';
import { unitText } from '../src/commands/daemon/unit.ts';
import { CommandLine } from './command-line.ts';

const PROGRAM = fileURLToPath(new URL('../bin/towpath.js', import.meta.url));
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

  /** Starts the program, in whose processes SIGWINCH makes a callback throw from then on. Waits until it listens. */
  async function startWithDefect(commandLine: CommandLine, args: readonly string[]) {
    const module = commandLine.file('defect.mjs');
    writeFileSync(module, "process.on('SIGWINCH', () => { throw new Error('injected defect'); });");
    const env = {
      ...process.env,
      TOWPATH_HOME: commandLine.file('config'),
      NODE_OPTIONS: `--import ${pathToFileURL(module).href}`,
    };
    const child = spawn(process.execPath, [PROGRAM, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { out: '', err: '' };
    child.stdout.on('data', (data: Buffer) => void (said.out += data.toString()));
    child.stderr.on('data', (data: Buffer) => void (said.err += data.toString()));
    await expect.poll(() => said.out).toMatch(/"listening"|listens/);
    return { child, said };
  }

  const childrenOf = (pid: number) =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

  test.each([
    ['serve', ['serve', '--port', '0', '--stun-port', '0', '--open']],
    ['relay serve', ['relay', 'serve', '--port', '0', '--no-relay', '--allow-peer', '127.0.0.0/8']],
    ['pppp serve', ['pppp', 'serve', '--relay-port', '0', '--ports', '0', '--json']],
  ])('ends `towpath %s`, and says so in the first line', async (_name, args) => {
    using commandLine = new CommandLine();
    const { child, said } = await startWithDefect(commandLine, args);
    const ended = once(child, 'close');
    child.kill('SIGWINCH');
    const [, signal] = (await ended) as [number | null, string | null];
    expect(signal).toBe('SIGKILL');
    const internal = said.err.split('\n').filter((line) => line.startsWith('towpath: '));
    expect(internal).toEqual(['towpath: internal error (uncaughtException), the process ends. Please report this.']);
    expect(said.err).toContain('injected defect');
  });

  test('in one process of `towpath relay serve` is said, and others take its place', async () => {
    using commandLine = new CommandLine();
    const secret = 'a secret that is long enough';
    writeFileSync(commandLine.file('secret'), `${secret}\n`, { mode: 0o600 });
    const args = ['--port', '0', '--allow-peer', '127.0.0.0/8', '--secret-file', commandLine.file('secret')];
    const { child, said } = await startWithDefect(commandLine, ['relay', 'serve', ...args, '--workers', '2']);
    const ended = once(child, 'close');
    const first = childrenOf(child.pid!);
    expect(first).toHaveLength(2);
    for (const pid of first) process.kill(pid, 'SIGWINCH');
    const others = () => childrenOf(child.pid!).filter((pid) => !first.includes(pid)).length;
    await expect.poll(others).toBe(2);
    expect(said.err.split('internal error (uncaughtException), the process ends')).toHaveLength(3);
    child.kill('SIGTERM');
    expect((await ended)[0]).toBe(130);
    expect(said.err + said.out).not.toContain(secret);
  });

  test('ends the process although its clean-up would never end', async () => {
    const { signal, tookMs } = await run("process.on('exit', () => { for (;;) {} }); setTimeout(() => { null.x; }, 1)");
    expect(signal).toBe('SIGKILL');
    expect(tookMs).toBeLessThan(30_000);
  });
});
