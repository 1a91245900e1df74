import { SeededRandom } from '@towpath/core';
import { type NatOptions, natKinds } from '@towpath/net/simulated';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeCandidateSignal, type MeshCandidateType } from '../../src/paths/candidate-signal.ts';
import { SimulatedParty } from './party.ts';

/** TOWPATH_SEEDS=10000 for the long run; TOWPATH_FIRST_SEED begins a part of it elsewhere. */
const SEEDS = Number(process.env.TOWPATH_SEEDS ?? 24);
const FIRST = Number(process.env.TOWPATH_FIRST_SEED ?? 0);
const KINDS: readonly (NatOptions | undefined)[] = [undefined, ...Object.values(natKinds)];
const CONNECT_MS = 20_000;
const STEADY_MS = 60_000;
/** Ends what hangs: a seed takes about 0.2 s. */
const LIMIT_MS: number = 60_000 + 2_000 * SEEDS;

describe('any two members with a relay in reach', () => {
  let party: SimulatedParty;
  afterEach(() => party.close());

  it(
    `have a path, which changes at most twice a minute once it is steady, over ${SEEDS} seeds (C3, C8)`,
    async () => {
      for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
        const random = new SeededRandom(seed);
        const kind = () => KINDS[random.integer(0, KINDS.length - 1)];
        party = new SimulatedParty(seed);
        await party.startRelay();
        await party.startRelay();
        const [a, b] = [await party.member('a', kind()), await party.member('b', kind())];
        const toB = a.connect(b);
        await party.clock.advance(random.integer(0, 3_000));
        const toA = b.connect(a);
        await party.clock.advance(CONNECT_MS);
        const ends = [toB, toA];
        const said = `seed ${seed}`;
        expect([said, ...ends.map(({ current }) => current !== undefined)]).toEqual([said, true, true]);
        const switches = [0, 0];
        for (const [at, end] of ends.entries())
          end.events.on('log', ({ what }) => void (what === 'switch' && switches[at]!++));
        await party.clock.advance(STEADY_MS);
        expect([said, Math.max(...switches) <= 2]).toEqual([said, true]);
        if (seed < FIRST + SEEDS - 1) await party.close();
      }
    },
    LIMIT_MS,
  );
});

describe('a hostile member', () => {
  let party: SimulatedParty;
  afterEach(() => party.close());

  it('with ten thousand false candidates neither floods anybody nor keeps the honest path from working', async () => {
    party = new SimulatedParty(9);
    await party.startRelay();
    const [a, b] = [await party.member('a'), await party.member('b')];
    const random = new SeededRandom(9);
    const seen = new Map<string, number>();
    party.internet.intercept(({ source, destination }, next) => {
      if (source === a.network.interfaces().find(({ internal }) => !internal)?.address) {
        seen.set(destination, (seen.get(destination) ?? 0) + 1);
      }
      next();
    });
    const paths = a.connect(b);
    b.connect(a);
    await party.clock.advance(2_000);
    const [current] = [paths.current?.id];
    for (let turn = 0; turn < 320; turn++) {
      const candidates = Array.from({ length: 32 }, () => ({
        type: 'host' as MeshCandidateType,
        endpoint: { address: `198.51.100.${random.integer(1, 254)}`, port: random.integer(1, 65_535) },
      }));
      party.deliver(b.peer, a.peer.id, encodeCandidateSignal({ session: turn, wantsAnswer: false, candidates }));
      await party.clock.advance(100);
    }
    const third = [...seen].filter(([address]) => address.startsWith('198.51.100.'));
    // Each address has a budget, and all of them share one of 50 in a second.
    expect(Math.max(...third.map(([, count]) => count))).toBeLessThanOrEqual(70);
    expect(third.reduce((sum, [, count]) => sum + count, 0)).toBeLessThanOrEqual(50 * 40);
    expect(paths.current?.id).toBe(current);
  });

  it('that changes bytes of signals at random breaks nothing', async () => {
    party = new SimulatedParty(10);
    await party.startRelay();
    const [a, b] = [await party.member('a'), await party.member('b')];
    const random = new SeededRandom(10);
    const paths = a.connect(b);
    b.connect(a);
    await party.clock.advance(1_000);
    const good = encodeCandidateSignal({
      session: 1,
      wantsAnswer: true,
      candidates: [{ type: 'relayed', endpoint: { address: '198.51.100.1', port: 1 } }],
    });
    for (let turn = 0; turn < 2_000; turn++) {
      const bytes = Uint8Array.from(good);
      for (let change = 0; change < 3; change++) bytes[random.integer(0, bytes.length - 1)] = random.integer(0, 255);
      party.deliver(b.peer, a.peer.id, bytes.subarray(0, random.integer(0, bytes.length)));
      await party.clock.advance(5);
    }
    expect(paths.current).toBeDefined();
    expect(paths.log().length).toBeLessThanOrEqual(200);
  });
});
