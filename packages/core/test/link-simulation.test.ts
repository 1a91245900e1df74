import { expect, onTestFinished, test } from 'vitest';
import { type LinkWorldResult, simulateLink } from './link-world.ts';

const SEEDS = Number(process.env.TOWPATH_LINK_SEEDS ?? 10_000);
const BATCH = 200;
const STEADY_MS = 60_000;

test(`over ${SEEDS} seeds with loss, delay, NAT rebinding and observers that throw and call back: never two current paths, nothing left after close, no flapping (A6, D4)`, async () => {
  const stackTraceLimit = Error.stackTraceLimit;
  // A quarter of the time would go into the stacks of errors that nobody reads.
  Error.stackTraceLimit = 0;
  onTestFinished(() => {
    Error.stackTraceLimit = stackTraceLimit;
  });
  const wrong: string[] = [];
  const all: LinkWorldResult[] = [];
  for (let first = 1; first <= SEEDS; first += BATCH) {
    const seeds = Array.from({ length: Math.min(BATCH, SEEDS + 1 - first) }, (_, index) => first + index);
    // Side by side they share the turns of the event loop.
    const results = await Promise.all(
      seeds.map((seed) => simulateLink(seed, { chaosMs: 15_000, steadyMs: STEADY_MS })),
    );
    for (const [index, result] of results.entries()) {
      wrong.push(...result.violations.map((violation) => `seed ${seeds[index]}: ${violation}`));
      if (result.steadySwitches > (2 * STEADY_MS) / 60_000) {
        wrong.push(`seed ${seeds[index]}: ${result.steadySwitches} switches in a steady minute`);
      }
    }
    all.push(...results);
  }
  expect(wrong).toEqual([]);
  const sum = (of: (result: LinkWorldResult) => number) => all.reduce((total, result) => total + of(result), 0);
  // The story is not empty: paths are lost and found in most of the worlds.
  expect(sum(({ connects }) => connects)).toBeGreaterThan(3 * SEEDS);
  expect(sum(({ losses }) => losses)).toBeGreaterThan(SEEDS);
  expect(sum(({ upAtTheEnd }) => Number(upAtTheEnd))).toBeGreaterThan(0.8 * SEEDS);
}, 300_000);
