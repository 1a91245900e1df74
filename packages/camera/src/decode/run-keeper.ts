import type { FragmentRun } from './fragment-run.ts';

/** Most incomplete frames in all streams: each may claim 4 MB. */
export const MAX_OPEN_FRAMES = 64;

/** Most fragments kept in all streams for a frame whose beginning may still arrive: at most 64 MB of payload. */
export const MAX_HELD_FRAGMENTS = 65_536;

/** Whose run it is: lets go of it when the keeper asks for room. */
interface RunOwner {
  release(run: FragmentRun): void;
}

/** Tracks the runs with stored data, oldest first, and releases the oldest beyond the limits. */
export class RunKeeper {
  readonly #open = new Map<FragmentRun, RunOwner>();
  readonly #leads = new Map<FragmentRun, { owner: RunOwner; fragments: number }>();
  #fragments = 0;

  /** Call this whenever a run has grown. */
  update(owner: RunOwner, run: FragmentRun): void {
    if (run.open) this.#open.set(run, owner);
    else this.#open.delete(run);
    this.#updateLead(owner, run);
    if (this.#open.size > MAX_OPEN_FRAMES) this.#release(this.#open.entries().next().value);
    while (this.#fragments > MAX_HELD_FRAGMENTS) {
      const oldest = this.#leads.entries().next().value;
      if (oldest === undefined) break;
      this.#release([oldest[0], oldest[1].owner]);
    }
  }

  drop(run: FragmentRun): void {
    this.#open.delete(run);
    const lead = this.#leads.get(run);
    if (lead === undefined) return;
    this.#fragments -= lead.fragments;
    this.#leads.delete(run);
  }

  #updateLead(owner: RunOwner, run: FragmentRun): void {
    const { leadCount } = run;
    const lead = this.#leads.get(run);
    if (lead !== undefined) {
      this.#fragments += leadCount - lead.fragments;
      lead.fragments = leadCount;
      if (leadCount === 0) this.#leads.delete(run);
    } else if (leadCount > 0) {
      this.#leads.set(run, { owner, fragments: leadCount });
      this.#fragments += leadCount;
    }
  }

  #release(entry: [FragmentRun, RunOwner] | undefined): void {
    if (entry === undefined) return;
    this.drop(entry[0]);
    entry[1].release(entry[0]);
  }
}
