import type { Clock, Events } from '@towpath/core';
import type { PathLogEntry, PeerPathsEvents } from '../peer-paths.ts';

const MAX_LOG = 200;

/** The newest entries of one peer's time line, oldest first. */
export class PathLog {
  readonly #clock: Clock;
  readonly #events: Events<PeerPathsEvents>;
  #entries: readonly PathLogEntry[] = [];

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
    // A copy has no room for more than it holds, which matters while thousands of peers are idle.
    this.#entries = this.#entries.slice(1 - MAX_LOG).concat([entry]);
    this.#events.emit('log', entry);
  }
}
