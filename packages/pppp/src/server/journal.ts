import { Events, type Rate } from '@towpath/core';
import { SharedLimit } from './rate-limit.ts';

/** Events of a server per second. A flood of requests must not fill the log. */
const RATE: Rate = { perSecond: 20, burst: 200 };

/** Typed events that come no faster than {@link RATE}; the others are counted. */
export class Journal<Map extends object> {
  readonly events: Events<Map> = new Events();
  readonly #now: () => number;
  readonly #rate: SharedLimit = new SharedLimit(RATE);
  /** Events that were left out. */
  suppressed = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @returns false when the event was left out */
  report<Name extends keyof Map>(name: Name, value: Map[Name]): boolean {
    if (!this.#rate.take(this.#now())) {
      this.suppressed++;
      return false;
    }
    this.events.emit(name, value);
    return true;
  }
}
