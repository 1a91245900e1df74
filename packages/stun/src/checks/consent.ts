import { AbortedError, type Clock, type Random, type Timer } from '@towpath/core';

/** How consent is kept (RFC 7675 §5.1). */
export interface ConsentOptions {
  /** Time between requests, ms, varied by a fifth so that peers do not synchronise. @default 5000 */
  intervalMs?: number;
  /** Consent ends when nothing was answered for so long, ms. @default 30000 */
  expiryMs?: number;
  /** An answer came: its round trip in ms. */
  onAnswer?(rttMs: number): void;
  /** Nothing was answered for {@link expiryMs}: stop sending. Called once. */
  onExpired(): void;
}

interface ConsentParts extends ConsentOptions {
  probe(timeoutMs: number, signal: AbortSignal): Promise<number | undefined>;
  onEnd(): void;
}

/** Asks for consent again and again until it is not given any more. */
export class Consent implements Disposable {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #parts: ConsentParts;
  #answeredAtMs: number;
  #timer: Timer | undefined;
  #expiry: Timer | undefined;
  readonly #ended = new AbortController();

  constructor({ clock, random }: { clock: Clock; random: Random }, parts: ConsentParts) {
    this.#clock = clock;
    this.#random = random;
    this.#parts = parts;
    this.#answeredAtMs = clock.now();
    this.#armExpiry();
    this.#schedule();
  }

  [Symbol.dispose](): void {
    if (this.#ended.signal.aborted) return;
    this.#end();
    this.#parts.onEnd();
  }

  #end(): void {
    this.#ended.abort(new AbortedError('Consent checks have ended.'));
    this.#timer?.cancel();
    this.#expiry?.cancel();
  }

  #schedule(): void {
    const { intervalMs = 5_000, expiryMs = 30_000 } = this.#parts;
    this.#timer = this.#clock.timer(intervalMs * (0.8 + 0.4 * this.#random.next()), () => {
      this.#schedule();
      this.#parts.probe(expiryMs, this.#ended.signal).then(
        (rttMs) => {
          if (rttMs !== undefined && !this.#ended.signal.aborted) this.#answered(rttMs);
        },
        // The only error is the signal's reason: consent has ended.
        () => {},
      );
    });
  }

  #answered(rttMs: number): void {
    this.#answeredAtMs = this.#clock.now();
    this.#armExpiry();
    this.#parts.onAnswer?.(rttMs);
  }

  #armExpiry(): void {
    const { expiryMs = 30_000 } = this.#parts;
    this.#expiry?.cancel();
    this.#expiry = this.#clock.timer(this.#answeredAtMs + expiryMs - this.#clock.now(), () => {
      this.#end();
      this.#parts.onExpired();
    });
  }
}
