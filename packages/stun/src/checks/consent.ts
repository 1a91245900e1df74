import { AbortedError, type Clock, type Random, Repeat } from '@towpath/core';

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

/** Requests consent at intervals until it expires. */
export class Consent implements Disposable {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #parts: ConsentParts;
  readonly #requests: Repeat;
  readonly #expiry: Repeat;
  readonly #ended = new AbortController();
  #answeredAtMs: number;
  #nextAtMs: number;

  constructor({ clock, random }: { clock: Clock; random: Random }, parts: ConsentParts) {
    this.#clock = clock;
    this.#random = random;
    this.#parts = parts;
    this.#answeredAtMs = clock.now();
    this.#nextAtMs = clock.now() + this.#intervalMs();
    this.#requests = new Repeat({ clock }, { run: () => this.#request() });
    this.#expiry = new Repeat({ clock }, { run: () => this.#expire() });
    this.#expiry.wake();
    this.#requests.wake();
  }

  [Symbol.dispose](): void {
    if (this.#ended.signal.aborted) return;
    this.#end();
    this.#parts.onEnd();
  }

  #end(): void {
    this.#requests.stop();
    this.#expiry.stop();
    this.#ended.abort(new AbortedError('Consent checks have ended.'));
  }

  #intervalMs(): number {
    const { intervalMs = 5_000 } = this.#parts;
    return intervalMs * (0.8 + 0.4 * this.#random.next());
  }

  #request(): number {
    const leftMs = this.#nextAtMs - this.#clock.now();
    if (leftMs > 0) return leftMs;
    const { expiryMs = 30_000 } = this.#parts;
    this.#parts.probe(expiryMs, this.#ended.signal).then(
      (rttMs) => {
        if (rttMs === undefined || this.#ended.signal.aborted) return;
        this.#answeredAtMs = this.#clock.now();
        this.#parts.onAnswer?.(rttMs);
      },
      // The only error is the signal's reason: consent has ended.
      () => {},
    );
    const intervalMs = this.#intervalMs();
    this.#nextAtMs = this.#clock.now() + intervalMs;
    return intervalMs;
  }

  #expire(): number {
    const { expiryMs = 30_000 } = this.#parts;
    const leftMs = this.#answeredAtMs + expiryMs - this.#clock.now();
    if (leftMs > 0) return leftMs;
    this.#end();
    this.#parts.onExpired();
    return Number.POSITIVE_INFINITY;
  }
}
