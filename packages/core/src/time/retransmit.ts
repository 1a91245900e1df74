import type { Clock } from '../clock.ts';
import { TowpathError } from '../errors.ts';

const ENDED = 'The request has ended.';

export interface RetransmitOptions<Answer> {
  clock: Clock;
  /** How long the answer to each transmission is awaited, ms; when it ends, the request has failed. Read lazily. */
  schedule: Iterable<number>;
  /**
   * Sends the request.
   * @param transmission 1 for the first
   */
  send(transmission: number): void | Promise<void>;
  /** Settles when the answer arrives, to whichever transmission. */
  answer: Promise<Answer>;
  signal?: AbortSignal | undefined;
  /** The error when the schedule has ended. @default TowpathError `timed-out` */
  timeoutError?(transmissions: number, elapsedMs: number): unknown;
}

/**
 * Sends a request until it is answered.
 *
 * @throws what `answer` rejects with, what `send` throws, `timeoutError` when the schedule has ended, the signal's reason;
 *   no timer is left behind
 *
 * @example
 * const { promise, resolve } = Promise.withResolvers<Message>();
 * pending.set(transactionId, resolve);
 * await retransmit({ clock, schedule: stunSchedule(), send: () => socket.send(request), answer: promise, signal });
 */
export async function retransmit<Answer>(options: RetransmitOptions<Answer>): Promise<Answer> {
  const { clock, schedule, send, answer, signal, timeoutError } = options;
  signal?.throwIfAborted();
  const startedAtMs = clock.now();
  let transmissions = 0;
  const done = new AbortController();
  // A reason of its own, because the default one is an error with a stack, made for each request.
  const stop = () => done.abort(ENDED);
  signal?.addEventListener('abort', stop, { once: true });
  // The answer may arrive, or fail, while `send` is still under way.
  let answered = false;
  answer.then(noop, noop).then(() => {
    answered = true;
    stop();
  }, noop);
  try {
    for (const waitMs of schedule) {
      transmissions++;
      await send(transmissions);
      await clock.sleep(waitMs, done.signal).catch(noop);
      if (answered) return await answer;
      signal?.throwIfAborted();
    }
  } finally {
    signal?.removeEventListener('abort', stop);
  }
  const elapsedMs = clock.now() - startedAtMs;
  const message = `No answer to ${transmissions} transmissions within ${Math.round(elapsedMs)} ms.`;
  throw timeoutError?.(transmissions, elapsedMs) ?? new TowpathError('timed-out', message, { kind: 'unreachable' });
}

export interface StunScheduleOptions {
  /** RTO: how long the first answer is awaited, ms. @default 500 */
  rtoMs?: number;
  /** Rc: transmissions in all. @default 7 */
  transmissions?: number;
  /** Rm: the last answer is awaited for this many RTO. @default 16 */
  lastWaits?: number;
}

/** The waits of RFC 8489 §6.2.1: each twice the one before, the last 16 RTO: 39.5 s in all with the defaults. */
export function* stunSchedule(options: StunScheduleOptions = {}): Generator<number, void, undefined> {
  const { rtoMs = 500, transmissions = 7, lastWaits = 16 } = options;
  for (let n = 0; n < transmissions - 1; n++) yield rtoMs * 2 ** n;
  yield rtoMs * lastWaits;
}

/** The same wait before each of `transmissions` transmissions; without a number it never ends. */
export function* evenSchedule(waitMs: number, transmissions: number = Number.POSITIVE_INFINITY): Generator<number> {
  for (let n = 0; n < transmissions; n++) yield waitMs;
}

function noop(): void {}
