import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorCode, SystemClock, SystemRandom } from '@towpath/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlClient } from '../../packages/control/src/client/control-client.ts';
import { HttpTransport } from '../../packages/control/src/client/http-transport.ts';
import { generateNodeIdentity } from '../../packages/control/src/identity/node-identity.ts';
import { verifyLog } from '@towpath/membership';
import { LocalTransport } from '../../packages/control/src/client/local-transport.ts';
import { ControlService } from '../../packages/control/src/server/service.ts';
import { NatsStore } from '../../packages/control/src/store/nats-store.ts';
import { NatsNode, natsAvailable } from './support/nats.ts';
import { storeSuite, wallClock } from '../../packages/control/test/store-suite.ts';
import { freePorts } from '../../packages/net/test/free-port.ts';

const clock = new SystemClock();
const random = new SystemRandom();

function track(running: ChildProcess): void {
  processes.add(running);
  running.once('exit', () => processes.delete(running));
}

/** In CI a missing tool is a failure, not a skip. */
const skip = !natsAvailable() && process.env.CI !== 'true';
const unless = skip ? ' (skipped: nats-server is not installed)' : '';

/** Ended after the tests whatever happens to them, a time limit included. */
const processes = new Set<ChildProcess>();

let folder: string;
let single: NatsNode;

beforeAll(async () => {
  if (skip) return;
  folder = await mkdtemp(join(tmpdir(), 'towpath-nats-'));
  single = await NatsNode.single(join(folder, 'single'));
  await single.start();
});

afterAll(async () => {
  if (skip) return;
  await single.kill();
  for (const running of processes) running.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

let prefixes = 0;
let prefix = '';
describe.skipIf(skip)(`NATS${unless}`, () => {
  storeSuite('NATS', {
    open: (time) => {
      prefix = `suite-${++prefixes}`;
      return NatsStore.connect({ clock: wallClock(time), random }, { servers: [single.address], prefix });
    },
    openSecond: (_, time) =>
      NatsStore.connect({ clock: wallClock(time), random }, { servers: [single.address], prefix }),
  });
});

describe.skipIf(skip)(`NATS store${unless}`, () => {
  test('says what to look at when no server answers', async () => {
    const [port] = await freePorts(1);
    await expect(
      NatsStore.connect({ clock, random }, { servers: [`127.0.0.1:${port}`], timeoutMs: 500 }),
    ).rejects.toMatchObject({ code: 'store-failed', message: expect.stringContaining('is JetStream on') });
  });
});

describe.skipIf(skip)(`two control services on one NATS server${unless}`, () => {
  test('a member that is removed while it connects never stays inside (B5)', async () => {
    const rounds = Number(process.env.TOWPATH_ROUNDS ?? 40);
    await using stack = new AsyncDisposableStack();
    const services: ControlService[] = [];
    for (let at = 0; at < 2; at++) {
      const store = await NatsStore.connect({ clock, random }, { servers: [single.address], prefix: 'removal' });
      stack.use(store);
      services.push(stack.use(await ControlService.start({ store, clock, random }, { founding: 'open' })));
    }
    const [here, there] = services as [ControlService, ControlService];
    const open = async (live: boolean) => {
      const identity = generateNodeIdentity(random);
      const transport = new LocalTransport({ clock, service: here });
      return { identity, client: stack.use(await ControlClient.open({ transport, identity, clock, random, live })) };
    };
    const founder = (await open(false)).client;
    const { id } = await founder.createParty({ name: 'camp', memberName: 'Ann' });
    const inside: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const { identity, client } = await open(false);
      // An invite ends with the removal of whoever used it.
      const { self } = await client.join(await founder.invite(id), { memberName: 'Ben' });
      await founder.refresh(id);
      const told: string[] = [];
      const session = there.attach(identity.signing.publicKey, 'test', {
        send: (text) => told.push(text) > 0,
        drained: async () => {},
        close: () => {},
      });
      // The removal meets the connection at another moment in each round.
      const following = there.receive(session, { type: 'follow', party: id, next: 0 });
      await clock.sleep((round % 10) / 2);
      await founder.remove(id, self.id);
      await following;
      const out = () => told.some((text) => text.includes('"reason":"not-a-member"'));
      await until(out, 5_000, `being refused in round ${round}`).catch(() => inside.push(round));
      if (session.parties.size > 0) inside.push(round);
      there.detach(session);
    }
    expect(inside).toEqual([]);
  });
});

/** A control server in a process of its own, that can be killed. */
class ControlProcess {
  readonly port: number;
  readonly #nats: string;
  readonly #replicas: 1 | 3;
  #process: ChildProcess | undefined;

  /** @param replicas how many of the NATS servers hold everything */
  constructor(port: number, nats: string, replicas: 1 | 3) {
    this.port = port;
    this.#nats = nats;
    this.#replicas = replicas;
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const script = new URL('../../packages/control/test/load/server-process.ts', import.meta.url);
    this.#process = fork(script, [`nats:${this.#nats}`, `${this.#replicas}`, `${this.port}`]);
    track(this.#process);
    const ended = new AbortController();
    this.#process.once('exit', () => ended.abort(new Error('the control server ended')));
    await once(this.#process, 'message', { signal: ended.signal });
  }

  /** Stops the process for so long, ms. */
  pause(ms: number): void {
    const running = this.#process;
    running?.kill('SIGSTOP');
    void clock.sleep(ms).then(() => running?.kill('SIGCONT'));
  }

  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const gone = once(running, 'exit');
    running.kill('SIGKILL');
    await gone;
  }
}

async function until(check: () => boolean, limitMs: number, what: string): Promise<number> {
  const startedAt = clock.now();
  while (!check()) {
    if (clock.now() - startedAt > limitMs) throw new Error(`${what} took longer than ${limitMs} ms`);
    await clock.sleep(20);
  }
  return clock.now() - startedAt;
}

describe.skipIf(skip)(`two control servers under contention${unless}`, () => {
  test('an accepted signal arrives, or its sender is told (A7)', async () => {
    const count = Number(process.env.TOWPATH_SIGNALS ?? 400);
    const ports = await freePorts(2);
    const control = ports.map((port) => new ControlProcess(port, single.address, 1));
    // The processors are busy, and each control server stands still for longer than a signal may take.
    const busy = Array.from({ length: 2 }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }));
    for (const each of busy) track(each);
    await using stack = new AsyncDisposableStack();
    try {
      await Promise.all(control.map((server) => server.start()));
      const open = async (at: number) => {
        const transport = new HttpTransport({ clock, random }, { servers: [control[at]!.address] });
        const identity = generateNodeIdentity(random);
        return stack.use(await ControlClient.open({ transport, identity, clock, random }));
      };
      const [ann, ben] = [await open(0), await open(1)];
      const { id } = await ann.createParty({ name: 'busy', memberName: 'Ann' });
      const { self } = await ben.join(await ann.invite(id), { memberName: 'Ben' });
      await until(() => ann.party(id)!.peers.some((peer) => peer.online), 60_000, 'presence');
      const arrived: number[] = [];
      ben.events.on('signal', ({ data }) => void arrived.push(new DataView(data.buffer, data.byteOffset).getUint32(0)));
      const told = new Map<string, number>();
      const accepted: number[] = [];
      const send = async (at: number) => {
        const data = new Uint8Array(4);
        new DataView(data.buffer).setUint32(0, at);
        try {
          await ann.signal(id, self.id, data);
          accepted.push(at);
        } catch (error) {
          const code = errorCode(error);
          told.set(code, (told.get(code) ?? 0) + 1);
        }
      };
      for (let at = 0; at < count; at += 20) {
        const sending = Array.from({ length: 20 }, (_, each) => send(at + each));
        if (at % 200 === 0) control[(at / 200) % 2]!.pause(at % 400 === 0 ? 4_000 : 500);
        await Promise.all(sending);
      }
      const missing = accepted.filter((at) => !arrived.includes(at));
      console.log(`${count} signals: ${accepted.length} accepted; refused: ${JSON.stringify([...told])}`);
      expect(missing).toEqual([]);
      expect(new Set(arrived).size).toBe(arrived.length);
      expect(accepted.length).toBeGreaterThan(count / 2);
      expect(accepted.length + [...told.values()].reduce((sum, each) => sum + each, 0)).toBe(count);
    } finally {
      for (const each of busy) each.kill('SIGKILL');
      for (const each of control) await each.kill();
    }
  });
});

describe.skipIf(skip)(`three NATS servers and two control servers${unless}`, () => {
  test('lose any one of the five to kill -9 under load, and nothing that was acknowledged (C12)', async () => {
    const nats = await NatsNode.cluster(3, folder);
    const ports = await freePorts(2);
    const addresses = nats.map((server) => server.address).join(',');
    const control = ports.map((port) => new ControlProcess(port, addresses, 3));
    const clients: ControlClient[] = [];
    const connectedTo = new Map<ControlClient, string | undefined>();
    const newClient = async (first: number) => {
      const servers = [control[first]!.address, control[1 - first]!.address];
      const client = await ControlClient.open({
        transport: new HttpTransport({ clock, random }, { servers }),
        identity: generateNodeIdentity(random),
        clock,
        random,
      });
      client.events.on('server', ({ address }) => connectedTo.set(client, address));
      return client;
    };
    try {
      await Promise.all(nats.map((server) => server.start()));
      await Promise.all(control.map((server) => server.start()));
      for (let at = 0; at < 6; at++) clients.push(await newClient(at % 2));
      const [founder, ...others] = clients as [ControlClient, ...ControlClient[]];
      const { id, partyKey } = await founder.createParty({ name: 'cluster', memberName: 'Fay' });
      const invite = await founder.invite(id, { maxUses: 10_000 });
      for (const [at, client] of others.entries()) await client.join(invite, { memberName: `n${at}` });
      await until(() => clients.every((each) => each.party(id)!.peers.every((peer) => peer.online)), 5_000, 'presence');

      const acknowledged = new Set(clients.map((each) => each.party(id)!.self.id));
      let [running, joins, refusals, signals] = [true, 0, 0, 0];
      const joining = async (kind: number) => {
        while (running) {
          const client = await newClient(kind % 2);
          try {
            await client.join(invite, { memberName: `load ${joins}` });
            acknowledged.add(client.party(id)!.self.id);
            joins++;
          } catch {
            // A join that was not acknowledged may fail; the next one is tried.
            refusals++;
          } finally {
            await client.close();
          }
        }
      };
      const signalling = async () => {
        while (running) {
          const peer = founder.party(id)!.peers.find((each) => each.online);
          try {
            if (peer !== undefined) await founder.signal(id, peer.id, new Uint8Array([1]));
            signals++;
          } catch {
            // Between two servers; counted by what arrives.
          }
          await clock.sleep(10);
        }
      };
      const load = Promise.all([joining(0), joining(1), signalling()]);
      const back: string[] = [];
      for (const [name, victim] of [
        ['NATS 0', nats[0]!],
        ['NATS 1', nats[1]!],
        ['NATS 2', nats[2]!],
        ['control 0', control[0]!],
        ['control 1', control[1]!],
      ] as const) {
        const before = signals;
        await victim.kill();
        const connectedMs = await until(
          () => clients.every((each) => each.connected),
          5_000,
          `coming back after ${name}`,
        );
        await until(() => signals > before + 5, 5_000, `signals after ${name}`);
        const joined = joins;
        const joinsMs = await until(() => joins > joined + 1, 20_000, `joins after ${name}`);
        back.push(`${name}: connected after ${connectedMs.toFixed(0)} ms, joins after ${joinsMs.toFixed(0)} ms`);
        await victim.start();
        // The one that was killed takes part again before the next is.
        await clock.sleep(3_000);
      }
      running = false;
      await load;
      await using store = await NatsStore.connect({ clock, random }, { servers: addresses.split(','), replicas: 3 });
      const log: Uint8Array[] = [];
      for (
        let page = await store.readLog(id, 0, 1_000);
        page.length > 0;
        page = await store.readLog(id, log.length, 1_000)
      ) {
        log.push(...page);
      }
      const verdict = verifyLog(partyKey, log);
      expect(verdict.ok).toBe(true);
      const members = verdict.state.members;
      expect([...acknowledged].filter((peer) => !members.has(peer))).toEqual([]);
      expect(new Set([...members.values()].map((member) => member.virtualAddress)).size).toBe(members.size);
      await until(
        () => clients.every((each) => each.party(id)!.head.sequence === verdict.state.head!.sequence),
        5_000,
        'everybody knowing everything',
      );
      console.log(`${joins} joins, ${refusals} refused, ${signals} signals; ${back.join('; ')}`);
      expect(joins).toBeGreaterThan(20);
    } finally {
      for (const client of clients) await client.close();
      for (const process of [...control, ...nats]) await process.kill();
    }
  });
});
