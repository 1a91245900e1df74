import {
  abortable,
  backoff,
  type Clock,
  errorMessage,
  type Log,
  type Random,
  silentLog,
  TowpathError,
} from '@towpath/core';
import type { PictureEvent } from '../picture-event.ts';
import type { EventQueue } from './event-queue.ts';

export interface DeliveryComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log | undefined;
  readonly queue: EventQueue;
}

/** Gives one event to the receiver. @returns why it was not taken; undefined when it was, or never will be */
export type Deliver = (event: PictureEvent, signal: AbortSignal) => Promise<string | undefined>;

/** Pauses between attempts, ms. */
const PAUSES = { baseMs: 1_000, maxMs: 60_000 } as const;

/** Gives the events of a queue to their receiver, one after the other, each until it is taken. */
export class Delivery implements AsyncDisposable {
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;

  constructor(components: DeliveryComponents, deliver: Deliver) {
    this.#running = run(components, deliver, this.#stopped.signal);
  }

  /** What was not taken stays in the queue. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort(new TowpathError('aborted', 'Events are not delivered any more.'));
    await this.#running;
  }
}

async function run(components: DeliveryComponents, deliver: Deliver, signal: AbortSignal): Promise<void> {
  const { clock, random, log = silentLog, queue } = components;
  let failing = false;
  try {
    for (;;) {
      // Files on a share that is away do not answer: whoever ends the delivery does not wait for them.
      const event = await abortable(queue.first(signal), signal);
      for (const pauseMs of backoff({ ...PAUSES, random })) {
        const failure = await abortable(deliver(event, signal), signal).catch((error: unknown) => {
          signal.throwIfAborted();
          return errorMessage(error);
        });
        if (failure === undefined) break;
        const fields = { nextMs: Math.round(pauseMs), waiting: queue.size };
        log[failing ? 'info' : 'warn'](`An event was not delivered and is tried again: ${failure}`, fields);
        failing = true;
        await clock.sleep(pauseMs, signal);
      }
      failing = false;
      await queue.remove(event);
    }
  } catch (error) {
    if (!signal.aborted) log.error(`Events are not delivered any more: ${errorMessage(error)}`);
  }
}
