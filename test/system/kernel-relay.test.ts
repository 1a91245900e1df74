import { execFileSync, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { SeededRandom, SystemClock, SystemRandom } from '@towpath/core';
import {
  KernelRelay,
  type KernelRelayOptions,
  NodeSystem,
  probeKernel,
  type RelayForm,
  RelayPlane,
  type RelaySession,
  STUN_PATTERN,
} from '@towpath/splice';
import { parseSubnet } from '@towpath/net';
import { SimulatedInternet } from '@towpath/net/simulated';
import { TurnAllocation } from '@towpath/stun';
import { TurnServer } from '@towpath/stun/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PYTHON } from './support/python.ts';
import { finished, Lab, type LabHost, labAvailable, says } from './support/lab.ts';

const R = '203.0.113.10';
const A = '203.0.113.30';
const B = '203.0.113.31';
const R6 = '2001:db8::10';
const A6 = '2001:db8::30';
const B6 = '2001:db8::31';
const LOAD = new URL('./support/udp-load.py', import.meta.url).pathname;
const MATRIX = new URL('./support/udp-matrix.py', import.meta.url).pathname;
const CHECKSUMS = new URL('./support/checksums.py', import.meta.url).pathname;
const KILLED = new URL('./support/kernel-relay.ts', import.meta.url).pathname;

const available = labAvailable() && spawnSync(PYTHON, ['-V']).error === undefined;

const MAX_OPENING = 500;
/** `TOWPATH_RELAY_SESSIONS=10000` takes half a minute. */
const TURN_SESSIONS = Number(process.env.TOWPATH_RELAY_SESSIONS ?? 500);

interface Counted {
  packets: number;
  bytes: number;
  sources: Record<string, number>;
}

/** When the first datagram was sent, and the last one; seconds of one clock for all processes. */
interface Sent {
  startS: number;
  endS: number;
}

describe.skipIf(!available && process.env.CI !== 'true')(
  'a relay in the kernel (needs root, iproute2, nftables, python3)',
  () => {
    let lab: Lab;
    let r: LabHost;
    let a: LabHost;
    let b: LabHost;
    const relays: KernelRelay[] = [];

    beforeEach(async () => {
      lab = new Lab();
      r = lab.host('relay', R);
      a = lab.host('a', A);
      b = lab.host('b', B);
      for (const [host, address] of [
        [r, R6],
        [a, A6],
        [b, B6],
      ] as const) {
        await host.run('ip', ['addr', 'add', `${address}/64`, 'dev', 'eth0', 'nodad']);
      }
    });

    afterEach(async () => {
      for (const relay of relays.splice(0)) relay.dispose();
      await lab.close();
    });

    function components(host: LabHost = r) {
      const system = new NodeSystem(['ip', 'netns', 'exec', host.namespace]);
      return { system, clock: new SystemClock(), random: new SystemRandom() };
    }

    async function open(form: RelayForm, options: Partial<KernelRelayOptions> = {}): Promise<KernelRelay> {
      if (form === 'inet') {
        await r.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
      }
      const relay = await KernelRelay.open(components(), { form, addresses: [R], control: [STUN_PATTERN], ...options });
      relays.push(relay);
      return relay;
    }

    /** Sends datagrams from one place and counts what arrives at another, from where. */
    async function pass(
      from: LabHost,
      [source, sourcePort]: [string, number],
      [to, toPort]: [string, number],
      at: LabHost,
      [address, port]: [string, number],
      { count = 200, bytes = 1_000, perSecond = 2_000, prefix = '01000000', noChecksum = false } = {},
    ): Promise<Counted & Sent> {
      const counting = at.spawn(PYTHON, [LOAD, 'count', address, String(port)]);
      const done = finished(counting, 60_000);
      await says(counting, 'ready');
      const load = [
        source,
        sourcePort,
        to,
        toPort,
        count,
        bytes,
        perSecond,
        prefix,
        ...(noChecksum ? ['none'] : []),
      ].map(String);
      const sent = await from.run(PYTHON, [LOAD, 'send', ...load]);
      expect(sent.stderr).toBe('');
      counting.kill('SIGTERM');
      const counted = JSON.parse((await done).stdout.split('\n')[1]!) as Counted;
      return { ...counted, ...(JSON.parse(sent.stdout) as Sent) };
    }

    test.each(['netdev', 'inet'] as const)('%s: forwards both ways, both families, and counts (C9)', async (form) => {
      const relay = await open(form);
      await relay.open('four', session(A, B, R));
      await relay.open('six', session(A6, B6, R6));
      for (const [from, to, via] of [
        [A, B, R],
        [A6, B6, R6],
      ] as const) {
        const there = await pass(a, [from, 5_000], [via, 7_001], b, [to, 5_000]);
        expect(there).toMatchObject({ packets: 200, bytes: 200_000, sources: { [`${via}:7002`]: 200 } });
        const back = await pass(b, [to, 5_000], [via, 7_002], a, [from, 5_000], { count: 100 });
        expect(back).toMatchObject({ packets: 100, bytes: 100_000, sources: { [`${via}:7001`]: 100 } });
      }
      const counters = { packetsFromA: 200, bytesFromA: 200_000, packetsFromB: 100, bytesFromB: 100_000 };
      expect(await relay.counters()).toEqual(
        new Map([
          ['four', counters],
          ['six', counters],
        ]),
      );
      expect(await relay.close('four')).toEqual(counters);
      expect(await relay.list()).toEqual({ complete: ['six'], incomplete: [], unexpected: [] });
      const closed = await pass(a, [A, 5_000], [R, 7_001], b, [B, 5_000]);
      expect(closed.packets).toBe(0);
    });

    test.each(['netdev', 'inet'] as const)(
      '%s: checksums stay right, also those that the sender has made itself; what has none is left to the server',
      async (form) => {
        const relay = await open(form);
        await relay.open('four', session(A, B, R));
        await relay.open('six', session(A6, B6, R6));
        // The sender's kernel makes complete checksums; otherwise the last device would, after the relay.
        const off = await a.run(PYTHON, [CHECKSUMS, 'off', 'eth0']);
        expect(off.stderr).toBe('');
        for (const [from, to, via] of [
          [A, B, R],
          [A6, B6, R6],
        ] as const) {
          const there = await pass(a, [from, 5_000], [via, 7_001], b, [to, 5_000], { count: 50 });
          expect(there).toMatchObject({ packets: 50, sources: { [`${via}:7002`]: 50 } });
        }
        const none = { count: 20, prefix: '01000000', noChecksum: true };
        const atServer = await pass(a, [A, 5_000], [R, 7_001], r, [R, 7_001], none);
        expect(atServer.packets).toBe(20);
        expect((await relay.counters()).get('four')).toMatchObject({ packetsFromA: 50 });
      },
    );

    test.each(['netdev', 'inet'] as const)('%s: nothing but the session passes', async (form) => {
      const relay = await open(form);
      await relay.open('one', session(A, B, R));
      const wrong: [LabHost, [string, number], [string, number]][] = [
        [a, [A, 5_001], [R, 7_001]],
        [a, [A, 5_000], [R, 7_002]],
        [a, [A, 5_000], [R, 7_003]],
        [b, [B, 5_000], [R, 7_001]],
        [b, [B, 5_001], [R, 7_002]],
      ];
      for (const [host, from, to] of wrong) {
        const atB = await pass(host, from, to, host === a ? b : a, [host === a ? B : A, 5_000], { count: 20 });
        expect(atB.packets, `${from} to ${to}`).toBe(0);
      }
      // STUN from the session's own addresses goes to the server.
      const stun = await pass(a, [A, 5_000], [R, 7_001], r, [R, 7_001], { count: 10, prefix: '000100002112a442' });
      expect(stun).toMatchObject({ packets: 10, sources: { [`${A}:5000`]: 10 } });
      expect((await relay.counters()).get('one')).toMatchObject({ packetsFromA: 0, packetsFromB: 0 });
    });

    test.each([1, 2])(
      'rate and quota hold within 5 % at ten times the rate, sessions that share them: %i; a neighbour loses nothing',
      async (sharing) => {
        const relay = await open('netdev');
        await relay.setAccount('slow', { bytesPerSecond: 1_028_000 });
        const places = Array.from({ length: sharing }, (_, at) => [5_200 + at, 7_200 + 10 * at] as const);
        for (const [port, local] of places) {
          await relay.open(`limited ${port}`, { ...session(A, B, R, port, local), account: 'slow' });
        }
        await relay.open('free', session(A, B, R, 5_100, 7_100));
        /** What arrives of so many that are offered together, and in which time they were sent. */
        const offer = async (count: number) => {
          const load = { count: count / sharing, perSecond: 10_000 / sharing };
          const [free, ...limited] = await Promise.all([
            pass(a, [A, 5_100], [R, 7_101], b, [B, 5_100], { count: 1_000, perSecond: 500 }),
            ...places.map(([port, local]) => pass(a, [A, port], [R, local + 1], b, [B, port], load)),
          ]);
          expect(free.packets).toBe(1_000);
          const startS = Math.min(...limited.map((each) => each.startS));
          const endS = Math.max(...limited.map((each) => each.endS));
          return { packets: limited.reduce((sum, { packets }) => sum + packets, 0), tookS: endS - startS };
        };
        const { packets, tookS } = await offer(40_000);
        // The sender is slower than asked on a loaded machine; the allowed amount follows from the time it took, and the
        // kernel allows one second's worth at the start.
        const allowed = 1_000 * (tookS + 1);
        expect(Math.abs(packets - allowed)).toBeLessThan(0.05 * allowed);
        await relay.setAccount('slow', { quotaBytes: 1_028_000 });
        expect(Math.abs((await offer(10_000)).packets - 1_000)).toBeLessThanOrEqual(50);
      },
    );

    test.each(['netdev', 'inet'])('%s: kill -9 leaves no table', async (form) => {
      await r.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
      const relay = r.spawn(process.execPath, [KILLED, R, form]);
      await says(relay, 'open');
      expect(tables()).toContain('towpath-relay');
      process.kill(relay.pid!, 'SIGKILL');
      await expect.poll(tables, { timeout: 5_000 }).not.toContain('towpath-relay');
    });

    test('an nft that is stopped is replaced, and packets pass all the time', async () => {
      const relay = await open('netdev', { batchTimeoutMs: 500, watchIntervalMs: 200 });
      await relay.open('one', session(A, B, R));
      const replaced = relay.events.once('replaced');
      const passing = pass(a, [A, 5_000], [R, 7_001], b, [B, 5_000], { count: 4_000, perSecond: 1_000 });
      process.kill(nftPid(), 'SIGSTOP');
      await replaced;
      await relay.open('two', session(A, B, R, 5_100, 7_100));
      expect((await passing).packets).toBe(4_000);
      expect((await relay.list()).complete).toEqual(['one', 'two']);
      expect(tables().match(/towpath-relay/g)).toHaveLength(1);
    });

    test('10,000 sessions, asked for at 1,000 per second, leave exactly what is open', async () => {
      const relay = await open('netdev');
      const started = performance.now();
      const slowest = { openMs: 0 };
      const running: Promise<unknown>[] = [];
      for (let at = 0; at < 10_000; at++) {
        const due = started + at;
        const waitMs = due - performance.now();
        if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
        const asked = performance.now();
        const opened = relay.open(`s${at}`, many(at)).then(() => {
          slowest.openMs = Math.max(slowest.openMs, performance.now() - asked);
        });
        running.push(at % 10 === 0 ? opened : opened.then(() => relay.close(`s${at}`)));
      }
      await Promise.all(running);
      const perSecond = Math.round(10_000_000 / (performance.now() - started));
      console.log(`${perSecond} sessions opened and closed per second; slowest ${Math.round(slowest.openMs)} ms`);
      const { complete, incomplete, unexpected } = await relay.list();
      expect([complete.length, incomplete, unexpected]).toEqual([1_000, [], []]);
      await Promise.all(complete.map((id) => relay.close(id)));
      expect(await relay.list()).toEqual({ complete: [], incomplete: [], unexpected: [] });
      expect(relay.size).toBe(0);
    });

    test(`${TURN_SESSIONS} sessions of a TURN server, asked for at 1,000 per second, nine in ten of them closed, leave exactly what is open (D2)`, async () => {
      const [clock, random] = [new SystemClock(), new SeededRandom(17)];
      using plane = await RelayPlane.open(components(), { form: 'netdev', addresses: [R], control: [STUN_PATTERN] });
      const internet = new SimulatedInternet({ clock, random });
      const credentials = Array.from({ length: 10 }, (_, at) => ({ username: `user-${at}`, password: 'wonderland' }));
      const many = 4 * TURN_SESSIONS;
      await using server = await TurnServer.listen(
        { network: internet.host({ address: R }).network, clock, random, plane },
        {
          listeners: [{ address: R }],
          relay: [{ address: R }],
          credentials: { users: Object.fromEntries(credentials.map(({ username, password }) => [username, password])) },
          peers: { allow: [parseSubnet('203.0.113.0/24')!] },
          limits: {
            allocations: many,
            allocationsPerUser: many,
            plainPorts: many,
            plainPortsPerUser: many,
            requestsPerSecondPerUser: many,
            unauthenticatedPerSecond: many,
            unauthenticatedPerSecondTotal: many,
          },
        },
      );
      // The kernel of the lab has a route to them.
      const hosts = Array.from({ length: 50 }, (_, at) => internet.host({ address: `203.0.113.${100 + at}` }));
      const open = async (at: number) => {
        const { network, address } = hosts[at % hosts.length]!;
        const socket = await network.bindUdp({ address, onMessage() {} });
        const allocation = await TurnAllocation.open(
          { clock, random, socket },
          { server: server.locals[0]!, credentials: credentials[at % 10]!, handlers: { onData() {} } },
        );
        const peer = { address: `203.0.113.${160 + (at % 50)}`, port: 10_000 + at };
        const verified = Promise.withResolvers<void>();
        const plain = await allocation.openPlain(peer, { onChange: (path) => path.verified && verified.resolve() });
        await verified.promise;
        const pairs = [
          [socket.local, plain!.remote],
          [peer, allocation.relayed[0]!],
        ];
        const close = async () => {
          await allocation.close();
          await socket.close();
        };
        return { keys: pairs.map((ends) => ends.map((each) => `${each.address} . ${each.port}`).join(' . ')), close };
      };
      const startedMs = performance.now();
      const running: ReturnType<typeof open>[] = [];
      for (let at = 0; at < TURN_SESSIONS; at++) {
        const waitMs = startedMs + at - performance.now();
        if (waitMs > 0) await clock.sleep(waitMs);
        // Clients, server and the network between them are this one process: where it is slower, it is asked for less.
        await running[at - MAX_OPENING];
        const opened = open(at);
        running.push(opened);
        // Of those that close, some are in the kernel, and some are about to be.
        if (at % 10 > 0) void opened.then(({ close }) => clock.sleep(random.integer(0, 200)).then(close));
      }
      const kept = (await Promise.all(running)).filter((_, at) => at % 10 === 0);
      const perSecond = Math.round((1_000 * TURN_SESSIONS) / (performance.now() - startedMs));
      await expect.poll(() => server.stats.allocations).toBe(kept.length);
      await expect.poll(() => plane.stats).toMatchObject({ sessions: kept.length, waiting: 0 });
      console.log(`${perSecond} allocations with a plain port opened, and nine in ten of them closed, per second`);
      // What has just left has its counters still.
      await expect.poll(() => plane.list()).toMatchObject({ incomplete: [], unexpected: [] });
      expect(keysInKernel()).toEqual(kept.flatMap(({ keys }) => keys).toSorted());
      await Promise.all(kept.map(({ close }) => close()));
      await expect.poll(() => plane.list()).toEqual({ complete: [], incomplete: [], unexpected: [] });
      expect([server.stats.allocations, plane.stats.sessions, plane.stats.waiting, keysInKernel()]).toEqual([
        0,
        0,
        0,
        [],
      ]);
    });

    test('random interleavings: of a packet to every combination exactly the allowed ones arrive, where they should (D2)', async () => {
      const random = new SeededRandom(11);
      const tables = { form: 'netdev', addresses: [R], control: [STUN_PATTERN] } as const;
      using plane = await RelayPlane.open(components(), tables);
      const open = new Map<number, RelaySession>();
      const matrix = async (host: LabHost, address: string, first: number) => {
        const child = host.spawn(PYTHON, [MATRIX, address, `${first}`, `${first + 9}`, R, '7000', '7019'], {}, 'pipe');
        const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
        expect((await lines.next()).value).toBe('ready');
        const tell = (line: string) => void child.stdin!.write(`${line}\n`);
        return { tell, read: async () => JSON.parse((await lines.next()).value!) as [string, string, number][] };
      };
      const ends = [await matrix(a, A, 5_000), await matrix(b, B, 6_000)];
      for (let step = 1; step <= 400; step++) {
        const at = random.integer(0, 9);
        if (open.delete(at) && random.next() < 0.4) plane.remove(String(at));
        else {
          const end = (remote: string, port: number, local: number) => ({
            remote: { address: remote, port: port + random.integer(0, 9) },
            local: { address: R, port: local },
          });
          const session = { a: end(A, 5_000, 7_000 + 2 * at), b: end(B, 6_000, 7_001 + 2 * at) };
          open.set(at, session);
          plane.place(String(at), session);
        }
        if (random.next() < 0.02) killNft();
        if (random.next() < 0.3) await new Promise((resolve) => setTimeout(resolve, random.integer(0, 20)));
        if (step % 100 > 0) continue;
        await expect.poll(() => plane.stats, { timeout: 10_000 }).toMatchObject({ sessions: open.size, waiting: 0 });
        const expected = [...open.values()].flatMap(({ a: one, b: two }) =>
          [
            [one, two],
            [two, one],
          ].map(([from, to]) => [
            `${from!.remote.address}:${from!.remote.port} ${R}:${from!.local.port}`,
            `${R}:${to!.local.port}`,
            to!.remote.port,
          ]),
        );
        for (const { tell } of ends) tell('go');
        await new Promise((resolve) => setTimeout(resolve, 500));
        for (const { tell } of ends) tell('stop');
        const seen = (await Promise.all(ends.map(({ read }) => read()))).flat();
        expect(seen.map(String).sort()).toEqual(expected.map(String).sort());
      }
    });

    test('FORWARD DROP, as Docker sets it, does not concern the netdev form', async () => {
      lab.nft(r.namespace, 'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }');
      expect(await probeKernel(components(), [R])).toMatchObject({ usable: true, form: 'netdev' });
      const relay = await open('netdev');
      await relay.open('one', session(A, B, R));
      expect((await pass(a, [A, 5_000], [R, 7_001], b, [B, 5_000])).packets).toBe(200);
      expect(tables()).toContain('filter');
    });

    test('two uplinks: each side is served by the device and router of its own address', async () => {
      // Behind the second uplink: a network of its own, reached through a router.
      const far = lab.nat('far', '203.0.113.50', {
        mapping: 'endpoint-independent',
        filtering: 'endpoint-independent',
      });
      const inside = far.host('inside');
      lab.nft(far.namespace, 'flush ruleset');
      await r.run('ip', ['addr', 'add', '203.0.113.11/24', 'dev', 'eth0']);
      await r.run('ip', ['route', 'add', '10.1.0.0/24', 'via', '203.0.113.50', 'src', '203.0.113.11']);
      const relay = await open('netdev', { addresses: [R, '203.0.113.11'] });
      await relay.open('one', {
        a: { remote: { address: A, port: 5_000 }, local: { address: R, port: 7_001 } },
        b: { remote: { address: inside.address, port: 5_000 }, local: { address: '203.0.113.11', port: 7_002 } },
      });
      const there = await pass(a, [A, 5_000], [R, 7_001], inside, [inside.address, 5_000]);
      expect(there).toMatchObject({ packets: 200, sources: { '203.0.113.11:7002': 200 } });
    });

    function tables(): string {
      return execFileSync('ip', ['netns', 'exec', r.namespace, 'nft', 'list', 'tables'], { encoding: 'utf8' });
    }

    /** Which packets of IPv4 the kernel forwards: source and destination, as nft prints them, sorted. */
    function keysInKernel(): string[] {
      const nft = ['netns', 'exec', r.namespace, 'nft', '-j', 'list', 'maps', 'netdev'];
      const { nftables } = JSON.parse(execFileSync('ip', nft, { encoding: 'utf8', maxBuffer: 1 << 30 })) as {
        nftables: {
          map?: { name: string; elem?: [{ elem?: { val: { concat: unknown[] } }; concat?: unknown[] }, unknown][] };
        }[];
      };
      const elements = nftables.find(({ map }) => map?.name === 'sessions4')?.map?.elem ?? [];
      return elements.map(([key]) => (key.elem?.val.concat ?? key.concat ?? []).join(' . ')).toSorted();
    }

    /** Kills nft, unless another one is just being started. */
    function killNft(): void {
      try {
        process.kill(nftPid(), 'SIGKILL');
      } catch {
        // pgrep ends with an error when there is none.
      }
    }

    /** The nft that this process has started. */
    function nftPid(): number {
      const found = execFileSync('pgrep', ['-P', String(process.pid), '-x', 'nft'], { encoding: 'utf8' });
      return Number(found.trim().split('\n')[0]);
    }
  },
);

function session(a: string, b: string, relay: string, port = 5_000, relayPort = 7_000): RelaySession {
  return {
    a: { remote: { address: a, port }, local: { address: relay, port: relayPort + 1 } },
    b: { remote: { address: b, port }, local: { address: relay, port: relayPort + 2 } },
  };
}

function many(at: number): RelaySession {
  const end = (first: number) => `203.0.113.${first + (at % 50)}`;
  const port = 10_000 + at;
  return {
    a: { remote: { address: end(100), port }, local: { address: R, port: 7_001 } },
    b: { remote: { address: end(160), port }, local: { address: R, port: 7_002 } },
  };
}
