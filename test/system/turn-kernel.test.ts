import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '@towpath/core';
import { timeLimitedCredentials } from '@towpath/stun/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NAT_KINDS, says } from './support/lab.ts';
import { PEER, PEER6, PEER_PORT, R, R6, TurnLab, type TurnLabClient, turnLabAvailable } from './support/turn-lab.ts';

/** The relay's address on its second uplink. */
const SECOND = '10.1.0.20';
/** A second one on its first. */
const SECONDARY = '203.0.113.11';

describe.skipIf(!turnLabAvailable() && process.env.CI !== 'true')(
  'plain relaying of `towpath relay serve` (needs root, iproute2, nftables, python3, coturn)',
  () => {
    let turn: TurnLab;

    beforeEach(async () => {
      turn = await TurnLab.open();
    });

    afterEach(() => turn.close());

    test.each([
      ['kernel', 'IPv4', R, PEER],
      ['kernel', 'IPv6', R6, PEER6],
      ['user', 'IPv4', R, PEER],
      ['user', 'IPv6', R6, PEER6],
    ])('data plane %s, %s: both ways, and to nobody else (D2)', async (mode, _family, server, to) => {
      const { plane, metrics, child } = await turn.serve(['--data-plane', mode]);
      expect(plane).toBe(mode);
      const a = turn.lab.host('a', '203.0.113.30');
      await a.run('ip', ['addr', 'add', '2001:db8::30/64', 'dev', 'eth0', 'nodad']);
      const client = await turn.connect(a, { address: to, port: PEER_PORT }, server);
      if (mode === 'kernel') await turn.inKernel(metrics, 1);
      const there = await turn.counted(() => client.ask('send 200 1000 2000'), [to, PEER_PORT]);
      expect(there).toMatchObject({
        packets: 200,
        sources: { [`${client.relayed.address}:${client.relayed.port}`]: 200 },
      });
      await turn.send(turn.peer, [to, PEER_PORT], client.relayed, 100);
      await expect.poll(() => client.ask('received')).toEqual({ [`${to}:${PEER_PORT}`]: 100 });
      // Every wrong combination: another source at the plain port, another peer, another port of the peer.
      const own = to === PEER ? '203.0.113.30' : '2001:db8::30';
      const strays = await turn.counted(async () => {
        await turn.send(a, [own, client.local.port === 6_000 ? 6_001 : 6_000], client.plain);
        await turn.send(turn.peer, [to, PEER_PORT + 1], client.plain);
        await turn.send(a, [own, 6_002], client.relayed);
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
      await expect.poll(() => turn.tables(), { timeout: 5_000 }).not.toContain('towpath-relay');
    });

    test.each([
      ['IPv4', R, PEER, { type: 3, code: 3 }, []],
      ['IPv6', R6, PEER6, { type: 1, code: 4 }, []],
      ['IPv4, by two processes', R, PEER, { type: 3, code: 3 }, ['--workers', '2']],
    ])(
      'a client is told that a port of its peer is closed, %s (RFC 8656 §11.5)',
      async (_name, server, to, error, args) => {
        const { metrics } = await turn.serve(args);
        const a = turn.lab.host('a', '203.0.113.30');
        await a.run('ip', ['addr', 'add', '2001:db8::30/64', 'dev', 'eth0', 'nodad']);
        const client = await turn.connect(a, { address: to, port: PEER_PORT }, server);
        await turn.inKernel(metrics, 1);
        await client.ask('send 3 100 1000');
        await expect
          .poll(() => client.ask<object[]>('icmp'))
          .toContainEqual({ address: to, port: PEER_PORT, ...error });
        await expect.poll(async () => (await metrics()).icmp_errors).toBeGreaterThan(0);
        client.child.stdin!.write('close\n');
      },
    );

    test('without the kernel a client is told of no ICMP errors, and none are counted (RFC 8656 §11.5)', async () => {
      const { metrics } = await turn.serve(['--data-plane', 'user']);
      const client = await turn.connect(turn.lab.host('a', '203.0.113.30'), { address: PEER, port: PEER_PORT });
      await client.ask('send 3 100 1000');
      await expect.poll(async () => (await metrics()).packets_to_peers).toBe(3);
      expect(await client.ask('icmp')).toEqual([]);
      expect((await metrics()).icmp_errors).toBe(0);
      client.child.stdin!.write('close\n');
    });

    test.each(['kernel', 'user'] as const)(
      'data plane %s: what a member sends stops within seconds after its removal, and at the expiry of its credentials (A4)',
      async (mode) => {
        const control = turn.lab.host('control', '203.0.113.20');
        const secretFile = join(turn.folder, 'turn.secret');
        const secret = 'a secret that is long enough';
        writeFileSync(secretFile, `${secret}\n`, { mode: 0o600 });
        const serving = ['--address', '203.0.113.20', '--open', '--no-builtin-relay', '--turn-secret-file', secretFile];
        await says(control.towpath(['serve', ...serving, '--data', join(turn.folder, 'control')]), 'control');
        const party = async (home: string, ...args: string[]) => {
          const all = ['packages/towpath/bin/towpath.js', 'party', ...args, '--json'];
          const { stdout } = await control.run(process.execPath, all, {
            env: { TOWPATH_HOME: join(turn.folder, home) },
          });
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
        const { metrics } = await turn.serve(['--data-plane', mode, ...asking]);
        const host = turn.lab.host('a', '203.0.113.30');
        const to = (port: number) => ({ address: PEER, port });
        const ben = await turn.connect(host, to(PEER_PORT), R, credentials('Ben'));
        const ann = await turn.connect(host, to(PEER_PORT + 1), R, credentials('Ann'));
        // Whole seconds; long enough that everything is set up before.
        const brief = credentials('Ann', 25_000);
        const short = await turn.connect(host, to(PEER_PORT + 2), R, brief);
        if (mode === 'kernel') await turn.inKernel(metrics, 3);
        // Each sends straight to its plain port, as one does who does not care whether it is still allowed to.
        const arrive = async ({ local, plain }: TurnLabClient, port: number) => {
          const { packets } = await turn.counted(
            () => turn.send(host, ['203.0.113.30', local.port], plain),
            [PEER, port],
          );
          return packets;
        };
        expect((await turn.counted(() => ben.ask('send 100 200 1000'))).packets).toBe(100);
        await party('ann', 'remove', 'Ben');
        const left = async () => (await metrics()).allocations;
        await expect.poll(left, { timeout: 15_000, interval: 200 }).toBeLessThan(3);
        await expect.poll(async () => (await metrics()).removed_members, { timeout: 15_000 }).toBe(1);
        ben.child.kill('SIGKILL');
        expect(await arrive(ben, PEER_PORT)).toBe(0);
        expect((await turn.counted(() => ann.ask('send 100 200 1000'), [PEER, PEER_PORT + 1])).packets).toBe(100);
        await expect.poll(left, { timeout: 30_000, interval: 200 }).toBe(1);
        expect(new SystemClock().wallTime()).toBeGreaterThanOrEqual(brief.expiresAtMs);
        short.child.kill('SIGKILL');
        expect(await arrive(short, PEER_PORT + 2)).toBe(0);
        if (mode === 'kernel') await turn.inKernel(metrics, 1);
      },
    );

    test.each(['kernel', 'user'])(
      'the public address is a secondary one, listening on 0.0.0.0, data plane %s: answers and data leave from it (D2)',
      async (mode) => {
        await turn.relay.run('ip', ['addr', 'add', `${SECONDARY}/24`, 'dev', 'eth0']);
        const { plane, metrics } = await turn.serve(['--data-plane', mode, '--public-address', SECONDARY], {
          addresses: ['0.0.0.0'],
        });
        expect(plane).toBe(mode);
        const host = turn.lab.host('a', '203.0.113.30');
        const client = await turn.connect(host, { address: PEER, port: PEER_PORT }, SECONDARY);
        expect([client.relayed.address, client.plain.address]).toEqual([SECONDARY, SECONDARY]);
        if (mode === 'kernel') await turn.inKernel(metrics, 1);
        const there = await turn.counted(() => client.ask('send 100 1000 2000'));
        expect(there).toMatchObject({ packets: 100, sources: { [`${SECONDARY}:${client.relayed.port}`]: 100 } });
        await turn.send(turn.peer, [PEER, PEER_PORT], client.relayed, 60);
        await expect.poll(() => client.ask('received')).toEqual({ [`${PEER}:${PEER_PORT}`]: 60 });
        const { packets_to_peers, packets_to_clients } = await metrics();
        expect([packets_to_peers, packets_to_clients]).toEqual(mode === 'kernel' ? [0, 0] : [100, 60]);
        client.child.stdin!.write('close\n');
      },
    );

    test.each([
      ['kernel', [R, SECOND], []],
      ['kernel', ['0.0.0.0'], ['--relay-address', R]],
      ['user', [R, SECOND], []],
    ] as const)(
      'data plane %s, two uplinks, listening on %j: data passes by either one, also in by one and out by the other (D2)',
      async (mode, addresses, more) => {
        const router = turn.lab.nat('second', '203.0.113.50', NAT_KINDS['full-cone']);
        turn.lab.nft(router.namespace, 'flush ruleset');
        turn.lab.join(turn.relay, router, 'eth1', `${SECOND}/24`);
        const [far, inside] = [router.host('far'), router.host('inside')];
        const a = turn.lab.host('a', '203.0.113.30');
        await turn.relay.run('ip', ['route', 'add', 'default', 'via', '10.1.0.1']);
        await turn.relay.run('sysctl', [
          '-qw',
          ...['all', 'eth0', 'eth1'].map((each) => `net.ipv4.conf.${each}.rp_filter=0`),
        ]);
        for (const each of [a, turn.peer]) await each.run('ip', ['route', 'add', '10.1.0.0/24', 'via', '203.0.113.50']);
        // The relayed and plain ports have the first uplink's address; what the second network sends there comes by the second one.
        for (const each of [far, inside]) await each.run('ip', ['route', 'add', `${R}/32`, 'via', SECOND]);
        const { plane, metrics } = await turn.serve(['--data-plane', mode, ...more], { addresses });
        expect(plane).toBe(mode);
        const near = await turn.connect(a, { address: far.address, port: PEER_PORT });
        const remote = await turn.connect(inside, { address: PEER, port: PEER_PORT }, SECOND);
        if (mode === 'kernel') await turn.inKernel(metrics, 2);
        const atFar = await turn.counted(() => near.ask('send 100 1000 2000'), [far.address, PEER_PORT], far);
        expect(atFar).toMatchObject({ packets: 100, sources: { [`${R}:${near.relayed.port}`]: 100 } });
        await turn.send(far, [far.address, PEER_PORT], near.relayed, 60);
        await expect.poll(() => near.ask('received')).toEqual({ [`${far.address}:${PEER_PORT}`]: 60 });
        const atNear = await turn.counted(() => remote.ask('send 100 1000 2000'));
        expect(atNear).toMatchObject({ packets: 100, sources: { [`${R}:${remote.relayed.port}`]: 100 } });
        await turn.send(turn.peer, [PEER, PEER_PORT], remote.relayed, 60);
        await expect.poll(() => remote.ask('received')).toEqual({ [`${PEER}:${PEER_PORT}`]: 60 });
        // Asymmetric: out by the second uplink, in by the first.
        await far.run('ip', ['route', 'del', `${R}/32`]);
        await turn.send(far, [far.address, PEER_PORT], near.relayed, 40);
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
        const nat = turn.lab.nat('front', '203.0.113.60', NAT_KINDS['full-cone']);
        const inside = nat.host('inside');
        // One-to-one: every port, both ways.
        turn.lab.nft(
          nat.namespace,
          `flush ruleset
         table ip nat { chain pre { type nat hook prerouting priority -100; ip daddr 203.0.113.60 dnat to ${inside.address}; };
           chain post { type nat hook postrouting priority 100; ip saddr ${inside.address} oifname "wan" snat to 203.0.113.60; }; }`,
        );
        turn.relay = inside;
        turn.lab.nft(
          inside.namespace,
          'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }',
        );
        const { plane, metrics } = await turn.serve(['--data-plane', mode, '--public-address', '203.0.113.60'], {
          addresses: [inside.address],
        });
        expect(plane).toBe(mode);
        const home = turn.lab.nat('home', '203.0.113.70', NAT_KINDS['port-restricted']);
        const client = await turn.connect(home.host('a'), { address: PEER, port: PEER_PORT }, '203.0.113.60');
        expect([client.relayed.address, client.plain.address]).toEqual(['203.0.113.60', '203.0.113.60']);
        if (mode === 'kernel') await turn.inKernel(metrics, 1);
        const there = await turn.counted(() => client.ask('send 200 1000 2000'));
        expect(there).toMatchObject({ packets: 200, sources: { [`203.0.113.60:${client.relayed.port}`]: 200 } });
        await turn.send(turn.peer, [PEER, PEER_PORT], client.relayed, 100);
        await expect.poll(() => client.ask('received')).toEqual({ [`${PEER}:${PEER_PORT}`]: 100 });
        const throughServer = mode === 'kernel' ? [0, 0] : [200, 100];
        const { packets_to_peers, packets_to_clients } = await metrics();
        expect([packets_to_peers, packets_to_clients]).toEqual(throughServer);
      },
    );

    test("coturn's client sees no difference, with any of its options, while the kernel forwards for another", async () => {
      const { metrics } = await turn.serve(['--data-plane', 'kernel', '--user-allocations', '100']);
      const a = turn.lab.host('a', '203.0.113.30');
      await a.run('ip', ['addr', 'add', '2001:db8::30/64', 'dev', 'eth0', 'nodad']);
      for (const address of [PEER, PEER6]) turn.peer.spawn('turnutils_peer', ['-L', address, '-p', '3480']);
      const plain = await turn.connect(a, { address: PEER, port: PEER_PORT });
      await turn.inKernel(metrics, 1);
      const run = async (options: readonly string[], [server, peer] = [R, PEER]) => {
        const who = ['-u', 'alice', '-w', 'wonderland', '-m', '2', '-n', '20'];
        const { stdout } = await a.run('turnutils_uclient', [...who, '-e', peer, '-r', '3480', ...options, server]);
        return stdout.match(/tot_send_msgs=\d+, tot_recv_msgs=\d+\n/g)?.at(-1);
      };
      const forwarded = turn.counted(() => plain.ask('send 3000 500 1000'));
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

    test('says why not: without the capability', async () => {
      const wrap = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin', '--'];
      const { plane, reason, metrics } = await turn.serve([], { wrap });
      expect([plane, reason]).toEqual(['user', expect.stringContaining('CAP_NET_ADMIN')]);
      const client = await turn.connect(turn.lab.host('a', '203.0.113.30'), { address: PEER, port: PEER_PORT });
      expect((await turn.counted(() => client.ask('send 100 500 1000'))).packets).toBe(100);
      expect(await metrics()).toMatchObject({ kernel_usable: 0, packets_to_peers: 100 });
    });
  },
);
