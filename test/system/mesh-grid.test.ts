import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ALL_PLACES, bestOf, type GridCell, type GridMember, MeshGrid, type Place } from './support/mesh-grid.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

/**
 * TOWPATH_GRID=full connects every place with every other, both ends at once and one after the other, and writes what came
 * out to TOWPATH_GRID_FILE as JSON lines; TOWPATH_GRID_ROWS=0-3 does a part of the rows.
 */
const { TOWPATH_GRID, TOWPATH_GRID_FILE, TOWPATH_GRID_ROWS = '0-8' } = process.env;
const [firstRow = 0, lastRow = 8] = TOWPATH_GRID_ROWS.split('-').map(Number);

const SOME: readonly (readonly [Place, Place])[] = [
  ['open', 'symmetric, random'],
  ['port-restricted', 'port-restricted, other ports'],
  ['port-restricted', 'symmetric, sequential'],
  ['symmetric, random', 'port-restricted'],
  ['UDP blocked', 'port-restricted'],
];

const PAIRS: readonly (readonly [Place, Place])[] =
  TOWPATH_GRID === 'full'
    ? ALL_PLACES.slice(firstRow, lastRow + 1).flatMap((a) => ALL_PLACES.map((b) => [a, b] as const))
    : SOME;
const DELAYS = TOWPATH_GRID === 'full' ? [0, 1_500] : [0];

describe.skipIf(!wireGuardAvailable())('members behind NATs of every kind', () => {
  let grid: MeshGrid;
  const firsts = new Map<Place, GridMember>();
  const seconds = new Map<Place, GridMember>();

  beforeAll(async () => {
    grid = await MeshGrid.open();
    const enter = (members: Map<Place, GridMember>, places: Iterable<Place>, side: string) =>
      [...new Set(places)].map(async (place) => {
        members.set(place, await grid.member(`${side}${ALL_PLACES.indexOf(place)}`, place));
      });
    await Promise.all([
      ...enter(
        firsts,
        PAIRS.map(([a]) => a),
        'a',
      ),
      ...enter(
        seconds,
        PAIRS.map(([, b]) => b),
        'b',
      ),
    ]);
  });
  afterAll(() => grid?.close());

  it.each(PAIRS.flatMap(([a, b]) => DELAYS.map((delayMs) => [a, b, delayMs] as const)))(
    'connect over the best class of path: %s and %s, the second %i ms later (C3, D1)',
    async (a, b, delayMs) => {
      const best = bestOf(a, b);
      const [first, second] = [firsts.get(a)!, seconds.get(b)!];
      const order = { until: best === 'direct' ? ('splice' as const) : ('direct' as const), delayMs };
      const outcome = await grid.connect(first, second, { ...order, forMs: best === 'direct' ? 30_000 : 6_000 });
      const { first: own, second: other, pings } = outcome;
      if (TOWPATH_GRID_FILE) {
        const cell: GridCell = { a, b, delayMs, ...own, other, pings };
        const before = existsSync(TOWPATH_GRID_FILE) ? readFileSync(TOWPATH_GRID_FILE, 'utf8') : '';
        writeFileSync(TOWPATH_GRID_FILE, `${before}${JSON.stringify(cell)}\n`);
      }
      // On a loaded machine an echo may take longer than 200 ms.
      expect(['connected', 'degraded']).toContain(own.status);
      expect([own.error, other.error]).toEqual([undefined, undefined]);
      expect([own.strategy, other.strategy]).toEqual([best, best]);
      if (best === 'direct') expect([own.dataPlane, other.dataPlane]).toEqual(['splice', 'splice']);
      else expect(own.relayReason).toBe([a, b].includes('UDP blocked') ? 'udp-blocked' : 'hard-nats');
      // No packet is lost on the upgrade from the relay to the direct path, and to the splice.
      expect(pings.sent).toBeGreaterThan(0);
      expect(pings.received).toBe(pings.sent);
    },
  );
});
