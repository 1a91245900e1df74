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
import { ReceiverHealth } from './receiver-health.ts';

export interface DeliveryComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log | undefined;
  readonly queue: EventQueue;
  /** Is told whether the receiver takes events. */
  readonly health?: ReceiverHealth | undefined;
}

/** Why a receiver did not take an event. */
export interface Refusal {
  readonly message: string;
  /** Whether it is given the event again; otherwise the event is dropped. */
  readonly again: boolean;
}

/** Gives one event to the receiver. @returns undefined when it was taken. An error is a refusal that is tried again. */
export type Deliver = (event: PictureEvent, signal: AbortSignal) => Promise<Refusal | undefined>;

export interface DeliveryOptions {
  /** A receiver that has not answered after this counts as failing, ms; it is waited for all the same. @default 30000 */
  readonly answerMs?: number;
}

/** Pauses between attempts, ms. */
const PAUSES = { baseMs: 1_000, maxMs: 60_000 } as const;
const ANSWER_MS = 30_000;

/** Gives the events of a queue to their receiver, one after the other, each until it is taken. */
export class Delivery implements AsyncDisposable {
  readonly #components: DeliveryComponents;
  readonly #log: Log;
  readonly #health: ReceiverHealth;
  readonly #deliver: Deliver;
  readonly #answerMs: number;
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;

  constructor(components: DeliveryComponents, deliver: Deliver, { answerMs = ANSWER_MS }: DeliveryOptions = {}) {
    this.#components = components;
    this.#log = components.log ?? silentLog;
    this.#health = components.health ?? new ReceiverHealth(components);
    this.#deliver = deliver;
    this.#answerMs = answerMs;
    this.#running = this.#run(this.#stopped.signal);
  }

  /** What was not taken stays in the queue. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort(new TowpathError('aborted', 'Events are not delivered any more.'));
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, random, queue } = this.#components;
    try {
      for (;;) {
        // Files on a share that is away do not answer: whoever ends the delivery does not wait for them.
        const event = await abortable(queue.first(signal), signal);
        for (const pauseMs of backoff({ ...PAUSES, random })) {
          if (await this.#isDone(event, pauseMs, signal)) break;
          await clock.sleep(pauseMs, signal);
        }
        await queue.remove(event);
      }
    } catch (error) {
      if (!signal.aborted) this.#log.error(`Events are not delivered any more: ${errorMessage(error)}`);
    }
  }

  /** @returns whether the event was taken or is dropped */
  async #isDone(event: PictureEvent, pauseMs: number, signal: AbortSignal): Promise<boolean> {
    const { queue } = this.#components;
    const refusal = await this.#give(event, signal).catch((error: unknown): Refusal => {
      signal.throwIfAborted();
      return { message: errorMessage(error), again: true };
    });
    if (refusal === undefined) {
      this.#health.works();
      return true;
    }
    const { message, again } = refusal;
    const fields = { waiting: queue.size, ...(again && { nextMs: Math.round(pauseMs) }) };
    this.#health.failed(message, fields, !again);
    return !again;
  }

  async #give(event: PictureEvent, signal: AbortSignal): Promise<Refusal | undefined> {
    const late = () => this.#health.failed(`It has not answered for ${Math.round(this.#answerMs / 1_000)} s.`);
    using _late = this.#components.clock.timer(this.#answerMs, late);
    return await abortable(this.#deliver(event, signal), signal);
  }
}
