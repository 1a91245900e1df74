import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock, SystemRandom } from '@towpath/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TurnAllocation } from '@towpath/stun';
import { NodeNetwork } from '@towpath/net';
import { finished, says } from './support/lab.ts';
import { NatsNode, natsAvailable } from './support/nats.ts';
import { Watch } from './support/party.ts';
import { freePorts } from '../../packages/net/test/free-port.ts';

/** In CI a missing tool is a failure, not a skip. */
const skip = !natsAvailable() && process.env.CI !== 'true';
const BACK_MS = 5_000;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** `towpath serve --nats` as an operator runs it, that can be killed. */
class Serving {
  readonly url: string;
  readonly turnPort: number;
  readonly #args: readonly string[];
  readonly #env: Record<string, string>;
  #process: ChildProcess | undefined;

  constructor(options: { port: number; turnPort: number; nats: readonly string[]; home: string; secret: string }) {
    const { port, turnPort, nats, home, secret } = options;
    this.url = `http://127.0.0.1:${port}`;
    this.turnPort = turnPort;
    const turn = ['--stun-port', String(turnPort), '--turn-secret-file', secret, '--allow-peer', '127.0.0.0/8'];
    this.#args = ['serve', '--open', '--port', String(port), ...turn, '--nats', ...nats, '--log', 'json'];
    this.#env = { TOWPATH_HOME: home };
  }

  async start(): Promise<void> {
    this.#process = towpath(this.#args, this.#env);
    await says(this.#process, '"serving"', 20_000);
  }

  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const gone = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGKILL');
    await gone;
  }
}

function towpath(args: readonly string[], env: Record<string, string>): ChildProcess {
  return spawn(process.execPath, ['packages/towpath/bin/towpath.js', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
}

describe.skipIf(skip)(`towpath serve on a cluster${skip ? ' (skipped: nats-server is not installed)' : ''}`, () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-cluster-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('three NATS servers and two control servers: any one is killed, joins by command go on, none is lost (C12)', async () => {
    const secret = join(folder, 'turn.secret');
    writeFileSync(secret, 'one secret for the whole fleet\n', { mode: 0o600 });
    const nats = await NatsNode.cluster(3, folder);
    const ports = await freePorts(4);
    const addresses = nats.map(({ address }) => address);
    const control = [0, 1].map(
      (at) =>
        new Serving({
          port: ports[at]!,
          turnPort: ports[at + 2]!,
          nats: addresses,
          home: join(folder, `server-${at}`),
          secret,
        }),
    );
    const urls = control.map(({ url }) => url);
    const run = async (home: string, ...args: string[]) => {
      const env = { TOWPATH_HOME: join(folder, home) };
      const { code, stdout, stderr } = await finished(towpath([...args, '--json'], env), 60_000);
      return { code, stderr, told: JSON.parse(stdout.trim().split('\n').at(-1) || '{}') as Record<string, unknown> };
    };
    const watches: Watch[] = [];
    try {
      await Promise.all(nats.map((node) => node.start()));
      await Promise.all(control.map((server) => server.start()));
      const created = await run('node-0', 'party', 'create', 'fleet', '--server', ...urls, '--as', 'n0');
      expect([created.code, created.stderr]).toEqual([0, '']);
      const { told } = await run('node-0', 'party', 'invite', '--uses', '500');
      const code = told.code as string;
      const joinAs = async (at: number) => {
        // Every other node prefers the other server.
        const servers = at % 2 === 0 ? urls : urls.toReversed();
        return run(`node-${at}`, 'party', 'join', code, '--server', ...servers, '--as', `n${at}`);
      };
      for (const at of [1, 2, 3]) expect((await joinAs(at)).code).toBe(0);
      for (const at of [0, 1, 2, 3]) {
        mkdirSync(join(folder, `node-${at}`), { recursive: true });
        watches.push(
          new Watch(towpath(['party', 'members', '--watch', '--json'], { TOWPATH_HOME: join(folder, `node-${at}`) })),
        );
      }
      const together = () => watches.map(({ online }) => online.filter((name) => /^n[0-3]$/.test(name)).length);
      await expect.poll(together, { interval: 20, timeout: 15_000 }).toEqual([3, 3, 3, 3]);

      const joined = ['n0', 'n1', 'n2', 'n3'];
      let [running, next, refused] = [true, 4, 0];
      const load = async () => {
        while (running) {
          const at = next++;
          if ((await joinAs(at)).code === 0) joined.push(`n${at}`);
          else refused++;
        }
      };
      const loading = load();
      const back: string[] = [];
      for (const [name, victim] of [
        ['NATS 0', nats[0]!],
        ['NATS 1', nats[1]!],
        ['NATS 2', nats[2]!],
        ['control 0', control[0]!],
        ['control 1', control[1]!],
      ] as const) {
        await victim.kill();
        const killedAt = performance.now();
        // A loss is noticed by then, if there is one.
        await pause(200);
        const connected = () => watches.map(({ lines }) => lines.findLast(({ type }) => type === 'server')?.connected);
        await expect.poll(connected, { interval: 20, timeout: BACK_MS }).toEqual([true, true, true, true]);
        const connectedMs = performance.now() - killedAt;
        const before = joined.length;
        await expect.poll(() => joined.length, { interval: 50, timeout: 30_000 }).toBeGreaterThan(before);
        back.push(
          `${name}: connected ${connectedMs.toFixed(0)} ms, next join ${(performance.now() - killedAt).toFixed(0)} ms`,
        );
        await victim.start();
        await pause(3_000);
      }
      running = false;
      await loading;
      const { told: list } = await run('node-0', 'party', 'members');
      const members = list.members as { name: string; virtualAddress: string }[];
      const names = members.map(({ name }) => name);
      expect(joined.filter((name) => !names.includes(name))).toEqual([]);
      expect(new Set(members.map(({ virtualAddress }) => virtualAddress)).size).toBe(members.length);
      await expect.poll(together, { interval: 20, timeout: BACK_MS }).toEqual([3, 3, 3, 3]);
      for (const watch of watches) expect(watch.find('suspicion')).toBeUndefined();
      console.log(`${joined.length} joined, ${refused} commands refused meanwhile; ${back.join('; ')}`);

      // Credentials of one server are accepted by the relay of the other.
      const issued = await run('node-0', 'relay', 'credentials', 'n0', '--secret-file', secret);
      for (const { turnPort } of control) {
        const allocation = await TurnAllocation.connect(
          { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() },
          {
            server: { address: '127.0.0.1', port: turnPort },
            credentials: issued.told as unknown as { username: string; password: string },
            handlers: { onData: () => {}, onLost: () => {} },
          },
        );
        expect(allocation.relayed[0]!.address).toBe('127.0.0.1');
        await allocation.close();
      }
    } finally {
      for (const { child } of watches) child.kill('SIGKILL');
      for (const each of [...control, ...nats]) await each.kill();
    }
  });
});
