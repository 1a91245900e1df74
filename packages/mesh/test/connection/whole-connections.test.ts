import type { Events, PathPolicy } from '@towpath/core';
import { natKinds, type SimulatedHost } from '@towpath/net/simulated';
import { afterEach, describe, expect, it } from 'vitest';
import type { MeshControlEvents, PeerConnection } from '../../src/index.ts';
import { SimulatedParty } from '../paths/party.ts';
import { type ConnectedMember, ConnectedParty } from './connected-party.ts';

describe('two members that are kept connected', () => {
  let whole: ConnectedParty;
  let party: SimulatedParty;
  let a: ConnectedMember;
  let b: ConnectedMember;

  afterEach(async () => {
    await whole.close();
    await party.clock.advance(60_000);
    expect([party.clock.pendingTimers, party.internet.openSockets]).toEqual([0, 0]);
  });

  async function begin(seed: number, relays = 2): Promise<void> {
    party = new SimulatedParty(seed, { portMapping: false });
    whole = new ConnectedParty(party);
    for (let at = 0; at < relays; at++) await party.startRelay();
  }

  async function join(hosts: readonly SimulatedHost[], policy?: PathPolicy): Promise<void> {
    [a, b] = [await whole.join(hosts[0]!, policy && { policy }), await whole.join(hosts[1]!)] as const;
    await whole.maintain();
  }

  const behindNats = () => ['a', 'b'].map((name) => party.internet.nat(natKinds.portRestricted).host({ name }));
  const toB = (): PeerConnection => whole.connection(a, b);

  it('have the same timers, sockets and listeners after 50 reconnects as after five (C7)', async () => {
    await begin(101);
    await join(behindNats());
    const { events } = a.member.control as unknown as { events: Events<MeshControlEvents> };
    const subscribed = countSubscriptions(a);
    const held = () => ({
      control: (['signal', 'relays', 'presence', 'party', 'server'] as const).map((name) => events.count(name)),
      echo: (['goodbye', 'heard'] as const).map((name) => a.tunnel.events.count(name)),
      paths: (['selected', 'log'] as const).map((name) => toB().paths.events.count(name)),
      connection: toB().events.count('changed'),
      monitored: a.manager.connections.size,
      subscribed: subscribed(),
    });
    // A packet on its way is a timer, and a request a socket.
    const fewest = async () => {
      const counts: [timers: number, sockets: number][] = [];
      for (let at = 0; at < 20; at++) {
        await party.clock.advance(50);
        counts.push([party.clock.pendingTimers, party.internet.openSockets]);
      }
      return [0, 1].map((at) => Math.min(...counts.map((count) => count[at]!)));
    };
    const counts: number[][] = [];
    const states: ReturnType<typeof held>[] = [];
    for (let turn = 0; turn < 50; turn++) {
      const pass = party.internet.intercept(({ protocol, source }, next) => {
        if (protocol !== 'udp' || source.startsWith('127.')) next();
      });
      const isLong = turn % 10 === 0;
      await whole.talk(a, b, { ms: isLong ? 60_000 : 8_000, everyMs: 500 });
      expect([turn, toB().status]).toEqual([turn, isLong ? 'failed' : 'degraded']);
      pass();
      a.manager.refresh();
      await whole.talk(a, b, { ms: 10_000, everyMs: 500 });
      expect([turn, toB().status, toB().describe().path?.kind]).toEqual([turn, 'connected', 'p2p']);
      states.push(held());
      counts.push(await fewest());
    }
    expect(states).toEqual(states.map(() => states[0]));
    // Each of the two members' two relays may have been asked over TCP meanwhile.
    const most = (of: number[][]) => [0, 1].map((at) => Math.max(...of.map((count) => count[at]!)));
    const [[someTimers = 0, someSockets = 0], [timers, sockets]] = [most(counts.slice(0, 25)), most(counts.slice(25))];
    expect(timers).toBeLessThanOrEqual(someTimers);
    expect(sockets).toBeLessThanOrEqual(someSockets);
    expect(toB().paths.log().length).toBeLessThanOrEqual(200);
  });
});

/** @returns how many subscriptions to changes of the network were added and not ended since */
function countSubscriptions({ host }: ConnectedMember): () => number {
  const { changes } = host.network;
  const { subscribe } = changes;
  let open = 0;
  changes.subscribe = (...args) => {
    const subscription = subscribe.apply(changes, args);
    open++;
    return {
      [Symbol.dispose]: () => {
        open--;
        subscription[Symbol.dispose]();
      },
    };
  };
  return () => open;
}
