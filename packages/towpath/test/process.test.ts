import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { NodeNetwork } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { freePort } from '../../net/test/free-port.ts';
import { CommandLine } from './command-line.ts';
import { CAMERA } from './support.ts';

const TOWPATH = fileURLToPath(new URL('../bin/towpath.js', import.meta.url));

/** Makes this Node say that it is an old one, so that the command looks for the one that the repository pins. */
const OLD_NODE = 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.0.0" } })';

/** An emulated camera in a process of its own, started as somebody does whose `node` is too old. */
async function emulateWithOldNode(): Promise<{ process: ChildProcess; port: number }> {
  const port = await freePort();
  const env: NodeJS.ProcessEnv = { ...process.env };
  delete env.TOWPATH_NODE;
  const args = ['camera', 'emulate', '--port', String(port), '--search-port', '0', '--items', '1'];
  const child = spawn(process.execPath, ['--import', `data:text/javascript,${OLD_NODE}`, TOWPATH, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return { process: child, port };
}

/** Resolves once nobody holds the port any more; a process that stays behind makes the test run out of time. */
async function released(port: number): Promise<void> {
  for (;;) {
    try {
      const socket = await new NodeNetwork().bindUdp({ address: CAMERA, port, onMessage: () => {} });
      await socket[Symbol.asyncDispose]();
      return;
    } catch {
      // Still taken: the process has not ended yet.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe('the process', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 130],
  ] as const)(
    'started with an old Node, hands %s on and ends with the exit code of the real one',
    async (signal, code) => {
      const { process: child, port } = await emulateWithOldNode();
      child.kill(signal);
      expect(await once(child, 'exit')).toEqual([code, null]);
      await released(port);
    },
  );

  test('started with an old Node, leaves no process behind when it is killed', async () => {
    const { process: child, port } = await emulateWithOldNode();
    child.kill('SIGKILL');
    await once(child, 'exit');
    await released(port);
  });
});

test('a command that asks the daemon loads neither fetch nor the engine, which take longer than the rest', () => {
  using commandLine = new CommandLine();
  const tell = `
    import { registerHooks } from 'node:module';
    const packages = new Set();
    registerHooks({
      load(url, context, next) {
        packages.add(/[/]packages[/](.*?)[/]/.exec(url)?.[1]);
        return next(url, context);
      },
    });
    process.on('exit', () => {
      console.log(process.moduleLoadList.filter((name) => /undici| http$/.test(name)).join());
      console.log([...packages].filter((name) => name !== undefined).sort().join());
    });`;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(tell)}`, TOWPATH, 'status'],
    { encoding: 'utf8', env: { ...process.env, TOWPATH_HOME: commandLine.file('config') } },
  );
  expect([status, stderr]).toEqual([5, expect.stringContaining('towpath up is not running')]);
  expect(stdout).toBe('NativeModule http\ncore,dashboard,net,towpath\n');
});
