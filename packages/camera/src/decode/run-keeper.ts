import type { ChannelStream } from './channel-stream.ts';
import type { FragmentRun } from './fragment-run.ts';

/** Frames that may be open at a time in all streams: each may claim 4 MB. */
export const MAX_OPEN_FRAMES = 64;

/** Fragments held in all streams in case the beginning of their frame still comes: at most 64 MB of payload. */
export const MAX_HELD_FRAGMENTS = 65_536;

/** Knows the runs that hold something, oldest first, and releases the oldest when together they hold too much. */
export class RunKeeper {
  readonly #open = new Map<FragmentRun, ChannelStream>();
  readonly #leads = new Map<FragmentRun, { stream: ChannelStream; fragments: number }>();
  #fragments = 0;

  /** To be called whenever a run has grown. */
  update(stream: ChannelStream, run: FragmentRun): void {
    if (run.open) this.#open.set(run, stream);
    else this.#open.delete(run);
    this.#updateLead(stream, run);
    if (this.#open.size > MAX_OPEN_FRAMES) this.#release(this.#open.entries().next().value);
    while (this.#fragments > MAX_HELD_FRAGMENTS) {
      const oldest = this.#leads.entries().next().value;
      if (oldest === undefined) break;
      this.#release([oldest[0], oldest[1].stream]);
    }
  }

  drop(run: FragmentRun): void {
    this.#open.delete(run);
    const lead = this.#leads.get(run);
    if (lead === undefined) return;
    this.#fragments -= lead.fragments;
    this.#leads.delete(run);
  }

  #updateLead(stream: ChannelStream, run: FragmentRun): void {
    const { leadCount } = run;
    const lead = this.#leads.get(run);
    if (lead !== undefined) {
      this.#fragments += leadCount - lead.fragments;
      lead.fragments = leadCount;
      if (leadCount === 0) this.#leads.delete(run);
    } else if (leadCount > 0) {
      this.#leads.set(run, { stream, fragments: leadCount });
      this.#fragments += leadCount;
    }
  }

  #release(entry: [FragmentRun, ChannelStream] | undefined): void {
    if (entry === undefined) return;
    this.drop(entry[0]);
    entry[1].release(entry[0]);
  }
}
