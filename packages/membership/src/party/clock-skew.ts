/**
 * Allowed difference between the clocks of two machines in one party, ms. Dates further away are refused: a statement
 * dated years ahead would prevent later ones.
 */
export const MAX_CLOCK_SKEW_MS = 300_000;

/**
 * The latest date that is accepted from somebody else at `nowMs`: the author may be ahead of the server by
 * {@link MAX_CLOCK_SKEW_MS}, and the server ahead of this machine by the same.
 */
export function latestAcceptableMs(nowMs: number): number {
  return nowMs + 2 * MAX_CLOCK_SKEW_MS;
}

/** A date for people, to the minute, in UTC: `2076-01-31 12:00 UTC`. Only years of four digits are written out. */
export function dateText(timeMs: number): string {
  const date = new Date(timeMs);
  const year = date.getUTCFullYear();
  return year >= 0 && year <= 9_999
    ? `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`
    : 'a date out of range';
}
