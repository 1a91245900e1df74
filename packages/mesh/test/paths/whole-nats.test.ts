import { type Endpoint, isPrivateAddress } from '@towpath/net';
import { type NatOptions, natKinds, type SimulatedNat } from '@towpath/net/simulated';
import { afterEach, describe, expect, it } from 'vitest';
import { GatewayResponder } from '../../../portmap/test/gateway-responder.ts';
import { UpnpResponder } from '../../../portmap/test/upnp-responder.ts';
import type { PeerPaths } from '../../src/index.ts';
import { datagramOf, type PartyMember, SimulatedParty } from './party.ts';

describe('two members', () => {
  let party: SimulatedParty;
  let a: PartyMember;
  let b: PartyMember;
  let toB: PeerPaths;
  let toA: PeerPaths;
  const closes: (() => Promise<void>)[] = [];

  afterEach(async () => {
    await party.close();
    for (const close of closes.splice(0)) await party.clock.runUntil(close());
    await party.clock.advance(60_000);
    expect([party.clock.pendingTimers, party.internet.openSockets]).toEqual([0, 0]);
  });

  async function connect(nats: readonly [SimulatedNat, SimulatedNat]): Promise<void> {
    [a, b] = [
      await party.memberOn('a', nats[0].host({ name: 'a' }).network),
      await party.memberOn('b', nats[1].host({ name: 'b' }).network),
    ];
    [toB, toA] = [a.connect(b), b.connect(a)];
  }

  async function isCarriedBothWays(): Promise<void> {
    for (const { received } of [a, b]) received.splice(0);
    toB.current!.send(datagramOf('to b'));
    toA.current!.send(datagramOf('to a'));
    await party.clock.advance(500);
    expect([a.received, b.received]).toEqual([['to a'], ['to b']]);
  }

  describe('of which one is reached at a mapped port alone', () => {
    const gateways = {
      PCP: async (nat: SimulatedNat) => {
        const gateway = new GatewayResponder(nat, 'pcp-only', party.clock);
        await gateway.start();
        closes.push(() => gateway.close());
        return {
          leases: gateway.leases,
          restart: () => gateway.restart(),
          movesTo: (port: number) => (gateway.forcedPort = port),
        };
      },
      'NAT-PMP': async (nat: SimulatedNat) => {
        const gateway = new GatewayResponder(nat, 'nat-pmp-only', party.clock);
        await gateway.start();
        closes.push(() => gateway.close());
        return {
          leases: gateway.leases,
          restart: () => gateway.restart(),
          movesTo: (port: number) => (gateway.forcedPort = port),
        };
      },
      UPnP: async (nat: SimulatedNat) => {
        const gateway = new UpnpResponder(nat);
        await gateway.start();
        closes.push(() => gateway.close());
        return {
          leases: gateway.leases,
          restart: () => gateway.restart(),
          movesTo: () => gateway.habits.taken.add(a.finder.port),
        };
      },
    };

    it.each(['PCP', 'NAT-PMP', 'UPnP'] as const)(
      'use it, lose it when the router restarts, and use the port that replaces it: %s (C3)',
      async (protocol) => {
        party = new SimulatedParty(141, { birthday: false });
        await party.startRelay();
        await party.startRelay();
        const nats = [0, 1].map(() => party.internet.nat(natKinds.symmetricRandom)) as [SimulatedNat, SimulatedNat];
        const gateway = await gateways[protocol](nats[0]);
        await connect(nats);
        await party.clock.advance(15_000);
        const mapped: Endpoint = { address: nats[0].externalAddress, port: a.finder.port };
        expect([toB.current?.kind, toA.current?.kind, toA.current?.remote]).toEqual(['p2p', 'p2p', mapped]);
        await isCarriedBothWays();

        // The router has lost its mappings, and grants another port.
        gateway.movesTo(50_123);
        gateway.restart();
        let relayedMs = 0;
        for (let at = 0; at < 90_000; at += 250) {
          toB.current?.send(datagramOf('data'));
          toA.current?.send(datagramOf('data'));
          await party.clock.advance(250);
          if (toA.current?.kind !== 'p2p') relayedMs += 250;
        }
        expect(gateway.leases.size).toBe(1);
        expect([toB.current?.kind, toA.current?.kind]).toEqual(['p2p', 'p2p']);
        expect(toA.current!.remote).not.toEqual(mapped);
        expect(relayedMs).toBeLessThanOrEqual(30_000);
        await isCarriedBothWays();
      },
    );
  });

  it.each([
    [15_000, 'both'],
    [30_000, 'both'],
    [30_000, 'outbound'],
    [120_000, 'both'],
    [120_000, 'outbound'],
    [300_000, 'both'],
  ] as const)(
    'behind NATs that forget mappings after %i ms (refreshed by packets: %s) never lose an idle path, and use it often enough (C6)',
    async (mappingLifetimeMs, refresh) => {
      party = new SimulatedParty(142, { portMapping: false });
      await party.startStun();
      await party.startRelay();
      await party.startRelay();
      const options: NatOptions = { ...natKinds.portRestricted, mappingLifetimeMs, refresh };
      const nats = [0, 1].map(() => party.internet.nat(options)) as [SimulatedNat, SimulatedNat];
      await connect(nats);
      await party.clock.advance(10_000);
      const ids = [toB.current?.id, toA.current?.id];
      expect([toB.current?.kind, toA.current?.kind]).toEqual(['p2p', 'p2p']);
      const lastMs = new Map<string, number>();
      const gapsMs: number[] = [];
      const [endA, endB] = nats.map(({ externalAddress }) => externalAddress);
      party.internet.intercept(({ source, destination, destinationPort }, next) => {
        const isDirect = isPrivateAddress(source) && (destination === endB || destination === endA);
        if (isDirect) {
          const key = `${source} ${destination} ${destinationPort}`;
          const nowMs = party.clock.now();
          gapsMs.push(nowMs - (lastMs.get(key) ?? nowMs));
          lastMs.set(key, nowMs);
        }
        next();
      });
      const changes: string[] = [];
      for (const end of [toB, toA])
        end.events.on('log', ({ what, reason }) => {
          if (what === 'switch' || what === 'removed') changes.push(`${what} ${reason}`);
        });
      for (let minute = 0; minute < 60; minute++) await party.clock.advance(60_000);
      expect([changes, toB.current?.id, toA.current?.id]).toEqual([[], ...ids]);
      const intervalMs = Math.max(...gapsMs);
      expect(intervalMs).toBeLessThan(mappingLifetimeMs);
      // Learnt, which is more than the 20 s of before where the NAT allows that.
      if (mappingLifetimeMs > 25_000) expect(intervalMs).toBeGreaterThan(20_000);
      await isCarriedBothWays();
    },
  );

  it.each([
    ['behind routers', natKinds.firewall, undefined],
    ['of the hosts', undefined, 'contacted'],
    ['behind routers and of the hosts', natKinds.firewall, 'contacted'],
  ] as const)(
    'with IPv6 alone between them are connected directly through stateful firewalls %s (C3, C11)',
    async (_, nat, policy) => {
      for (let seed = 143; seed < 148; seed++) {
        party = new SimulatedParty(seed, { portMapping: false, birthday: false }, { ipv6: true });
        await party.startRelay();
        const firewall = policy && { policy };
        const hosts = ['a', 'b'].map((name) =>
          nat === undefined
            ? party.internet.host({ name, ...(firewall && { firewall }) })
            : party.internet
                .nat({ ...natKinds.symmetricRandom, filtering6: 'address-and-port-dependent', ipv6: true })
                .host({ name, ...(firewall && { firewall }) }),
        );
        // IPv4 reaches the relay alone.
        const own = new Set(party.relays().flatMap(({ urls }) => urls.map((url) => /[\d.]{7,}/.exec(url)![0])));
        party.internet.intercept(({ source, destination }, next) => {
          if (source.includes(':') || own.has(source) || own.has(destination)) next();
        });
        [a, b] = [await party.memberOn('a', hosts[0]!.network), await party.memberOn('b', hosts[1]!.network)];
        [toB, toA] = [a.connect(b), b.connect(a)];
        await party.clock.advance(5_000);
        expect([seed, toB.current?.kind, toB.current?.family, toA.current?.kind, toA.current?.family]).toEqual([
          seed,
          'p2p',
          6,
          'p2p',
          6,
        ]);
        await party.clock.advance(600_000);
        expect([toB.current?.family, toA.current?.family]).toEqual([6, 6]);
        await isCarriedBothWays();
        if (seed < 147) await party.close();
      }
    },
  );
});
