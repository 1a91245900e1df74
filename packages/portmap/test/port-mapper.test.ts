import { SeededRandom, VirtualClock } from '@towpath/core';
import { natKinds, SimulatedInternet } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { PortMapper } from '../src/index.ts';
import { GatewayResponder, type Habit } from './gateway-responder.ts';

async function world(habit: Habit) {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const internet = new SimulatedInternet({ clock, random });
  const home = internet.nat(natKinds.symmetricRandom);
  const laptop = home.host({ name: 'laptop' });
  const stranger = internet.host({ name: 'stranger' });
  const responder = new GatewayResponder(home, habit);
  await responder.start();
  const gateway = home.gateway.address;
  const mapper = new PortMapper({ network: laptop.network, clock, random }, { gateway, upnp: false });
  const map = () => clock.runUntil(mapper.map({ protocol: 'udp', internalPort: 41_000 }));
  /** What the laptop's port 41000 hears from somebody whom it never wrote to. */
  const reach = async (external: { address: string; port: number }) => {
    const heard: string[] = [];
    const inside = await laptop.network.bindUdp({
      port: 41_000,
      onMessage: (data) => heard.push(String(Buffer.from(data))),
    });
    const outside = await stranger.network.bindUdp({ onMessage: () => {} });
    outside.send(Buffer.from('hello'), external);
    await clock.advance(500);
    await inside.close();
    await outside.close();
    return heard;
  };
  return { clock, internet, home, responder, map, reach };
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
    expect(responder.requests.length).toBe(1 + 3_600 / 300);
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
    await clock.advance(3_601_000);
    expect(events).toEqual(['changed 50123']);
    responder.habit = 'silent';
    await clock.advance(3_610_000);
    expect(events).toEqual(['changed 50123', 'lost no-answer']);
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
    expect(clock.now()).toBeLessThanOrEqual(3_000);
    await responder.close();
    await clock.advance(1_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
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
