import type { LaneOptions, PathHistory } from '@towpath/core';
import { CameraError } from '../artemis/camera-error.ts';
import type { ConnectionMode } from './way.ts';

/** How much each way is worth, relative to the others; 0 or less switches nothing off, it only comes last. */
export type ModeWeights = Readonly<Partial<Record<ConnectionMode, number>>>;

/**
 * Head start of the best way over the worst, ms. As much as RFC 8305 gives a preferred address family: enough to spare a
 * camera the traffic of ways that are not needed, little enough not to be felt when the preferred way is dead.
 */
const SPREAD_MS = 250;

/** The ways in order of weight, the best first, each with the head start that the better ones have over it. */
export function waysByWeight(
  ways: Iterable<ConnectionMode>,
  given: ModeWeights | undefined,
  history: PathHistory | undefined,
): { mode: ConnectionMode; delayMs: number }[] {
  const list = [...ways];
  const learnt = history?.weights(list) ?? {};
  const weight = (mode: ConnectionMode) => Math.max(0, given?.[mode] ?? learnt[mode] ?? 1);
  const best = Math.max(...list.map(weight), Number.MIN_VALUE);
  return list
    .map((mode) => ({ mode, delayMs: Math.round((1 - weight(mode) / best) * SPREAD_MS) }))
    .toSorted((a, b) => a.delayMs - b.delayMs);
}

/** @throws CameraError `bad-argument` for a weight that is no number from 0 on. */
export function checkWeights(weights: ModeWeights): void {
  for (const [mode, weight] of Object.entries(weights)) {
    if (!Number.isFinite(weight) || weight < 0) {
      throw new CameraError('bad-argument', `The weight of ${mode} is ${weight}; it must be a number from 0 on.`);
    }
  }
}

/** The lanes of a race. */
export function lanesOf(
  ways: readonly { mode: ConnectionMode; delayMs: number }[],
  staggerMs: number,
): Record<string, LaneOptions> {
  return Object.fromEntries(ways.map(({ mode, delayMs }) => [mode, { delayMs, staggerMs }]));
}

/** An attempt is given this many times what the way took before (requirement A8) … */
const PATIENCE = 20;
/** … but never less than this: a camera may be waking up, ms. */
const MIN_ATTEMPT_MS = 3_000;

/** How long an attempt of a way may take, ms; undefined without experience: as long as the race. */
export function attemptLimitMs(mode: ConnectionMode, history: PathHistory | undefined): number | undefined {
  const expectedMs = history?.connectMs(mode);
  return expectedMs === undefined ? undefined : Math.max(MIN_ATTEMPT_MS, PATIENCE * expectedMs);
}
