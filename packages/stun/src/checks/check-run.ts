import { AbortedError, type Clock, retransmit } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { CheckFailure, CheckResult } from './candidate-pair.ts';

/** When a request is repeated. The defaults send at 0, 0.25, 0.75, 1.75, 2.75 and 3.75 s and give up at 5.25 s. */
export interface CheckSchedule {
  /** Time to the first repetition, ms; doubles each time. @default 250 */
  rtoMs?: number;
  /** The time between repetitions is never above this, ms. @default 1000 */
  maxRtoMs?: number;
  /** How often the request is sent at most. @default 6 */
  maxSends?: number;
  /** How long to wait after the last one, ms. @default 1500 */
  lastWaitMs?: number;
}

export interface RunOptions extends CheckSchedule {
  /** The requests nominate the pair. @default false */
  useCandidate?: boolean;
  /** A check of the peer caused this one. @default false */
  triggered?: boolean;
  /** See {@link CheckRequest.unheardMs}. */
  unheardMs?: number | undefined;
}

/** Answers a peer's check: the peer's own repetitions trigger more when these are lost. */
export const TRIGGERED: RunOptions = { maxSends: 3, lastWaitMs: 1_000, triggered: true };

interface RunHandlers {
  /** Sends one request. Returns false when the limits do not allow it. */
  send(): boolean;
  ended(): void;
}

/** One for all checks: each probe of each path ends with it. */
const OVER = new AbortedError('The check is over.');

/** One check under way: repeats its request and settles once for all waiters. */
export class CheckRun {
  readonly useCandidate: boolean;
  readonly triggered: boolean;
  readonly unheardMs: number | undefined;
  /** Role conflicts that were followed. */
  conflicts = 0;
  readonly #clock: Clock;
  readonly #remote: Endpoint;
  readonly #schedule: Required<CheckSchedule>;
  readonly #handlers: RunHandlers;
  readonly #result: Promise<CheckResult>;
  #resolve!: (result: CheckResult) => void;
  readonly #stop = new AbortController();
  #sent = 0;
  #waiters = 0;
  #ended = false;

  constructor(clock: Clock, remote: Endpoint, options: RunOptions, handlers: RunHandlers) {
    const { rtoMs = 250, maxRtoMs = 1_000, maxSends = 6, lastWaitMs = 1_500 } = options;
    this.#clock = clock;
    this.#remote = remote;
    this.#schedule = { rtoMs, maxRtoMs, maxSends, lastWaitMs };
    this.useCandidate = options.useCandidate ?? false;
    this.triggered = options.triggered ?? false;
    this.unheardMs = options.unheardMs;
    this.#handlers = handlers;
    this.#result = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get ended(): boolean {
    return this.#ended;
  }

  start(): void {
    const answer = this.#result.then(() => undefined);
    const { signal } = this.#stop;
    retransmit({ clock: this.#clock, schedule: waits(this.#schedule), send: () => this.#send(), answer, signal }).catch(
      () => {
        // Either the check was settled, or its schedule has ended.
        this.fail(this.#sent === 0 ? 'limited' : 'timed-out');
      },
    );
  }

  /** Waits for the result. The check ends when the last of its waiters aborts. @throws the signal's reason. */
  async wait(signal?: AbortSignal): Promise<CheckResult> {
    if (signal === undefined) {
      this.#waiters++;
      return this.#result;
    }
    signal.throwIfAborted();
    this.#waiters++;
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        if (--this.#waiters === 0) this.fail('closed');
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      void this.#result.then((result) => {
        signal.removeEventListener('abort', onAbort);
        resolve(result);
      });
    });
  }

  settle(result: CheckResult): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#handlers.ended();
    this.#resolve(result);
    this.#stop.abort(OVER);
  }

  fail(reason: CheckFailure): void {
    this.settle({ ok: false, remote: this.#remote, reason });
  }

  #send(): void {
    if (this.#handlers.send()) this.#sent++;
  }
}

function* waits({ rtoMs, maxRtoMs, maxSends, lastWaitMs }: Required<CheckSchedule>): Generator<number> {
  for (let n = 0; n < maxSends - 1; n++) yield Math.min(maxRtoMs, rtoMs * 2 ** n);
  yield lastWaitMs;
}
