import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { daemonUnit, serveUnit } from '../../../packaging/deb/files.ts';
import { unitText } from '../src/commands/daemon/unit.ts';
import { CommandLine } from './command-line.ts';

const CRASH = new URL('../src/cli/crash.ts', import.meta.url).href;

const BIN = new URL('../bin/towpath.js', import.meta.url).pathname;
const POLL = { timeout: 30_000 };

/** Returns the process ids of a process's children (Linux). */
function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

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

  test('a command that waits for nothing ends with a line and exit code 1, not with Node’s own', async () => {
    const source = `import { endOnStall } from ${JSON.stringify(CRASH)}; endOnStall(); await new Promise(() => {});`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let err = '';
    child.stderr.on('data', (data: Buffer) => {
      err += data.toString();
    });
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(err).toBe('towpath: internal error: the command waits for nothing. Please report this.\n');
  });

  test.each(['the daemon', 'cameras alone', 'serve', "the package's daemon", "the package's serve"])(
    'systemd starts %s again after it, and not after a wrong command line',
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
      expect(units[name]).toMatch(/^RestartPreventExitStatus=2$/m);
    },
  );

  test('is told without what its fields hold, and without control characters', async () => {
    const fields = "{ password: 'SECRET', request: { headers: { authorization: 'Bearer SECRET' } } }";
    const cause = "Object.assign(new Error('the cause'), { key: 'SECRET' })";
    const error = `Object.assign(new Error('defect\\x1b]0;title\\x07\\ntowpath: false line', { cause: ${cause} }), ${fields})`;
    const { signal, err } = await run(`setTimeout(() => { throw ${error}; }, 1)`);
    expect(signal).toBe('SIGKILL');
    expect(err).toContain('defect\\u001b]0;title\\u0007\n    towpath: false line');
    expect(err).toContain('cause: Error: the cause');
    expect(err).not.toContain('SECRET');
  });

  test.each([
    ['an object', "{ password: 'SECRET' }", 'a value of type object was thrown'],
    ['a text', "'defect one'", 'defect one'],
    ['nothing', 'undefined', 'a value of type undefined was thrown'],
    ['an error that is its own cause', "(() => { const e = new Error('ring'); e.cause = e; return e; })()", 'ring'],
  ])('that is %s ends the process with a line, too', async (_what, thrown, told) => {
    const { signal, err } = await run(`setTimeout(() => { throw ${thrown}; }, 1)`);
    expect([signal, err]).toEqual(['SIGKILL', expect.stringContaining(told)]);
    expect(err).not.toContain('SECRET');
  });

  test.runIf(process.platform === 'linux').each([
    ['a timer', "throw Object.assign(new Error('defect one'), { password: 'SECRET' })"],
    ['a promise', "void Promise.reject(Object.assign(new Error('defect one'), { password: 'SECRET' }))"],
  ])(
    'in %s ends a worker, which is started again, and the first process with all workers',
    async (_where, statement) => {
      const folder = mkdtempSync(join(tmpdir(), 'towpath-crash-'));
      const module = join(folder, 'defect.mjs');
      writeFileSync(module, `process.once('SIGWINCH', () => setTimeout(() => { ${statement}; }, 1));`);
      const args = [
        'relay',
        'serve',
        '--no-relay',
        '--address',
        '127.0.0.1',
        '--port',
        '0',
        '--workers',
        '2',
        '--json',
      ];
      const env = { ...process.env, NODE_OPTIONS: `--import ${module}`, XDG_CONFIG_HOME: folder };
      const first = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
      let err = '';
      first.stderr.on('data', (data: Buffer) => {
        err += data.toString();
      });
      const closed = once(first, 'close') as Promise<[number | null, string | null]>;
      const reports = () =>
        err.match(/^towpath: internal error \(\w+\), the process ends\. Please report this\.$/gm) ?? [];
      try {
        await once(first.stdout, 'data');
        const before = childrenOf(first.pid!);
        expect(before).toHaveLength(2);
        process.kill(before[0]!, 'SIGWINCH');
        await expect.poll(() => childrenOf(first.pid!).filter((pid) => !before.includes(pid)).length, POLL).toBe(1);
        expect([childrenOf(first.pid!).includes(before[1]!), first.exitCode]).toEqual([true, null]);
        expect(reports()).toHaveLength(1);
        const workers = childrenOf(first.pid!);
        first.kill('SIGWINCH');
        expect(await closed).toEqual([null, 'SIGKILL']);
        expect(reports()).toHaveLength(2);
        await expect.poll(() => workers.filter((pid) => existsSync(`/proc/${pid}`)), POLL).toEqual([]);
        expect(err).toContain('defect one');
        expect(err).not.toContain('SECRET');
      } finally {
        first.kill('SIGKILL');
        rmSync(folder, { recursive: true });
      }
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
    const child = spawn(process.execPath, [BIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { out: '', err: '' };
    child.stdout.on('data', (data: Buffer) => {
      said.out += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      said.err += data.toString();
    });
    await expect.poll(() => said.out).toMatch(/"listening"|listens/);
    return { child, said };
  }

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

  test('ends the process although its clean-up would never end', async () => {
    const { signal, tookMs } = await run("process.on('exit', () => { for (;;) {} }); setTimeout(() => { null.x; }, 1)");
    expect(signal).toBe('SIGKILL');
    expect(tookMs).toBeLessThan(30_000);
  });
});
