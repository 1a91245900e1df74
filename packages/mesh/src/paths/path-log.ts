import type { Clock, Events } from '@towpath/core';
import type { PathLogEntry, PeerPathsEvents } from '../peer-paths.ts';

const MAX_LOG = 200;

/** The newest entries of one peer's time line, oldest first. */
export class PathLog {
  readonly #clock: Clock;
  readonly #events: Events<PeerPathsEvents>;
  readonly #entries: PathLogEntry[] = [];

  /** @param components.events told of each entry */
  constructor({ clock, events }: { clock: Clock; events: Events<PeerPathsEvents> }) {
    this.#clock = clock;
    this.#events = events;
  }

  get entries(): readonly PathLogEntry[] {
    return this.#entries;
  }

  note(what: PathLogEntry['what'], label: string, reason: string): void {
    // One text for all entries of a path.
    const known = this.#entries.findLast((each) => each.label === label)?.label ?? label;
    const entry: PathLogEntry = { atMs: this.#clock.wallTime(), what, label: known, reason };
    this.#entries.push(entry);
    if (this.#entries.length > MAX_LOG) this.#entries.shift();
    this.#events.emit('log', entry);
  }
}
