import { type Clock, deadline, type Log } from '@towpath/core';
import { CameraError } from '../artemis/camera-error.ts';
import { decodeText } from '../artemis/cipher.ts';
import { commandName } from '../artemis/command-id.ts';
import { refusal } from '../artemis/commands.ts';
import type { Frame } from '../artemis/frame.ts';
import { type JsonObject, parseJsonObject } from '../artemis/json.ts';

interface Pending {
  id: number;
  resolve(json: JsonObject): void;
  reject(error: unknown): void;
}

/** What a {@link RequestTable} needs from its session. */
export interface RequestTableOptions {
  /** Description of the target for messages. */
  target: string;
  /** Writes one request. */
  send(seq: number, text: string): void;
  /** True when the other end has acknowledged everything that was sent. */
  allAcknowledged(): boolean;
  /** Called when a response is overdue. */
  onTimeout(): void;
}

/** Most pending requests; the vendor's application has at most three. */
const MAX_PENDING_REQUESTS = 256;

/**
 * Pending requests and their responses: matched by `seq`, checked by `cmdId`.
 * docs/protocol/artemis.md, "Requests and responses".
 */
export class RequestTable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: RequestTableOptions;
  readonly #pending = new Map<number, Pending>();
  #nextSeq = 1;

  constructor({ clock, log }: { clock: Clock; log: Log }, options: RequestTableOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
  }

  /** Number of pending requests. */
  get size(): number {
    return this.#pending.size;
  }

  /**
   * Sends a request and resolves with its successful response.
   * @throws CameraError `command-timeout`, `command-refused`, `bad-response`, `busy`; the error given to {@link
   * failAll};
   *   the signal's reason.
   */
  call(id: number, text: string, timeLimitMs: number, signal?: AbortSignal): Promise<JsonObject> {
    const { target } = this.#options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      if (this.#pending.size >= MAX_PENDING_REQUESTS) {
        reject(
          new CameraError('busy', `${MAX_PENDING_REQUESTS} requests are pending. Next: wait for a response.`, {
            target,
          }),
        );
        return;
      }
      const seq = this.#nextSeq++;
      const limit = deadline(this.#clock, timeLimitMs, signal, () => this.#timeoutError(id, timeLimitMs));
      const settle = () => {
        this.#pending.delete(seq);
        limit.cancel();
      };
      const onAbort = () => {
        settle();
        reject(limit.signal.reason);
        if (limit.expired) this.#options.onTimeout();
      };
      limit.signal.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(seq, {
        id,
        resolve: (json) => {
          settle();
          resolve(json);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.#options.send(seq, text);
    });
  }

  /** Takes a response frame. Responses without a pending request are dropped. */
  take(frame: Frame): void {
    const { target } = this.#options;
    const pending = this.#pending.get(frame.seq);
    if (pending === undefined) {
      this.#log.debug('Response without a pending request', { seq: frame.seq });
      return;
    }
    const text = decodeText(frame.body);
    const json = text.ok ? parseJsonObject(text.value) : text;
    if (!json.ok) {
      const message = `The response to ${commandName(pending.id)} is malformed. ${json.message}`;
      pending.reject(new CameraError('bad-response', message, { target, details: { cmdId: pending.id } }));
      return;
    }
    if (json.value.cmdId !== pending.id) {
      this.#log.warn('Response with the wrong cmdId', { seq: frame.seq });
      return;
    }
    const refused = refusal(json.value);
    if (refused === undefined) {
      pending.resolve(json.value);
      return;
    }
    const said = Object.entries(refused).map(([field, value]) => `${field} ${value}`);
    const message = `The camera refused ${commandName(pending.id)}: ${said.join(', ')}.`;
    pending.reject(new CameraError('command-refused', message, { target, details: { cmdId: pending.id, ...refused } }));
  }

  /** Rejects every pending request. */
  failAll(error: CameraError): void {
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }

  #timeoutError(id: number, timeLimitMs: number): CameraError {
    const { target } = this.#options;
    const why = this.#options.allAcknowledged()
      ? 'The camera acknowledged the request; it refuses commands by silence.'
      : 'The camera did not acknowledge the request: the connection is poor or lost.';
    const message = `No answer to ${commandName(id)} within ${timeLimitMs / 1000} s. ${why}`;
    return new CameraError('command-timeout', message, { target, details: { cmdId: id, timeLimitMs } });
  }
}
