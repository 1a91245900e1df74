import { natKinds } from '@towpath/net/simulated';
import type { TurnServer } from '@towpath/stun/server';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerPaths } from '../../src/index.ts';
import { decodeRelaySignal } from '../../src/relays/relay-signal.ts';
import { datagramOf, type PartyMember, SimulatedParty } from './party.ts';

describe('a pair behind hard NATs with two relays', () => {
  let party: SimulatedParty;
  let a: PartyMember;
  let b: PartyMember;
  let toB: PeerPaths;
  let toA: PeerPaths;
  let relays: TurnServer[];

  afterEach(close);

  async function close(): Promise<void> {
    await party.close();
    await party.clock.advance(60_000);
    expect(party.clock.pendingTimers).toBe(0);
  }

  async function connect(seed: number): Promise<void> {
    party = new SimulatedParty(seed);
    relays = [await party.startRelay(), await party.startRelay()];
    [a, b] = [await party.member('a', natKinds.symmetricRandom), await party.member('b', natKinds.symmetricRandom)];
    [toB, toA] = [a.connect(b), b.connect(a)];
    await talk(30_000);
  }

  /** Each end sends 20 datagrams a second, as the hop does: on the second path, too, while there is one. */
  async function talk(ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 50) {
      for (const paths of [toB, toA]) {
        paths.current?.send(datagramOf(`${party.clock.now()}`));
        paths.also?.send(datagramOf(`${party.clock.now()}`));
      }
      await party.clock.advance(50);
    }
  }

  /** The longest time since `sinceMs` in which one of the ends received nothing. */
  function outageSince(sinceMs: number): number {
    const ends = [a, b].map(({ received }) => {
      const times = received.map(Number).filter((atMs) => atMs > sinceMs);
      const all = [sinceMs, ...times, party.clock.now()];
      return Math.max(...all.slice(1).map((atMs, index) => atMs - all[index]!));
    });
    return Math.max(...ends);
  }

  /** Which of the relays carries the data of both ends. */
  function used(): number {
    const [ofB, ofA] = [toB, toA].map(({ current }) =>
      relays.findIndex((relay) => current?.relay?.includes(relay.locals[0]!.address)),
    );
    expect(ofB).toBe(ofA);
    return ofB!;
  }

  it('is on the one that is back within 2 s when the other one dies before there is a standby (C9)', {
    timeout: 180_000,
  }, async () => {
    const outages: number[] = [];
    for (const seed of [90, 91, 92])
      for (const [awayMs, backMs] of [
        [20_000, 300],
        [43_000, 300],
        [61_000, 1_500],
        [130_000, 300],
      ] as const) {
        await connect(seed);
        const first = used();
        const start = await party.killRelay(relays[first]!);
        await talk(awayMs);
        expect(used()).toBe(1 - first);
        relays[first] = await start();
        await talk(backMs);
        const killedAtMs = party.clock.now();
        await party.killRelay(relays[1 - first]!);
        await talk(20_000);
        expect(used()).toBe(first);
        outages.push(outageSince(killedAtMs));
        if (outages.length < 12) await close();
      }
    expect(Math.max(...outages)).toBeLessThan(2_000);
  });

  it('agrees on a relay although both have failed it a moment ago, and are back (C9)', async () => {
    await connect(96);
    const first = used();
    let moves: number[] = [];
    party.passes = (data) => {
      if (decodeRelaySignal(data)?.type === 'use') moves.push(party.clock.now());
      return true;
    };
    for (const at of [first, 1 - first]) {
      moves = [];
      const start = await party.killRelay(relays[at]!);
      await talk(8_000);
      relays[at] = await start();
      await talk(4_000);
    }
    await talk(15_000);
    expect(moves.length).toBeGreaterThan(0);
    used();
  });

  it('does not ask its relays more often than once a second, however long it is in doubt', async () => {
    await connect(97);
    await party.killRelay(relays[0]!);
    await party.killRelay(relays[1]!);
    const sent = new Map<string, number>();
    party.internet.intercept(({ source, destination }, next) => {
      if (source.startsWith('192.168.')) sent.set(destination, (sent.get(destination) ?? 0) + 1);
      next();
    });
    await talk(60_000);
    // Two members over two transports, each with the answers that a restarted relay would give to an old question.
    expect(Math.max(...sent.values())).toBeLessThan(60 * 8);
  });
});
