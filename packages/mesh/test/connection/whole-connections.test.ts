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

  it('leave neither the splice nor a line in the log while they are idle for ten minutes (D1)', async () => {
    await begin(102);
    await join(behindNats());
    await party.clock.advance(60_000);
    const before = toB().paths.log().length;
    const selected: (string | undefined)[] = [];
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      whole.connection(from, to).paths.events.on('selected', ({ also }) => selected.push(also?.id));
    }
    await party.clock.advance(600_000);
    expect([selected, toB().paths.log().length - before]).toEqual([[], 0]);
  });

  it('use the relay within a second when the direct path died while they were idle (D4)', async () => {
    const outages: number[] = [];
    for (let seed = 120; seed < 130; seed++) {
      await begin(seed);
      await join(behindNats());
      await party.clock.advance(60_000 + seed * 970);
      block();
      const fromMs = party.clock.now();
      const [first = Number.POSITIVE_INFINITY] = await whole.talk(a, b, { ms: 5_000 });
      outages.push(first - fromMs);
      expect(toB().describe().path?.kind).toBe('relay');
      if (seed < 129) await whole.close();
    }
    expect(Math.max(...outages)).toBeLessThan(1_000);
  });

  /** Drops what the two members send each other, on all paths but those through a relay. */
  function block(): () => void {
    const relays = new Set(party.relays().flatMap(({ urls }) => urls.map((url) => /[\d.]{7,}/.exec(url)![0])));
    return party.internet.intercept(({ source, destination, protocol }, next) => {
      const isDirect = !relays.has(source) && !relays.has(destination) && !source.startsWith('127.');
      if (protocol !== 'udp' || !isDirect) next();
    });
  }

  it.each(['direct-only', 'lan-only'] as const)(
    'are never connected over a relay where the policy is %s: failed while the path is dead, with a reason, and back after it (C7, C13)',
    async (policy) => {
      await begin(103);
      const { lan } = party.internet.nat(natKinds.portRestricted);
      const hosts = ['a', 'b'].map((name) =>
        policy === 'lan-only' ? lan.host({ name }) : party.internet.nat(natKinds.portRestricted).host({ name }),
      );
      await join(hosts, policy);
      const kind = policy === 'lan-only' ? 'lan' : 'p2p';
      const seen = new Set<string>();
      toB().paths.events.on('selected', ({ path, also }) => {
        for (const each of [path, also]) if (each !== undefined) seen.add(each.kind);
      });
      expect(toB().describe()).toMatchObject({ status: 'connected', path: { kind } });
      const pass = block();
      await whole.talk(a, b, { ms: 60_000, everyMs: 500 });
      expect(toB().describe()).toMatchObject({ status: 'failed', reason: 'reconnect-failed', path: undefined });
      expect(toB().describe().pathReason).toBe('policy');
      // The other end has the policy `auto`, and its relayed path is of no use to it.
      expect(whole.connection(b, a).status).toBe('failed');
      const theirs = whole.connection(b, a).describe();
      expect(theirs).toMatchObject({ policy: 'auto', peerPolicy: policy, isRefusedByPeer: true, refusedBy: undefined });
      pass();
      await whole.talk(a, b, { ms: 70_000, everyMs: 500 });
      expect(toB().describe()).toMatchObject({ status: 'connected', path: { kind } });
      expect(whole.connection(b, a).describe()).toMatchObject({ status: 'connected', path: { kind } });
      expect([...seen]).toEqual([kind]);
    },
  );

  it('are not connected where the policy is lan-only and no LAN is common, although each other path would work', async () => {
    await begin(104);
    await join(behindNats(), 'lan-only');
    await party.clock.advance(120_000);
    expect(toB().describe()).toMatchObject({ status: 'failed', reason: 'reconnect-failed', path: undefined });
    expect(toB().describe().pathReason).toBe('policy');
    expect(
      toB()
        .paths.status()
        .filter(({ role }) => role === 'current'),
    ).toEqual([]);
  });

  it.each([
    ['direct', 'portRestricted', 'p2p'],
    ['relayed', 'symmetricRandom', 'relay'],
  ] as const)(
    'have a path and echoes within 10 s after one was stopped for two minutes: %s (C7)',
    async (_, nat, kind) => {
      for (let seed = 105; seed < 110; seed++) {
        await begin(seed);
        await join(['a', 'b'].map((name) => party.internet.nat(natKinds[nat]).host({ name })));
        await whole.talk(a, b, { ms: 5_000 });
        expect([seed, toB().describe().path?.kind]).toEqual([seed, kind]);
        const stopped = seed % 2 === 0 ? a : b;
        const noticed: string[] = [];
        whole
          .connection(stopped, stopped === a ? b : a)
          .paths.events.on('log', ({ what, reason }) => noticed.push(`${what} ${reason}`));
        stopped.clock.stop();
        party.passes = () => false;
        await party.clock.runUntil(stopped.host.sleep(120_000));
        party.passes = () => true;
        stopped.clock.continue();
        const continuedAtMs = party.clock.now();
        const echoes = await whole.talk(a, b, { ms: 10_000 });
        expect([seed, echoes.length > 0]).toEqual([seed, true]);
        expect(toB().describe()).toMatchObject({ status: 'connected', path: { kind } });
        expect(echoes[0]! - continuedAtMs).toBeLessThan(10_000);
        expect(noticed).toContain('refresh clock-jumped');
        if (seed < 109) await whole.close();
      }
    },
  );
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
