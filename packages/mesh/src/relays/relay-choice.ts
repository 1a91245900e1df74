import { SELECTION } from '@towpath/core';
import { pairOrder, type RelayKey } from './relay-key.ts';

/** Round trips to relays that one member has measured, ms. */
export type RelayFigures = ReadonlyMap<RelayKey, number>;

/** A relay that both members reach. */
interface RelaySum {
  readonly key: RelayKey;
  /** Round trip between the members through it, ms: the sum of both figures. */
  readonly sumMs: number;
}

/** The relay that a pair uses, and the one that it keeps ready. */
export interface RelayChoice {
  readonly first: RelayKey;
  readonly second: RelayKey | undefined;
}

/** Relays whose sums differ by less count as alike, ms. */
const TIE_MS = 5;

/**
 * Chooses the relays of a pair by the sum of both ends' round trips. Both ends come to the same choice: it depends on what
 * they told each other alone. A relay in use is kept unless another is better by more than the hysteresis.
 * @param pair the same text on both ends; spreads pairs over relays that are alike
 * @param held what the pair uses now
 * @returns undefined when no relay is reached by both.
 */
export function chooseRelays(
  own: RelayFigures,
  theirs: RelayFigures,
  pair: string,
  held?: RelayChoice,
): RelayChoice | undefined {
  const sums = sumsOf(own, theirs);
  const first = keepOrTake(sums, pair, held?.first);
  if (first === undefined) return undefined;
  const rest = sums.filter(({ key }) => key !== first);
  return { first, second: keepOrTake(rest, pair, held?.second) };
}

/** True when the pair can use the relay and no other one is better by more than the hysteresis. */
export function isGoodChoice(key: RelayKey, own: RelayFigures, theirs: RelayFigures): boolean {
  const sums = sumsOf(own, theirs);
  const chosen = sums.find((each) => each.key === key);
  return chosen !== undefined && sums.every((each) => !isBetter(each, chosen));
}

function sumsOf(own: RelayFigures, theirs: RelayFigures): RelaySum[] {
  const sums: RelaySum[] = [];
  for (const [key, rttMs] of own) {
    const other = theirs.get(key);
    if (other !== undefined) sums.push({ key, sumMs: rttMs + other });
  }
  return sums;
}

function keepOrTake(sums: readonly RelaySum[], pair: string, held: RelayKey | undefined): RelayKey | undefined {
  if (sums.length === 0) return undefined;
  const leastMs = Math.min(...sums.map(({ sumMs }) => sumMs));
  const alike = sums
    .filter(({ sumMs }) => sumMs < leastMs + TIE_MS)
    .map((each) => ({ ...each, order: pairOrder(pair, each.key) }))
    .toSorted((a, b) => (a.order < b.order ? -1 : 1));
  const kept = sums.find(({ key }) => key === held);
  const [best] = alike;
  return kept !== undefined && !sums.some((each) => isBetter(each, kept)) ? kept.key : best?.key;
}

function isBetter(each: RelaySum, kept: RelaySum): boolean {
  return isWorthMoving(kept.sumMs, each.sumMs);
}

/**
 * True when a relay with the one round trip is left for a relay with the other, ms: docs/protocol/connectivity.md, "Path
 * selection".
 */
export function isWorthMoving(fromMs: number, toMs: number): boolean {
  return fromMs - toMs >= SELECTION.relayGainMs && toMs <= fromMs * SELECTION.relayGainRatio;
}
