import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { timeLimitedCredentials } from '@towpath/stun/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { finished, Lab, type LabHost, labAvailable, NAT_KINDS, says } from './support/lab.ts';

const R = '203.0.113.10';
const PEER = '203.0.113.31';
const R6 = '2001:db8::10';
const PEER6 = '2001:db8::31';
/** The relay's address on its second uplink. */
const SECOND = '10.1.0.20';
const PORT = 3_478;
const PEER_PORT = 5_000;
const CLIENT = new URL('./support/plain-client.ts', import.meta.url).pathname;
const LOAD = new URL('./support/udp-load.py', import.meta.url).pathname;

const missing = ['python3', 'turnutils_uclient'].filter((tool) => spawnSync('which', [tool]).status !== 0);
const available = labAvailable() && missing.length === 0;

interface Client {
  child: ChildProcess;
  relayed: Endpoint;
  plain: Endpoint;
  local: Endpoint;
  ask<Result>(line: string): Promise<Result>;
}

type Metrics = Readonly<Record<string, number>>;

describe.skipIf(!available && process.env.CI !== 'true')(
  'plain relaying of `towpath relay serve` (needs root, iproute2, nftables, python3, coturn)',
  () => {
    let lab: Lab;
    let r: LabHost;
    let b: LabHost;
    let folder: string;

    beforeEach(async () => {
      lab = new Lab();
      r = lab.host('relay', R);
      b = lab.host('peer', PEER);
      for (const [host, address] of [
        [r, R6],
        [b, PEER6],
      ] as const) {
        await host.run('ip', ['addr', 'add', `${address}/64`, 'dev', 'eth0', 'nodad']);
      }
      folder = mkdtempSync(join(tmpdir(), 'towpath-relay-'));
      writeFileSync(join(folder, 'password'), 'wonderland\n', { mode: 0o600 });
    });

    afterEach(async () => {
      await lab.close();
      rmSync(folder, { recursive: true, force: true });
    });

    /** Starts the relay; returns it with what it says about its data plane. */
    async function serve(
      args: readonly string[],
      { addresses = [R, R6], wrap = [] }: { addresses?: readonly string[]; wrap?: readonly string[] } = {},
    ): Promise<{ child: ChildProcess; plane: string; reason: string; metrics(): Promise<Metrics> }> {
      const user = ['--user', 'alice', '--password-file', join(folder, 'password')];
      const peers = ['--allow-peer', '203.0.113.0/24', '2001:db8::/32', '10.0.0.0/8'];
      const all = [
        'relay',
        'serve',
        '--address',
        ...addresses,
        ...user,
        ...peers,
        '--metrics-port',
        '9000',
        '--json',
        ...args,
      ];
      const [program = process.execPath, ...before] = [...wrap, process.execPath];
      const child = r.spawn(program, [...before, 'packages/towpath/bin/towpath.js', ...all]);
      const said = await says(child, '"what":"metrics"');
      const line = said.split('\n').find((each) => each.includes('"data-plane"'))!;
      const metrics = async () => {
        const { stdout } = await r.run(process.execPath, ['-e', FETCH]);
        const lines = stdout.split('\n').filter((each) => each.startsWith('towpath_turn_'));
        const named = (line: string) =>
          line
            .split(' ')[0]!
            .slice('towpath_turn_'.length)
            .replace(/_total$/, '');
        return Object.fromEntries(lines.map((each) => [named(each), Number(each.split(' ')[1])]));
      };
      return { child, ...(JSON.parse(line) as { plane: string; reason: string }), metrics };
    }

    async function connect(
      host: LabHost,
      to: Endpoint,
      server: string = R,
      { username, password }: { username: string; password: string } = { username: 'alice', password: 'wonderland' },
    ): Promise<Client> {
      const args = [CLIENT, server, String(PORT), username, password, to.address, String(to.port)];
      const child = host.spawn(process.execPath, args, {}, 'pipe');
      const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
      const read = async () => JSON.parse((await lines.next()).value ?? '{}');
      const first = (await read()) as { relayed: Endpoint; plain: Endpoint; local: Endpoint };
      const ask = <Result>(line: string): Promise<Result> => {
        child.stdin!.write(`${line}\n`);
        return read() as Promise<Result>;
      };
      return { child, ...first, ask };
    }

    /** Counts at the peer what a client sends meanwhile. */
    async function counted(
      while_: () => Promise<unknown>,
      [address, port]: [string, number] = [PEER, PEER_PORT],
      at: LabHost = b,
    ) {
      const child = at.spawn('python3', [LOAD, 'count', address, String(port)]);
      const done = finished(child, 60_000);
      await says(child, 'ready');
      await while_();
      child.kill('SIGTERM');
      const { stdout } = await done;
      return JSON.parse(stdout.split('\n')[1]!) as { packets: number; sources: Record<string, number> };
    }

    const send = async (host: LabHost, from: [string, number], to: Endpoint, count = 20, prefix = '45') => {
      const load = [from[0], from[1], to.address, to.port, count, 200, 1_000, prefix].map(String);
      expect((await host.run('python3', [LOAD, 'send', ...load])).stderr).toBe('');
    };

    const inKernel = async (metrics: () => Promise<Metrics>, sessions: number) =>
      expect.poll(async () => (await metrics()).kernel_sessions, { timeout: 5_000 }).toBe(sessions);

    test.each([
      ['kernel', 'IPv4', R, PEER],
      ['kernel', 'IPv6', R6, PEER6],
      ['user', 'IPv4', R, PEER],
      ['user', 'IPv6', R6, PEER6],
    ])('data plane %s, %s: both ways, and to nobody else (D2)', async (mode, _family, server, to) => {
      const { plane, metrics, child } = await serve(['--data-plane', mode]);
      expect(plane).toBe(mode);
      const a = lab.host('a', '203.0.113.30');
      await a.run('ip', ['addr', 'add', '2001:db8::30/64', 'dev', 'eth0', 'nodad']);
      const client = await connect(a, { address: to, port: PEER_PORT }, server);
      if (mode === 'kernel') await inKernel(metrics, 1);
      const there = await counted(() => client.ask('send 200 1000 2000'), [to, PEER_PORT]);
      expect(there).toMatchObject({
        packets: 200,
        sources: { [`${client.relayed.address}:${client.relayed.port}`]: 200 },
      });
      await send(b, [to, PEER_PORT], client.relayed, 100);
      await expect.poll(() => client.ask('received')).toEqual({ [`${to}:${PEER_PORT}`]: 100 });
      // Every wrong combination: another source at the plain port, another peer, another port of the peer.
      const own = to === PEER ? '203.0.113.30' : '2001:db8::30';
      const strays = await counted(async () => {
        await send(a, [own, client.local.port === 6_000 ? 6_001 : 6_000], client.plain);
        await send(b, [to, PEER_PORT + 1], client.plain);
        await send(a, [own, 6_002], client.relayed);
      }, [to, PEER_PORT]);
      expect(strays.packets).toBe(0);
      expect(await client.ask('received')).toEqual({ [`${to}:${PEER_PORT}`]: 100 });
      client.child.stdin!.write('close\n');
      await expect.poll(async () => (await metrics()).plain_ports).toBe(0);
      if (mode === 'kernel') {
        await expect.poll(metrics, { timeout: 5_000 }).toMatchObject({
          kernel_packets_to_peers: 200,
          kernel_bytes_to_peers: 200_000,
          kernel_packets_to_clients: 100,
        });
        expect((await metrics()).packets_to_peers).toBe(0);
      } else expect(await metrics()).toMatchObject({ packets_to_peers: 200, packets_to_clients: 100 });
      process.kill(child.pid!, 'SIGKILL');
      await expect.poll(() => tables(), { timeout: 5_000 }).not.toContain('towpath-relay');
    });

    test.each([
      ['IPv4', R, PEER, { type: 3, code: 3 }, []],
      ['IPv6', R6, PEER6, { type: 1, code: 4 }, []],
      ['IPv4, by two processes', R, PEER, { type: 3, code: 3 }, ['--workers', '2']],
    ])(
      'a client is told that a port of its peer is closed, %s (RFC 8656 §11.5)',
      async (_name, server, to, error, args) => {
        const { metrics } = await serve(args);
        const a = lab.host('a', '203.0.113.30');
        await a.run('ip', ['addr', 'add', '2001:db8::30/64', 'dev', 'eth0', 'nodad']);
        const client = await connect(a, { address: to, port: PEER_PORT }, server);
        await inKernel(metrics, 1);
        await client.ask('send 3 100 1000');
        await expect
          .poll(() => client.ask<object[]>('icmp'))
          .toContainEqual({ address: to, port: PEER_PORT, ...error });
        await expect.poll(async () => (await metrics()).icmp_errors).toBeGreaterThan(0);
        client.child.stdin!.write('close\n');
      },
    );

    test('without the kernel a client is told of no ICMP errors, and none are counted (RFC 8656 §11.5)', async () => {
      const { metrics } = await serve(['--data-plane', 'user']);
      const client = await connect(lab.host('a', '203.0.113.30'), { address: PEER, port: PEER_PORT });
      await client.ask('send 3 100 1000');
      await expect.poll(async () => (await metrics()).packets_to_peers).toBe(3);
      expect(await client.ask('icmp')).toEqual([]);
      expect((await metrics()).icmp_errors).toBe(0);
      client.child.stdin!.write('close\n');
    });

    test.each(['kernel', 'user'] as const)(
      'data plane %s: what a member sends stops within seconds after its removal, and at the expiry of its credentials (A4)',
      async (mode) => {
        const control = lab.host('control', '203.0.113.20');
        const secretFile = join(folder, 'turn.secret');
        const secret = 'a secret that is long enough';
        writeFileSync(secretFile, `${secret}\n`, { mode: 0o600 });
        const serving = ['--address', '203.0.113.20', '--open', '--no-builtin-relay', '--turn-secret-file', secretFile];
        await says(control.towpath(['serve', ...serving, '--data', join(folder, 'control')]), 'control');
        const party = async (home: string, ...args: string[]) => {
          const all = ['packages/towpath/bin/towpath.js', 'party', ...args, '--json'];
          const { stdout } = await control.run(process.execPath, all, { env: { TOWPATH_HOME: join(folder, home) } });
          return JSON.parse(stdout.split('\n')[0]!);
        };
        const at = ['--server', '203.0.113.20'];
        await party('ann', 'create', 'camp', ...at, '--as', 'Ann');
        const { code } = await party('ann', 'invite');
        await party('ben', 'join', code, ...at, '--as', 'Ben');
        const { party: camp, members } = await party('ann', 'members');
        const idOf = (name: string) => members.find((each: { name: string }) => each.name === name).id;
        const credentials = (name: string, lifeMs = 600_000) =>
          timeLimitedCredentials(
            secret,
            `${idOf(name)}.${camp.id}.${idOf('Ann')}`,
            lifeMs,
            new SystemClock().wallTime(),
          );
        const asking = ['--secret-file', secretFile, '--control', '203.0.113.20'];
        const { metrics } = await serve(['--data-plane', mode, ...asking]);
        const host = lab.host('a', '203.0.113.30');
        const to = (port: number) => ({ address: PEER, port });
        const ben = await connect(host, to(PEER_PORT), R, credentials('Ben'));
        const ann = await connect(host, to(PEER_PORT + 1), R, credentials('Ann'));
        // Whole seconds; long enough that everything is set up before.
        const brief = credentials('Ann', 25_000);
        const short = await connect(host, to(PEER_PORT + 2), R, brief);
        if (mode === 'kernel') await inKernel(metrics, 3);
        // Each sends straight to its plain port, as one does who does not care whether it is still allowed to.
        const arrive = async ({ local, plain }: Client, port: number) => {
          const { packets } = await counted(() => send(host, ['203.0.113.30', local.port], plain), [PEER, port]);
          return packets;
        };
        expect((await counted(() => ben.ask('send 100 200 1000'))).packets).toBe(100);
        await party('ann', 'remove', 'Ben');
        const left = async () => (await metrics()).allocations;
        await expect.poll(left, { timeout: 15_000, interval: 200 }).toBeLessThan(3);
        await expect.poll(async () => (await metrics()).removed_members, { timeout: 15_000 }).toBe(1);
        ben.child.kill('SIGKILL');
        expect(await arrive(ben, PEER_PORT)).toBe(0);
        expect((await counted(() => ann.ask('send 100 200 1000'), [PEER, PEER_PORT + 1])).packets).toBe(100);
        await expect.poll(left, { timeout: 30_000, interval: 200 }).toBe(1);
        expect(new SystemClock().wallTime()).toBeGreaterThanOrEqual(brief.expiresAtMs);
        short.child.kill('SIGKILL');
        expect(await arrive(short, PEER_PORT + 2)).toBe(0);
        if (mode === 'kernel') await inKernel(metrics, 1);
      },
    );

    test.each([
      ['kernel', [R, SECOND], []],
      ['kernel', ['0.0.0.0'], ['--relay-address', R]],
      ['user', [R, SECOND], []],
    ] as const)(
      'data plane %s, two uplinks, listening on %j: data passes by either one, also in by one and out by the other (D2)',
      async (mode, addresses, more) => {
        const router = lab.nat('second', '203.0.113.50', NAT_KINDS['full-cone']);
        lab.nft(router.namespace, 'flush ruleset');
        lab.join(r, router, 'eth1', `${SECOND}/24`);
        const [far, inside] = [router.host('far'), router.host('inside')];
        const a = lab.host('a', '203.0.113.30');
        await r.run('ip', ['route', 'add', 'default', 'via', '10.1.0.1']);
        await r.run('sysctl', ['-qw', ...['all', 'eth0', 'eth1'].map((each) => `net.ipv4.conf.${each}.rp_filter=0`)]);
        for (const each of [a, b]) await each.run('ip', ['route', 'add', '10.1.0.0/24', 'via', '203.0.113.50']);
        // The relayed and plain ports have the first uplink's address; what the second network sends there comes by the second one.
        for (const each of [far, inside]) await each.run('ip', ['route', 'add', `${R}/32`, 'via', SECOND]);
        const { plane, metrics } = await serve(['--data-plane', mode, ...more], { addresses });
        expect(plane).toBe(mode);
        const near = await connect(a, { address: far.address, port: PEER_PORT });
        const remote = await connect(inside, { address: PEER, port: PEER_PORT }, SECOND);
        if (mode === 'kernel') await inKernel(metrics, 2);
        const atFar = await counted(() => near.ask('send 100 1000 2000'), [far.address, PEER_PORT], far);
        expect(atFar).toMatchObject({ packets: 100, sources: { [`${R}:${near.relayed.port}`]: 100 } });
        await send(far, [far.address, PEER_PORT], near.relayed, 60);
        await expect.poll(() => near.ask('received')).toEqual({ [`${far.address}:${PEER_PORT}`]: 60 });
        const atNear = await counted(() => remote.ask('send 100 1000 2000'));
        expect(atNear).toMatchObject({ packets: 100, sources: { [`${R}:${remote.relayed.port}`]: 100 } });
        await send(b, [PEER, PEER_PORT], remote.relayed, 60);
        await expect.poll(() => remote.ask('received')).toEqual({ [`${PEER}:${PEER_PORT}`]: 60 });
        // Asymmetric: out by the second uplink, in by the first.
        await far.run('ip', ['route', 'del', `${R}/32`]);
        await send(far, [far.address, PEER_PORT], near.relayed, 40);
        await expect.poll(() => near.ask('received')).toEqual({ [`${far.address}:${PEER_PORT}`]: 100 });
        for (const { child } of [near, remote]) child.stdin!.write('close\n');
        await expect.poll(async () => (await metrics()).plain_ports).toBe(0);
        const [here, there] = mode === 'kernel' ? ['kernel_', ''] : ['', 'kernel_'];
        await expect.poll(metrics, { timeout: 5_000 }).toMatchObject({
          [`${here}packets_to_peers`]: 200,
          [`${here}packets_to_clients`]: 160,
          [`${there}packets_to_peers`]: 0,
          [`${there}packets_to_clients`]: 0,
        });
      },
    );

    test.each(['kernel', 'user'])(
      'behind a one-to-one NAT, with FORWARD dropped, data plane %s forwards (D2)',
      async (mode) => {
        const nat = lab.nat('front', '203.0.113.60', NAT_KINDS['full-cone']);
        const inside = nat.host('inside');
        // One-to-one: every port, both ways.
        lab.nft(
          nat.namespace,
          `flush ruleset
         table ip nat { chain pre { type nat hook prerouting priority -100; ip daddr 203.0.113.60 dnat to ${inside.address}; };
           chain post { type nat hook postrouting priority 100; ip saddr ${inside.address} oifname "wan" snat to 203.0.113.60; }; }`,
        );
        r = inside;
        lab.nft(
          inside.namespace,
          'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }',
        );
        const { plane, metrics } = await serve(['--data-plane', mode, '--public-address', '203.0.113.60'], {
          addresses: [inside.address],
        });
        expect(plane).toBe(mode);
        const home = lab.nat('home', '203.0.113.70', NAT_KINDS['port-restricted']);
        const client = await connect(home.host('a'), { address: PEER, port: PEER_PORT }, '203.0.113.60');
        expect([client.relayed.address, client.plain.address]).toEqual(['203.0.113.60', '203.0.113.60']);
        if (mode === 'kernel') await inKernel(metrics, 1);
        const there = await counted(() => client.ask('send 200 1000 2000'));
        expect(there).toMatchObject({ packets: 200, sources: { [`203.0.113.60:${client.relayed.port}`]: 200 } });
        await send(b, [PEER, PEER_PORT], client.relayed, 100);
        await expect.poll(() => client.ask('received')).toEqual({ [`${PEER}:${PEER_PORT}`]: 100 });
        const throughServer = mode === 'kernel' ? [0, 0] : [200, 100];
        const { packets_to_peers, packets_to_clients } = await metrics();
        expect([packets_to_peers, packets_to_clients]).toEqual(throughServer);
      },
    );

    test("coturn's client sees no difference, with any of its options, while the kernel forwards for another", async () => {
      const { metrics } = await serve(['--data-plane', 'kernel', '--user-allocations', '100']);
      const a = lab.host('a', '203.0.113.30');
      await a.run('ip', ['addr', 'add', '2001:db8::30/64', 'dev', 'eth0', 'nodad']);
      for (const address of [PEER, PEER6]) b.spawn('turnutils_peer', ['-L', address, '-p', '3480']);
      const plain = await connect(a, { address: PEER, port: PEER_PORT });
      await inKernel(metrics, 1);
      const run = async (options: readonly string[], [server, peer] = [R, PEER]) => {
        const who = ['-u', 'alice', '-w', 'wonderland', '-m', '2', '-n', '20'];
        const { stdout } = await a.run('turnutils_uclient', [...who, '-e', peer, '-r', '3480', ...options, server]);
        return stdout.match(/tot_send_msgs=\d+, tot_recv_msgs=\d+\n/g)?.at(-1);
      };
      const forwarded = counted(() => plain.ask('send 3000 500 1000'));
      const each = {
        channels: run(['-c']),
        'send indications': run(['-c', '-s']),
        'client to client': run(['-y']),
        'even ports and reservations': run([]),
        'padded channel data': run(['-D', '-c']),
        'IPv4 by name': run(['-X', '-c']),
        'requests besides the data': run(['-G', '-c']),
        IPv6: run(['-x', '-c'], [R6, PEER6]),
        'IPv6, send indications': run(['-x', '-c', '-s'], [R6, PEER6]),
      };
      for (const [what, totals] of Object.entries(each)) {
        const count = what === 'client to client' ? 80 : 40;
        expect(await totals, what).toBe(`tot_send_msgs=${count}, tot_recv_msgs=${count}\n`);
      }
      expect((await forwarded).packets).toBe(3_000);
      expect((await metrics()).kernel_moved).toBe(1);
    });

    test("a user's rate holds within 5 % at ten times the rate", async () => {
      const kilobytes = 514;
      const { metrics } = await serve(['--data-plane', 'kernel', '--user-bandwidth', String(kilobytes)]);
      const client = await connect(lab.host('a', '203.0.113.30'), { address: PEER, port: PEER_PORT });
      await inKernel(metrics, 1);
      let tookS = 0;
      const { packets } = await counted(async () => {
        tookS = (await client.ask<{ tookS: number }>('send 20000 1000 5000')).tookS;
      });
      // One second's worth passes at the start.
      const allowed = (kilobytes * 1_000 * (tookS + 1)) / 1_028;
      expect(Math.abs(packets - allowed)).toBeLessThan(0.05 * allowed);
      await expect.poll(async () => (await metrics()).kernel_dropped_over_rate).toBe(20_000 - packets);
    });

    test.each(['kernel', 'user'])(
      "a party's rate holds within 5 % for two members at ten times the rate; another party loses nothing, data plane %s",
      async (mode) => {
        const secret = 'a secret of at least 32 characters, shared';
        writeFileSync(join(folder, 'secret'), `${secret}\n`, { mode: 0o600 });
        const kilobytes = 103;
        const limits = ['--secret-file', join(folder, 'secret'), '--party-bandwidth', String(kilobytes)];
        const { metrics } = await serve(['--data-plane', mode, ...limits]);
        const id = (digit: string) => digit.repeat(32);
        const member = (name: string, address: string, party: string, own: string) =>
          connect(
            lab.host(name, address),
            { address: PEER, port: PEER_PORT },
            R,
            timeLimitedCredentials(secret, `${id(own)}.${id(party)}.${id('f')}`, 600_000, Date.now()),
          );
        const members = [await member('m1', '203.0.113.30', '1', 'a'), await member('m2', '203.0.113.32', '1', 'b')];
        const neighbour = await member('m3', '203.0.113.33', '2', 'c');
        if (mode === 'kernel') await inKernel(metrics, 3);
        let tookS = 0;
        const { sources } = await counted(async () => {
          const startedMs = performance.now();
          const sending = members.map((each) => each.ask('send 4000 1000 500'));
          await neighbour.ask('send 400 1000 50');
          await Promise.all(sending);
          tookS = (performance.now() - startedMs) / 1_000;
        });
        const of = ({ relayed: { address, port } }: Client) => sources[`${address}:${port}`] ?? 0;
        expect(of(neighbour)).toBe(400);
        // One second's worth passes at the start.
        const allowed = (kilobytes * 1_000 * (tookS + 1)) / 1_028;
        const passed = members.reduce((sum, each) => sum + of(each), 0);
        expect(Math.abs(passed - allowed)).toBeLessThan(0.05 * allowed);
      },
    );

    test('nft that stops answering is replaced while data passes', async () => {
      const { metrics } = await serve(['--data-plane', 'kernel']);
      const client = await connect(lab.host('a', '203.0.113.30'), { address: PEER, port: PEER_PORT });
      await inKernel(metrics, 1);
      const { packets } = await counted(async () => {
        const sending = client.ask('send 8000 500 1000');
        process.kill(nftPid(), 'SIGSTOP');
        await sending;
      });
      expect(packets).toBe(8_000);
      await expect.poll(async () => (await metrics()).kernel_replaced, { timeout: 10_000 }).toBe(1);
      await inKernel(metrics, 1);
    });

    test('says why not: without the capability', async () => {
      const wrap = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin', '--'];
      const { plane, reason, metrics } = await serve([], { wrap });
      expect([plane, reason]).toEqual(['user', expect.stringContaining('CAP_NET_ADMIN')]);
      const client = await connect(lab.host('a', '203.0.113.30'), { address: PEER, port: PEER_PORT });
      expect((await counted(() => client.ask('send 100 500 1000'))).packets).toBe(100);
      expect(await metrics()).toMatchObject({ kernel_usable: 0, packets_to_peers: 100 });
    });

    function tables(): string {
      return execFileSync('ip', ['netns', 'exec', r.namespace, 'nft', 'list', 'tables'], { encoding: 'utf8' });
    }

    /** The nft that runs in the relay's namespace. */
    function nftPid(): number {
      const pids = execFileSync('ip', ['netns', 'pids', r.namespace], { encoding: 'utf8' }).split('\n');
      const found = pids.find(
        (pid) => pid !== '' && execFileSync('ps', ['-o', 'comm=', '-p', pid], { encoding: 'utf8' }).trim() === 'nft',
      );
      return Number(found);
    }
  },
);

const FETCH = 'fetch("http://127.0.0.1:9000/metrics").then((r) => r.text()).then((t) => process.stdout.write(t))';
