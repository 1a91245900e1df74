import type { NatKind } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { SERVER_RTT_MS, World } from './connect-world.ts';

/** Runs per pair; more with `PPPP_REMOTE_SEEDS=300`. */
const SEEDS = Number(process.env.PPPP_REMOTE_SEEDS ?? 20);

const LIMIT_MS: number = 5_000 + 100 * SEEDS;

const PAIRS: readonly [NatKind, NatKind][] = [
  ['portRestricted', 'portRestricted'],
  ['fullCone', 'symmetricRandom'],
  ['symmetricRandom', 'fullCone'],
];

const DATA = new Uint8Array(20_000).map((_, at) => at * 13);

/** The value below which this share of the values is. */
function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(share * values.length) - 1]!;
}

describe('with every fifth datagram lost, each way', () => {
  test.each(PAIRS)(
    'both ways bring a %s client to a %s device, mostly soon (A8)',
    async (client, device) => {
      const direct: number[] = [];
      const relayed: number[] = [];
      for (let seed = 1; seed <= SEEDS; seed++) {
        const world = await World.make({ seed, client, device, lossRatio: 0.2 });
        await world.startDevice();
        await world.clock.advance(2_000);
        const p2p = await world.timed(world.byRendezvous());
        direct.push(p2p.ms);
        expect(await world.echo(p2p.session, DATA)).toEqual(Buffer.from(DATA));
        const relay = await world.timed(world.byRelay());
        relayed.push(relay.ms);
        expect(await world.echo(relay.session, DATA)).toEqual(Buffer.from(DATA));
        expect([p2p, relay].map(({ session }) => session.closed)).toEqual([undefined, undefined]);
        expect(await world.end(p2p.session, relay.session)).toEqual({ sockets: 0, timers: 0 });
      }
      expect(quantile(direct, 0.5)).toBeLessThanOrEqual(4 * SERVER_RTT_MS + 50);
      expect(quantile(direct, 0.9)).toBeLessThanOrEqual(500);
      expect(quantile(relayed, 0.5)).toBeLessThanOrEqual(400);
      expect(quantile(relayed, 0.9)).toBeLessThanOrEqual(1_200);
    },
    LIMIT_MS,
  );

  test('an idle session over a relay is not given up for dead', async () => {
    for (let seed = 1; seed <= 3; seed++) {
      const world = await World.make({ seed, lossRatio: 0.2 });
      await world.startDevice();
      const { session } = await world.timed(world.byRelay());
      await world.clock.advance(300_000);
      expect([session.closed, world.sessions.at(-1)?.closed]).toEqual([undefined, undefined]);
      expect(await world.end(session)).toEqual({ sockets: 0, timers: 0 });
    }
  });
});
