import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { addressToBytes, DelegatingNetwork, type Endpoint } from '@towpath/net';
import { natKinds, SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { PortMapper } from '../src/index.ts';
import { GatewayResponder, type Habit } from './gateway-responder.ts';
import { reach } from './reach.ts';

async function world(habit: Habit) {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const internet = new SimulatedInternet({ clock, random });
  const home = internet.nat(natKinds.symmetricRandom);
  const laptop = home.host({ name: 'laptop' });
  const stranger = internet.host({ name: 'stranger' });
  const responder = new GatewayResponder(home, habit, clock);
  await responder.start();
  const gateway = home.gateway.address;
  const mapper = new PortMapper({ network: laptop.network, clock, random }, { gateway, upnp: false });
  const map = () => clock.runUntil(mapper.map({ protocol: 'udp', internalPort: 41_000 }));
  const hosts = { inside: laptop.network, outside: stranger.network };
  const reached = (external: Endpoint) => reach(clock, hosts, { internalPort: 41_000, external });
  return { clock, random, internet, home, laptop, responder, map, reach: reached };
}

describe('port mapper', () => {
  test.each(['pcp', 'nat-pmp'] as const)(
    'maps a port by %s, so that a stranger gets in, and removes it on close (C3)',
    async (via) => {
      const { clock, home, responder, map, reach, internet } = await world(via);
      const mapping = await map();
      expect(mapping.current).toMatchObject({ via, external: { address: home.externalAddress, port: 41_000 } });
      expect(mapping.current.lifetimeMs).toBe(7_200_000);
      expect(await reach(mapping.current.external)).toEqual(['hello']);
      await clock.runUntil(mapping.close());
      await clock.runUntil(mapping.close());
      expect(responder.leases.size).toBe(0);
      expect(await reach(mapping.current.external)).toEqual([]);
      await responder.close();
      await clock.advance(60_000);
      expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
    },
  );

  test('renews at half the granted time, for hours', async () => {
    const { clock, responder, map } = await world('pcp');
    responder.maxLifetimeS = 600;
    const mapping = await map();
    await clock.advance(3_610_000);
    // Each renewal is up to a tenth late.
    expect(responder.requests.length).toBeGreaterThanOrEqual(1 + 10);
    expect(responder.requests.length).toBeLessThanOrEqual(1 + 12);
    await clock.runUntil(mapping.close());
    expect(responder.requests.at(-1)).toMatch(/ 0$/);
  });

  test('says when the gateway moves the mapping, and when it stops answering, and recovers', async () => {
    const { clock, responder, map } = await world('nat-pmp');
    const mapping = await map();
    const events: string[] = [];
    mapping.events.on('changed', ({ external }) => events.push(`changed ${external.port}`));
    mapping.events.on('lost', ({ code }) => events.push(`lost ${code}`));
    responder.forcedPort = 50_123;
    await clock.advance(4_000_000);
    expect(events).toEqual(['changed 50123']);
    responder.habit = 'silent';
    await clock.advance(7_200_000);
    expect(events).toEqual(['changed 50123', 'lost no-mapping']);
    responder.habit = 'nat-pmp';
    await clock.advance(30_000);
    expect(mapping.current.external.port).toBe(50_123);
    await clock.runUntil(mapping.close());
    expect(clock.pendingTimers).toBe(0);
  });

  test.each([
    ['refuse', 'not authorized'],
    ['silent', 'does not answer'],
  ] as const)('says why there is no mapping when the gateway is one to %s', async (habit, reason) => {
    const { clock, map, responder, internet } = await world(habit);
    await expect(map()).rejects.toMatchObject({ code: 'no-mapping', message: expect.stringContaining(reason) });
    expect(clock.now()).toBeLessThanOrEqual(5_000);
    await responder.close();
    await clock.advance(1_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('asks by NAT-PMP where PCP is not answered', async () => {
    const { clock, responder, map, reach } = await world('nat-pmp-only');
    const mapping = await map();
    expect(mapping.current.via).toBe('nat-pmp');
    expect(clock.now()).toBeLessThan(2_000);
    expect(await reach(mapping.current.external)).toEqual(['hello']);
    expect(await clock.runUntil(mapping.close())).toBe(true);
    expect(responder.leases.size).toBe(0);
  });

  test('does not believe an answer about another internal port', async () => {
    const { clock, map } = await world('garbled');
    const failure = await map().catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'no-mapping',
      message: expect.stringContaining('name internal port 40, not 41000'),
    });
    await clock.advance(10_000);
    expect(clock.pendingTimers).toBe(0);
  });

  test.each(['pcp', 'nat-pmp'] as const)('refuses a mapping at 0.0.0.0 by %s, and leaves none behind', async (via) => {
    const { clock, responder, map } = await world(via);
    responder.externalAddress = '0.0.0.0';
    await expect(map()).rejects.toMatchObject({ message: expect.stringContaining('it has no external address') });
    await clock.advance(10_000);
    expect(responder.leases.size).toBe(0);
  });

  test.each(['pcp', 'nat-pmp', 'nat-pmp-only'] as const)(
    'notices by its clock that a gateway of kind "%s" restarted, and has the mapping back within 30 s',
    async (habit) => {
      const { clock, responder, map } = await world(habit);
      const mapping = await map();
      for (let round = 0; round < 3; round++) {
        await clock.advance(100_000);
        responder.restart();
        await clock.advance(30_000);
        expect(responder.leases.size).toBe(1);
      }
      await clock.runUntil(mapping.close());
      expect(responder.leases.size).toBe(0);
    },
  );

  test('an announcement brings the mapping back at once, also when the gateway is silent for a while first', async () => {
    const { clock, responder, map, internet } = await world('pcp');
    const mapping = await map();
    await clock.advance(5_000);
    responder.restart();
    responder.announce();
    await clock.advance(100);
    expect(responder.leases.size).toBe(1);
    await clock.advance(10_000);
    const lost: string[] = [];
    mapping.events.on('lost', ({ code }) => lost.push(code));
    responder.restart();
    responder.announce();
    responder.habit = 'silent';
    await clock.advance(60_000);
    expect(lost).toEqual(['no-mapping']);
    responder.habit = 'pcp';
    await clock.advance(20_000);
    expect(responder.leases.size).toBe(1);
    await clock.runUntil(mapping.close());
    await responder.close();
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test.each([
    ['pcp', true],
    ['pcp', 'granted'],
    ['nat-pmp', true],
    ['nat-pmp', 'granted'],
  ] as const)('a deletion by %s that the gateway does not confirm is told as such (%s)', async (via, keeps) => {
    const { clock, responder, map, internet } = await world(via);
    const mapping = await map();
    expect(mapping.current.via).toBe(via);
    responder.keepsMappings = keeps;
    expect(await clock.runUntil(mapping.close())).toBe(false);
    expect(responder.leases.size).toBe(1);
    await responder.close();
    await clock.advance(10_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('a deletion by PCP suggests port 0 and no address (RFC 6887 §15.1, erratum 3621)', async () => {
    const { clock, responder, map } = await world('pcp');
    responder.forcedPort = 50_123;
    const mapping = await map();
    expect(await clock.runUntil(mapping.close())).toBe(true);
    expect(responder.deletions).toEqual([`0000${'00'.repeat(10)}ffff00000000`]);
    expect(responder.leases.size).toBe(0);
  });

  test.each<[string, (answer: Buffer, outside: Uint8Array) => void, boolean]>([
    ['port 0 and 0.0.0.0', () => {}, true],
    ['port 0 and ::', (answer) => answer.fill(0, 44, 60), true],
    ['port 0 and the address of the mapping, as miniupnpd does', (answer, outside) => answer.set(outside, 56), true],
    ['port 0 and another address', (answer) => answer.set([198, 51, 100, 9], 56), false],
    ['another port', (answer) => answer.writeUInt16BE(41_001, 42), false],
    ['the port of the mapping', (answer) => answer.writeUInt16BE(41_000, 42), false],
    [
      'the endpoint of the mapping',
      (answer, outside) => {
        answer.writeUInt16BE(41_000, 42);
        answer.set(outside, 56);
      },
      false,
    ],
    ['another internal port', (answer) => answer.writeUInt16BE(41_001, 40), false],
    ['another nonce', (answer) => answer.writeUInt8(answer.readUInt8(24) ^ 1, 24), false],
    ['another protocol', (answer) => answer.writeUInt8(6, 36), false],
    ['a lifetime', (answer) => answer.writeUInt32BE(1, 4), false],
    ['a refusal', (answer) => answer.writeUInt8(2, 3), false],
  ])('an answer by PCP to a deletion with %s (RFC 6887 §15.1)', async (_what, alter, confirmed) => {
    const { clock, home, responder, map, internet } = await world('pcp');
    const mapping = await map();
    responder.alter = (answer) => alter(answer, addressToBytes(home.externalAddress)!);
    expect(await clock.runUntil(mapping.close())).toBe(confirmed);
    await responder.close();
    await clock.advance(10_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('a restart that only the answers to mapping requests show is noticed within 30 s (RFC 6887 §8.5)', async () => {
    const { clock, responder, map, reach } = await world('pcp-only');
    responder.announces = false;
    const mapping = await map();
    for (let round = 0; round < 3; round++) {
      await clock.advance(100_000);
      responder.restart();
      await clock.advance(30_000);
      expect(responder.leases.size).toBe(1);
      expect(await reach(mapping.current.external)).toEqual(['hello']);
    }
    expect(mapping.current.via).toBe('pcp');
    await clock.runUntil(mapping.close());
    expect(responder.leases.size).toBe(0);
  });

  test.each(['pcp-only', 'nat-pmp-only'] as const)(
    'a restart that the answer about one mapping shows brings the others back at once, at a gateway of kind "%s" (RFC 6887 §8.5)',
    async (habit) => {
      const { clock, random, laptop, home, responder, internet } = await world(habit);
      const options = { gateway: home.gateway.address, upnp: false };
      const mapper = new PortMapper({ network: laptop.network, clock, random }, options);
      const map = (internalPort: number) => clock.runUntil(mapper.map({ protocol: 'udp', internalPort }));
      const before = [await map(41_000), await map(41_001)];
      await clock.advance(101_000);
      responder.restart();
      const fresh = await map(41_002);
      await clock.advance(500);
      expect(responder.leases.size).toBe(3);
      // Nobody renews without end: what the others are told afterwards fits.
      const asked = responder.requests.length;
      responder.announces = false;
      await clock.advance(15_000);
      expect(responder.requests.length - asked).toBeLessThanOrEqual(before.length + 1);
      for (const mapping of [...before, fresh]) expect(await clock.runUntil(mapping.close())).toBe(true);
      await responder.close();
      await clock.advance(10_000);
      expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
    },
  );

  test('a restart that moves the mapping is told, where only answers to mapping requests show it', async () => {
    const { clock, responder, map } = await world('pcp-only');
    responder.announces = false;
    const mapping = await map();
    const changed: number[] = [];
    mapping.events.on('changed', ({ external }) => changed.push(external.port));
    await clock.advance(100_000);
    responder.restart();
    responder.forcedPort = 50_123;
    await clock.advance(30_000);
    expect([changed, mapping.current.external.port]).toEqual([[50_123], 50_123]);
    await clock.runUntil(mapping.close());
  });

  test('a deletion by PCP that a gateway of another version answers is not confirmed', async () => {
    const { clock, responder, map } = await world('pcp');
    const mapping = await map();
    responder.habit = 'nat-pmp';
    expect(await clock.runUntil(mapping.close())).toBe(false);
    expect(responder.leases.size).toBe(1);
  });

  test.each<[string, (answer: Buffer) => void, string]>([
    ['another internal port', (answer) => answer.writeUInt16BE(41_001, 40), 'name internal port 41001, not 41000'],
    ['another protocol', (answer) => answer.writeUInt8(6, 36), 'invalid answers'],
    ['a protocol that nobody asked for', (answer) => answer.writeUInt8(132, 36), 'does not answer'],
    ['another nonce', (answer) => answer.writeUInt8(answer.readUInt8(24) ^ 1, 24), 'does not answer'],
    ['another opcode', (answer) => answer.writeUInt8(0x82, 1), 'does not answer'],
    ['the opcode of a request', (answer) => answer.writeUInt8(0x01, 1), 'does not answer'],
  ])('an answer by PCP with %s is rejected (RFC 6887 §11.4)', async (_what, alter, reason) => {
    const { clock, responder, map } = await world('pcp');
    responder.alter = (answer) => {
      if (answer[0] === 2) alter(answer);
    };
    // NAT-PMP is asked next where PCP seems not to be answered.
    responder.habit = 'pcp-only';
    await expect(map()).rejects.toMatchObject({ code: 'no-mapping', message: expect.stringContaining(reason) });
    await clock.advance(10_000);
    expect(clock.pendingTimers).toBe(0);
  });

  test('an announcement by NAT-PMP brings the mapping back at once (RFC 6886 §3.2.1)', async () => {
    const { clock, responder, map, reach } = await world('nat-pmp-only');
    const mapping = await map();
    await clock.advance(5_000);
    responder.restart();
    responder.announceNatPmp();
    await clock.advance(100);
    expect(responder.leases.size).toBe(1);
    expect(await reach(mapping.current.external)).toEqual(['hello']);
    // The gateway repeats its announcement ten times; the epoch time has not gone back again (§3.6).
    const asked = responder.requests.length;
    for (const waitMs of [250, 500, 1_000, 2_000, 4_000]) {
      await clock.advance(waitMs);
      responder.announceNatPmp();
    }
    await clock.advance(100);
    expect(responder.requests).toHaveLength(asked);
    await clock.runUntil(mapping.close());
  });

  test('forged epoch times that go back and forth neither stop the renewal nor flood the gateway', async () => {
    const { clock, responder, map } = await world('pcp');
    responder.maxLifetimeS = 120;
    const lost: string[] = [];
    const mapping = await map();
    mapping.events.on('lost', ({ code }) => lost.push(code));
    const before = responder.requests.length;
    for (let count = 0; count < 30_000; count++) {
      responder.announceEpoch(count % 2 === 0 ? 5_000_000 : 1);
      await clock.advance(10);
    }
    expect(lost).toEqual([]);
    expect(responder.leases.size).toBe(1);
    // 300 s: one renewal each 10 s at most.
    expect(responder.requests.length - before).toBeLessThanOrEqual(30);
    await clock.runUntil(mapping.close());
  });

  test('a lease of 136 years is renewed as little as any', async () => {
    const { clock, responder, map } = await world('pcp');
    responder.forcedLifetimeS = 0xffffffff;
    const mapping = await map();
    expect(mapping.current.lifetimeMs).toBe(0xffffffff * 1_000);
    await clock.advance(86_400_000);
    expect(responder.requests).toHaveLength(1);
    await clock.runUntil(mapping.close());
    expect(responder.leases.size).toBe(0);
  });

  test('an announcement of anybody but the gateway is not believed', async () => {
    const { clock, home, responder, map } = await world('pcp');
    const mapping = await map();
    const liar = await home.host().network.bindUdp({ onMessage: () => {} });
    for (let count = 0; count < 20; count++) {
      const announced = Buffer.alloc(24);
      announced.set([2, 0x80]);
      liar.send(announced, { address: '224.0.0.1', port: 5_350 });
      await clock.advance(1_000);
    }
    expect(responder.requests).toHaveLength(1);
    await clock.runUntil(mapping.close());
  });

  test('asks only the router of the route, and the next one after the host has moved', async () => {
    const { clock, random, internet, laptop, responder } = await world('pcp');
    const mapper = new PortMapper({ network: laptop.network, clock, random }, { upnp: false });
    const mapping = await clock.runUntil(mapper.map({ protocol: 'udp', internalPort: 41_000 }));
    const other = internet.nat({ ...natKinds.portRestricted, subnet: '10.0.0.0/24' });
    const second = new GatewayResponder(other, 'pcp', clock);
    await second.start();
    const changed: string[] = [];
    mapping.events.on('changed', ({ external }) => changed.push(external.address));
    laptop.roam(other.lan);
    await clock.advance(10_000);
    expect(changed).toEqual([other.externalAddress]);
    expect([...second.leases.keys()]).toEqual([`udp ${laptop.address}:41000`]);
    expect(responder.requests).toHaveLength(1);
    await clock.runUntil(mapping.close());
    expect(second.leases.size).toBe(0);
  });

  test('asks the router of the interface that the port is bound to', async () => {
    const { clock, random, internet, laptop, responder } = await world('pcp');
    const uplink = internet.nat({ ...natKinds.portRestricted, subnet: '10.0.0.0/24' });
    const second = new GatewayResponder(uplink, 'pcp', clock);
    await second.start();
    const joined = laptop.join(uplink.lan);
    const mapper = new PortMapper({ network: laptop.network, clock, random }, { upnp: false });
    const request = { protocol: 'udp', internalPort: 41_000, internalAddress: joined.addresses[0] } as const;
    const mapping = await clock.runUntil(mapper.map(request));
    expect(mapping.current.external.address).toBe(uplink.externalAddress);
    expect([responder.requests.length, second.leases.size]).toEqual([0, 1]);
    await clock.runUntil(mapping.close());
  });

  test('asks nobody where the default route has no router', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    const internet = new SimulatedInternet({ clock, random });
    const { network } = internet.host();
    class Vpn extends DelegatingNetwork {
      override interfaces() {
        return super.interfaces().map((one) => ({ ...one, prefixLength: 32 }));
      }
    }
    const mapper = new PortMapper({ network: new Vpn({ network }), clock, random });
    const mapping = mapper.map({ protocol: 'udp', internalPort: 41_000 });
    await expect(clock.runUntil(mapping)).rejects.toMatchObject({
      code: 'no-gateway',
      message: expect.stringContaining('VPN'),
    });
    expect(internet.counters.sent).toBe(0);
  });

  test('does not take answers from anybody but the gateway', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    const lan = new SimulatedInternet({ clock, random }).lan();
    const me = lan.host({ address: '192.168.1.20' });
    const liar = lan.host({ address: '192.168.1.66' });
    const forged = await liar.network.bindUdp({ port: 5_351, onMessage: () => {} });
    const mapper = new PortMapper({ network: me.network, clock, random }, { gateway: '192.168.1.1', upnp: false });
    const answer = Buffer.from([0, 129, 0, 0, 0, 0, 0, 9, 0xa0, 0x28, 0xa0, 0x28, 0, 0, 0x1c, 0x20]);
    const attempt = mapper.map({ protocol: 'udp', internalPort: 41_000 });
    for (let port = 49_152; port < 49_400; port++) forged.send(answer, { address: '192.168.1.20', port });
    await expect(clock.runUntil(attempt)).rejects.toMatchObject({ code: 'no-mapping' });
  });

  test('an abort ends the search with its reason and nothing left open', async () => {
    const { clock, responder, internet, home } = await world('silent');
    const mapper = new PortMapper(
      { network: home.host().network, clock, random: new SeededRandom(2) },
      { gateway: home.gateway.address, upnp: false },
    );
    const abort = new AbortController();
    clock.timer(100, () => abort.abort(new Error('enough')));
    await expect(clock.runUntil(mapper.map({ protocol: 'tcp', internalPort: 80 }, abort.signal))).rejects.toThrow(
      'enough',
    );
    await responder.close();
    await clock.advance(100);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });
});
