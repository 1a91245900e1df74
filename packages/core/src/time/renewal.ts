import { backoff } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { errorCode, errorMessage, TowpathError } from '../errors.ts';
import { type Log, silentLog } from '../log.ts';
import type { Random } from '../random.ts';
import { Wakeup } from './wakeup.ts';

export interface RenewalComponents {
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

export interface RenewalOptions {
  /** What is renewed, as a person reads it: `port mapping 40000`. */
  name: string;
  /** Lifetime that was granted already, ms; without it the first renewal is due at once. */
  grantedMs?: number | undefined;
  /**
   * Renews once and resolves with the lifetime that was granted, ms; `Infinity` for one that needs no renewal. Releases
   * everything when `signal` aborts.
   */
  renew(signal: AbortSignal): Promise<number>;
  /** When a renewal is due, as a share of the lifetime. @default 0.5 (RFC 6887 §11.2.1: 1/2 to 5/8) */
  dueAt?: number;
  /** Renewals are spread over this share of the wait, so that many clients do not renew at once. @default 0.1 */
  jitter?: number;
  /** Shortest wait before a failed renewal is tried again, ms. @default 1000 */
  minRetryMs?: number;
  /** Longest wait while the lease is expired, ms. @default 60000 */
  maxRetryMs?: number;
  /** Called after each renewal. */
  onRenewed?(lifetimeMs: number): void;
  /** Called once when the lifetime has ended without a renewal, and once again each time after a success in between. */
  onExpired?(error: TowpathError): void;
}

const DEFAULT_DUE_AT = 0.5;
const DEFAULT_MIN_RETRY_MS = 1_000;
const DEFAULT_MAX_RETRY_MS = 60_000;
const DEFAULT_JITTER = 0.1;

/**
 * Keeps a lease (a port mapping, a TURN allocation, a registration) alive: renews it in good time, tries again before it
 * expires when a renewal fails, at half of the time that is left each time, and goes on trying after it has expired.
 */
export class Renewal implements AsyncDisposable {
  readonly #components: RenewalComponents;
  readonly #options: RenewalOptions;
  readonly #log: Log;
  readonly #stopped = new AbortController();
  readonly #wakeup: Wakeup;
  readonly #running: Promise<void>;
  #expiresAtMs: number;
  #expired = false;

  /** Starts at once. */
  constructor(components: RenewalComponents, options: RenewalOptions) {
    this.#components = components;
    this.#options = options;
    this.#log = components.log ?? silentLog;
    this.#wakeup = new Wakeup(components);
    this.#expiresAtMs = components.clock.now() + (options.grantedMs ?? 0);
    this.#running = this.#run(options.grantedMs);
  }

  /** When the lease ends unless it is renewed, `Clock.now` ms. */
  get expiresAtMs(): number {
    return this.#expiresAtMs;
  }

  /** Renews at once: the network has changed, or the other side says that it lost the lease. */
  wake(): void {
    this.#wakeup.wake();
  }

  /** Ends the renewals; does not give the lease back. Resolves when a renewal under way has released what it held. */
  async stop(): Promise<void> {
    this.#stopped.abort(new TowpathError('aborted', `${this.#options.name} is no longer renewed.`));
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(grantedMs: number | undefined): Promise<void> {
    const { signal } = this.#stopped;
    let waitMs = grantedMs === undefined ? 0 : this.#dueInMs(grantedMs);
    let expiredWaits = this.#expiredWaits();
    try {
      for (;;) {
        if (waitMs > 0) await this.#wakeup.wait(waitMs, signal);
        try {
          const lifetimeMs = await this.#options.renew(signal);
          signal.throwIfAborted();
          waitMs = this.#renewed(lifetimeMs);
          expiredWaits = this.#expiredWaits();
        } catch (error) {
          signal.throwIfAborted();
          waitMs = this.#failed(error, expiredWaits);
        }
      }
    } catch {
      // Stopped.
    }
  }

  #renewed(lifetimeMs: number): number {
    this.#expiresAtMs = this.#components.clock.now() + lifetimeMs;
    this.#expired = false;
    this.#tell(() => this.#options.onRenewed?.(lifetimeMs));
    return this.#dueInMs(lifetimeMs);
  }

  #failed(error: unknown, expiredWaits: Iterator<number>): number {
    const { minRetryMs = DEFAULT_MIN_RETRY_MS } = this.#options;
    const leftMs = this.#expiresAtMs - this.#components.clock.now();
    this.#log.debug(`${this.#options.name} was not renewed: ${errorMessage(error)}`, { leftMs: Math.round(leftMs) });
    if (leftMs > 0) return Math.min(leftMs, Math.max(minRetryMs, leftMs / 2));
    if (!this.#expired) {
      this.#expired = true;
      const message = `${this.#options.name} has expired: ${errorMessage(error)}`;
      const expired =
        error instanceof TowpathError ? error : new TowpathError(errorCode(error), message, { cause: error });
      this.#tell(() => this.#options.onExpired?.(expired));
    }
    return expiredWaits.next().value ?? minRetryMs;
  }

  #dueInMs(lifetimeMs: number): number {
    const { dueAt = DEFAULT_DUE_AT, jitter = DEFAULT_JITTER } = this.#options;
    const spread = jitter === 0 ? 0 : jitter * this.#components.random.next();
    return Math.max(1, lifetimeMs * dueAt * (1 + spread));
  }

  #expiredWaits(): Iterator<number> {
    const { minRetryMs = DEFAULT_MIN_RETRY_MS, maxRetryMs = DEFAULT_MAX_RETRY_MS } = this.#options;
    return backoff({ baseMs: minRetryMs, maxMs: maxRetryMs, random: this.#components.random })[Symbol.iterator]();
  }

  #tell(observer: () => void): void {
    try {
      observer();
    } catch (error) {
      this.#log.error(`A listener of the renewal of ${this.#options.name} failed: ${errorMessage(error)}`);
    }
  }
}
