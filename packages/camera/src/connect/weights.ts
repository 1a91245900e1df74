import type { PathHistory, PathKind, PathKindOptions } from '@towpath/core';
import { CameraError } from '../artemis/camera-error.ts';

/** Preference of each path kind, relative to the others; a kind with weight 0 comes last. */
export type PathWeights = Readonly<Partial<Record<PathKind, number>>>;

/** A path kind and the delay of its first attempt. */
export interface KindStart {
  readonly kind: PathKind;
  readonly delayMs: number;
}

/**
 * Head start of the best path kind over the worst, ms. As much as RFC 8305 gives a preferred address family: enough to
 * avoid unnecessary traffic, and short enough when the preferred kind does not work.
 */
const SPREAD_MS = 250;

/** Returns the path kinds by weight, the best first, each with its delay. */
export function kindsByWeight(
  kinds: Iterable<PathKind>,
  given: PathWeights | undefined,
  history: PathHistory | undefined,
): KindStart[] {
  const list = [...kinds];
  const learned = history?.weights(list) ?? {};
  const weight = (kind: PathKind) => Math.max(0, given?.[kind] ?? learned[kind] ?? 1);
  const best = Math.max(...list.map(weight), Number.MIN_VALUE);
  return list
    .map((kind) => ({ kind, delayMs: Math.round((1 - weight(kind) / best) * SPREAD_MS) }))
    .toSorted((a, b) => a.delayMs - b.delayMs);
}

/** @throws CameraError `bad-argument` for a weight that is not a number of 0 or more */
export function checkWeights(weights: PathWeights): void {
  for (const [kind, weight] of Object.entries(weights)) {
    if (!Number.isFinite(weight) || weight < 0) {
      throw new CameraError('bad-argument', `The weight of ${kind} is ${weight}; it must be 0 or more.`);
    }
  }
}

/** Returns the race's options of each path kind. */
export function kindOptions(kinds: readonly KindStart[], staggerMs: number): Record<string, PathKindOptions> {
  return Object.fromEntries(kinds.map(({ kind, delayMs }) => [kind, { delayMs, staggerMs }]));
}

/** The time limit of an attempt is this multiple of the earlier connect time (requirement A8) … */
const LIMIT_FACTOR = 20;
/** … but at least this, because a camera may be waking up, ms. */
const MIN_ATTEMPT_MS = 3_000;

/** Returns the time limit of an attempt, ms; undefined without earlier results: as long as the race. */
export function attemptLimitMs(kind: PathKind, history: PathHistory | undefined): number | undefined {
  const expectedMs = history?.connectMs(kind);
  return expectedMs === undefined ? undefined : Math.max(MIN_ATTEMPT_MS, LIMIT_FACTOR * expectedMs);
}
