/** Sends that are told apart, and so the least distance of two entries, ms. */
const SPACING_MS = 20;
/** More than a second of a fast transfer. */
const MAX_ENTRIES = 64;
/** What the machines on both ends may delay. */
const SLACK_MS = 40;
/** So many of them are not lost one after another by chance. */
const ENOUGH = 3;

/** When data was sent on a path lately: tells whether the other end should have heard something. */
export class SentHistory {
  readonly #sent: { readonly fromMs: number; readonly toMs: number }[] = [];

  /** Something was sent, at some moment between the two (`Clock.now`). */
  add(fromMs: number, toMs: number): void {
    const last = this.#sent.at(-1);
    if (last !== undefined && fromMs - last.fromMs < SPACING_MS) return;
    this.#sent.push({ fromMs, toMs });
    if (this.#sent.length > MAX_ENTRIES) this.#sent.shift();
  }

  /**
   * True when data must have been lost: the other end says at `nowMs` that it has heard nothing for `unheardMs`, and enough was
   * sent that had to arrive in that time.
   * @param rttMs of the path
   */
  contradicts({ nowMs, unheardMs, rttMs }: { nowMs: number; unheardMs: number; rttMs: number }): boolean {
    const untilMs = nowMs - rttMs - SLACK_MS;
    const sinceMs = nowMs - rttMs - unheardMs + SLACK_MS;
    const inTime = this.#sent.filter(({ fromMs, toMs }) => fromMs >= sinceMs && toMs <= untilMs);
    // An interval between two readings of a counter stands for all that was sent in it.
    return inTime.length >= ENOUGH || inTime.some(({ fromMs, toMs }) => toMs - fromMs >= ENOUGH * SPACING_MS);
  }
}
