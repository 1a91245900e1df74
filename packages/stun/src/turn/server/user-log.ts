import { type Clock, type Log, RateLimit, silentLog } from '@towpath/core';

/** Lines of one user per second, after a burst: a few for each thing that a user really does. */
const LINES_PER_SECOND = 0.2;
const BURST_LINES = 20;

/** Limits what one user can make the server log. Counters are exact; only lines are left out. */
export class UserLog {
  readonly #log: Log;
  readonly #limit: RateLimit;

  constructor(components: { clock: Clock }, log: Log) {
    this.#log = log;
    this.#limit = new RateLimit(components, { perSecond: LINES_PER_SECOND, burst: BURST_LINES });
  }

  /** The log for one line about `user`: a silent one when the user has used up its lines. */
  of(user: string): Log {
    return this.#limit.take(user) ? this.#log : silentLog;
  }
}
