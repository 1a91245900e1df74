import { createHmac } from 'node:crypto';
import {
  backoff,
  type Clock,
  deadline,
  errorMessage,
  type Log,
  type Random,
  silentLog,
  TowpathError,
} from '@towpath/core';
import { eventJson, type PictureEvent } from './picture-event.ts';

export interface WebhookComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
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

/** Pictures that wait for a receiver that is away. */
const MAX_WAITING = 1_000;
/** Of these, the pictures themselves are kept of the newest; older ones are announced without. */
const MAX_PICTURES_WAITING = 20;
/** Larger pictures are announced without their data. */
const MAX_PICTURE_BYTES = 4 * 1024 * 1024;

/** Posts each new picture to a URL, in order, and tries again until it is taken. */
export class Webhook implements AsyncDisposable {
  readonly #components: WebhookComponents;
  readonly #options: WebhookOptions;
  readonly #log: Log;
  readonly #queue: PictureEvent[] = [];
  readonly #stopped = new AbortController();
  #sending: Promise<void> | undefined;

  constructor(components: WebhookComponents, options: WebhookOptions) {
    this.#components = components;
    this.#options = options;
    this.#log = (components.log ?? silentLog).child('WEBHOOK');
  }

  /** Events that the receiver has not taken yet. */
  get waiting(): number {
    return this.#queue.length;
  }

  picture(event: PictureEvent): void {
    if (this.#queue.length >= MAX_WAITING) {
      this.#queue.shift();
      this.#log.warn('The receiver of the webhook is away for too long: the oldest event is lost.');
    }
    this.#queue.push(event);
    const old = this.#queue.length - MAX_PICTURES_WAITING;
    if (old > 0) this.#queue[old - 1] = { ...this.#queue[old - 1]!, jpeg: undefined };
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort(new TowpathError('aborted', 'The webhook is closed.'));
    await this.#sending;
  }

  async #send(): Promise<void> {
    const { clock, random } = this.#components;
    const { signal } = this.#stopped;
    try {
      for (;;) {
        const event = this.#queue[0];
        if (event === undefined) return;
        for (const pauseMs of backoff({ baseMs: 1_000, maxMs: 60_000, random })) {
          const failure = await this.#post(event);
          if (failure === undefined) break;
          this.#log.info(`The webhook was not delivered: ${failure}`, { nextMs: Math.round(pauseMs) });
          await clock.sleep(pauseMs, signal);
        }
        const at = this.#queue.findIndex(({ item }) => item === event.item);
        if (at >= 0) this.#queue.splice(at, 1);
      }
    } catch (error) {
      if (!signal.aborted) this.#log.error(`The webhook ended: ${errorMessage(error)}`);
    }
  }

  /** @returns why it was not taken; undefined when it was, or never will be */
  async #post(event: PictureEvent): Promise<string | undefined> {
    const { clock, fetch: send = fetch } = this.#components;
    const { url, secret } = this.#options;
    const { signal } = this.#stopped;
    const withData = event.jpeg !== undefined && event.jpeg.length <= MAX_PICTURE_BYTES;
    const jpeg = withData ? Buffer.from(event.jpeg).toString('base64') : null;
    const body = JSON.stringify({ ...eventJson(event), jpeg });
    using limit = deadline(clock, REQUEST_LIMIT_MS, signal);
    try {
      const response = await send(url, {
        method: 'POST',
        body,
        redirect: 'error',
        headers: {
          'content-type': 'application/json',
          'x-towpath-signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
        },
        signal: limit.signal,
      });
      await response.body?.cancel();
      if (response.ok) return undefined;
      // Asking again does not help against a request that is refused; a busy or broken receiver recovers.
      if (response.status < 500 && response.status !== 408 && response.status !== 429) {
        this.#log.warn(`The receiver refused the webhook with status ${response.status}; the event is dropped.`);
        return undefined;
      }
      return `status ${response.status}`;
    } catch (error) {
      signal.throwIfAborted();
      return errorMessage(error);
    }
  }
}
