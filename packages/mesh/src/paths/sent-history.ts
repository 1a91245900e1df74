/** Sends that are told apart, and so the least distance of two entries, ms. */
const SPACING_MS = 20;
/** More than a second of a fast transfer. */
const MAX_ENTRIES = 64;
/** A path on which nothing was heard for so long is dead: what is older shows nothing, ms. */
const KEPT_MS = 60_000;
/** No probe is answered later, ms: what was sent so long ago has arrived, or is lost. */
const ARRIVED_MS = 5_000;
/** What the machines on both ends may delay. */
const SLACK_MS = 40;
/** So many of them are not lost one after another by chance. */
const ENOUGH = 3;

/** When data was sent on a path lately: tells whether the other end should have heard something. */
export class SentHistory {
  /** Two numbers for each entry, `Clock.now` ms, oldest first: from, to. An array of numbers alone takes 8 bytes for each. */
  #times: readonly number[] = [];

  /** Entries that are kept. */
  get size(): number {
    return this.#times.length / 2;
  }

  /** Something was sent, at some moment between the two (`Clock.now`). */
  add(fromMs: number, toMs: number): void {
    const times = this.#times;
    const lastFromMs = times.at(-2);
    if (lastFromMs !== undefined && fromMs - lastFromMs < SPACING_MS) return;
    let arrived = 0;
    while (arrived < times.length && times[arrived + 1]! < toMs - ARRIVED_MS) arrived += 2;
    // Where all have arrived, the newest of them tell as much as all.
    let old = Math.max(0, arrived - 2 * ENOUGH, times.length + 2 - 2 * MAX_ENTRIES);
    while (old < times.length && times[old + 1]! < toMs - KEPT_MS) old += 2;
    // A copy has no room for more than it holds, which matters while thousands of paths are idle.
    this.#times = times.slice(old).concat([fromMs, toMs]);
  }

  /**
   * True when data must have been lost: the other end says at `nowMs` that it has heard nothing for `unheardMs`, and enough was
   * sent that had to arrive in that time.
   * @param rttMs of the path
   */
  contradicts({ nowMs, unheardMs, rttMs }: { nowMs: number; unheardMs: number; rttMs: number }): boolean {
    const untilMs = nowMs - rttMs - SLACK_MS;
    const sinceMs = nowMs - rttMs - unheardMs + SLACK_MS;
    let inTime = 0;
    for (let at = 0; at < this.#times.length; at += 2) {
      const [fromMs, toMs] = [this.#times[at]!, this.#times[at + 1]!];
      if (fromMs < sinceMs || toMs > untilMs) continue;
      // An interval between two readings of a counter stands for all that was sent in it.
      if (toMs - fromMs >= ENOUGH * SPACING_MS) return true;
      inTime++;
    }
    return inTime >= ENOUGH;
  }
}
