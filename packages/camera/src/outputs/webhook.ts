import { createHmac } from 'node:crypto';
import { type Clock, deadline, type Log, type Random, silentLog } from '@towpath/core';
import { Delivery, type Refusal } from './events/delivery.ts';
import type { EventQueue } from './events/event-queue.ts';
import type { ReceiverHealth } from './events/receiver-health.ts';
import { eventJson, type PictureEvent, pictureId } from './picture-event.ts';

export interface WebhookComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
  /** Where events wait for the receiver. */
  readonly queue: EventQueue;
  /** Is told whether the receiver takes events. */
  readonly health?: ReceiverHealth | undefined;
  /** Sends a request. @default the platform's */
  readonly fetch?: typeof fetch;
}

export interface WebhookOptions {
  /** http or https. */
  readonly url: string;
  /** Signs each request: `X-Towpath-Signature: sha256=HMAC(body)`. A secret. */
  readonly secret: string;
}

/** Answer of one request, ms. */
const REQUEST_LIMIT_MS = 10_000;

/** Posts each new picture to a URL, in order, and tries again until it is taken. */
export class Webhook implements AsyncDisposable {
  readonly #components: WebhookComponents;
  readonly #options: WebhookOptions;
  readonly #delivery: Delivery;

  constructor(components: WebhookComponents, options: WebhookOptions) {
    this.#components = components;
    this.#options = options;
    const log = (components.log ?? silentLog).child('WEBHOOK');
    this.#delivery = new Delivery({ ...components, log }, (event, signal) => this.#post(event, signal));
  }

  /** Events that the receiver has not taken yet. */
  get waiting(): number {
    return this.#components.queue.size;
  }

  /** Resolves when the event is where the queue keeps it. */
  picture(event: PictureEvent): Promise<void> {
    return this.#components.queue.put(event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#delivery[Symbol.asyncDispose]();
  }

  async #post(event: PictureEvent, signal: AbortSignal): Promise<Refusal | undefined> {
    const { clock, fetch: send = fetch } = this.#components;
    const { url, secret } = this.#options;
    const jpeg = event.jpeg === undefined ? null : Buffer.from(event.jpeg).toString('base64');
    const body = JSON.stringify({ ...eventJson(event), jpeg });
    using limit = deadline(clock, REQUEST_LIMIT_MS, signal);
    const response = await send(url, {
      method: 'POST',
      body,
      // Another address must not get the picture or the signature.
      redirect: 'manual',
      headers: {
        'content-type': 'application/json',
        'idempotency-key': pictureId(event),
        'x-towpath-signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
      },
      signal: limit.signal,
    }).catch((error: unknown) => {
      throw reasonOf(error);
    });
    await response.body?.cancel();
    if (response.ok) return undefined;
    if (response.status >= 300 && response.status < 400) {
      const message = `The receiver answered with status ${response.status}: it is at another URL, which is not followed; it is asked again. Next: give that URL.`;
      return { message, again: true };
    }
    // Asking again does not help against a request that is refused; a busy or broken receiver recovers.
    const again = response.status >= 500 || response.status === 408 || response.status === 429;
    const end = again ? 'it is asked again' : 'the event is dropped';
    return { message: `The receiver answered with status ${response.status}; ${end}.`, again };
  }
}

/** The platform says "fetch failed", and why in the cause; of a name with several addresses, for each of them. */
function reasonOf(error: unknown): unknown {
  if (!(error instanceof TypeError && error.cause instanceof Error)) return error;
  const { cause } = error;
  if (cause instanceof AggregateError) return cause.errors[0] ?? error;
  const said = NO_ANSWERS.find(({ names, says }) => names.includes(cause.name) && says.test(cause.message))?.text;
  return said === undefined ? cause : new Error(said, { cause });
}

/** What the platform's client says, as names of errors and beginnings of texts, of receivers that answer, but not as one. */
const NO_ANSWERS: readonly { names: readonly string[]; says: RegExp; text: string }[] = [
  {
    // A status below 100 fails in a check of the client itself.
    names: ['HTTPParserError', 'AssertionError', 'HeadersOverflowError'],
    says: /^/,
    text: 'The receiver answered with something that is not an HTTP response. Next: check the URL.',
  },
  {
    names: ['SocketError'],
    says: /^bad upgrade/,
    text: 'The receiver answered with status 101, for another protocol. Next: check the URL.',
  },
  {
    names: ['SocketError'],
    says: /^other side closed/,
    text: 'The receiver closed the connection without an answer.',
  },
];
