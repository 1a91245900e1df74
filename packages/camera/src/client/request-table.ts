import type { Clock, Log } from '@towpath/core';
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

/** What a {@link RequestTable} needs of the session that it works for. */
export interface RequestTableOptions {
  clock: Clock;
  log: Log;
  /** What is asked, as a person reads it. */
  target: string;
  /** Writes one request. */
  send(seq: number, text: string): void;
  /** True when everything that was sent has been acknowledged by the other end. */
  allAcknowledged(): boolean;
  /** Called when an answer is overdue. */
  onTimeout(): void;
}

/** A caller that pipelines more than this has lost count; the vendor's app never has more than three. */
const MAX_PENDING_REQUESTS = 256;

/** Requests under way and the answers that belong to them: matched by `seq`, checked by `cmdId`. spec/artemis.md §4. */
export class RequestTable {
  readonly #options: RequestTableOptions;
  readonly #pending = new Map<number, Pending>();
  #nextSeq = 1;

  constructor(options: RequestTableOptions) {
    this.#options = options;
  }

  /** How many answers are awaited. */
  get size(): number {
    return this.#pending.size;
  }

  /**
   * Sends a request and resolves with its successful answer.
   * @throws CameraError `command-timeout`, `command-refused`, `bad-response`, `busy`; what {@link failAll} was given;
   *   the signal's reason.
   */
  call(id: number, text: string, timeLimitMs: number, signal?: AbortSignal): Promise<JsonObject> {
    const { clock, target } = this.#options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      if (this.#pending.size >= MAX_PENDING_REQUESTS) {
        reject(new CameraError('busy', `${MAX_PENDING_REQUESTS} requests await an answer; wait for some.`, { target }));
        return;
      }
      const seq = this.#nextSeq++;
      const timer = clock.timer(timeLimitMs, () => {
        settle();
        reject(this.#timeoutError(id, timeLimitMs));
        this.#options.onTimeout();
      });
      const onAbort = () => {
        settle();
        reject(signal?.reason);
      };
      const settle = () => {
        this.#pending.delete(seq);
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
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

  /** Takes a response frame. Answers that nobody waits for are dropped. */
  take(frame: Frame): void {
    const { log, target } = this.#options;
    const pending = this.#pending.get(frame.seq);
    if (pending === undefined) {
      log.debug('A response that nobody waits for', { seq: frame.seq });
      return;
    }
    const text = decodeText(frame.body);
    const json = text.ok ? parseJsonObject(text.value) : text;
    if (!json.ok) {
      const message = `The answer to ${commandName(pending.id)} cannot be read. ${json.message}`;
      pending.reject(new CameraError('bad-response', message, { target, details: { cmdId: pending.id } }));
      return;
    }
    if (json.value.cmdId !== pending.id) {
      log.warn('A response with the number of one request and the command of another', { seq: frame.seq });
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

  /** Rejects every request under way. */
  failAll(error: CameraError): void {
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }

  #timeoutError(id: number, timeLimitMs: number): CameraError {
    const { target } = this.#options;
    const why = this.#options.allAcknowledged()
      ? 'It received the request; cameras of this family refuse by silence.'
      : 'It did not even acknowledge the request: the connection is bad or gone.';
    const message = `No answer to ${commandName(id)} within ${timeLimitMs / 1000} s. ${why}`;
    return new CameraError('command-timeout', message, { target, details: { cmdId: id, timeLimitMs } });
  }
}
