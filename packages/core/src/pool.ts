import type { Clock, Timer } from './clock.ts';
import { errorMessage, TowpathError } from './errors.ts';
import { type Log, silentLog } from './log.ts';
import { abortable } from './time/abortable.ts';

export interface PoolOptions<Value> {
  /** Makes the one value of a key. */
  create(key: string): Value;
  /** Ends an unused value. */
  dispose(value: Value, key: string): void | Promise<void>;
  /** How long an unused value is kept in case it is asked for again, ms. @default 0 */
  lingerMs?: number;
  /** How many keys there may be at once. @default 10000 */
  maxKeys?: number;
}

/** A share in a pooled value. */
export interface Lease<Value> extends Disposable {
  readonly value: Value;
  /** Gives the share back. Idempotent. */
  release(): void;
}

interface Slot<Value> {
  value: Value;
  leases: number;
  linger: Timer | undefined;
}

const DEFAULT_MAX_KEYS = 10_000;

/** One value per key, shared by all users, ended when the last one has released it. */
export class SharedPool<Value> implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: PoolOptions<Value>;
  readonly #slots = new Map<string, Slot<Value>>();
  /** Values that are being disposed of, by key. */
  readonly #ending = new Map<string, Promise<void>>();
  #closed = false;

  constructor({ clock, log = silentLog }: { clock: Clock; log?: Log | undefined }, options: PoolOptions<Value>) {
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
  }

  /** How many values are alive: unused ones that linger and those that are being disposed of included. */
  get size(): number {
    return this.#slots.size + this.#ending.size;
  }

  /**
   * A share in the value of `key`, which is made if there is none. While the last value of the key is being disposed
   * of, this waits: both may need the same port or file.
   * @throws TowpathError `pool-closed`, `pool-full`; the signal's reason.
   */
  async acquire(key: string, signal?: AbortSignal): Promise<Lease<Value>> {
    signal?.throwIfAborted();
    for (let ending = this.#ending.get(key); ending; ending = this.#ending.get(key)) await abortable(ending, signal);
    if (this.#closed) throw new TowpathError('pool-closed', 'The pool was closed. Next: make a new one.');
    const slot = this.#slots.get(key) ?? this.#create(key);
    slot.leases++;
    slot.linger?.cancel();
    slot.linger = undefined;
    let held = true;
    const release = () => {
      if (!held) return;
      held = false;
      slot.leases--;
      if (slot.leases === 0) this.#unused(key, slot);
    };
    return { value: slot.value, release, [Symbol.dispose]: release };
  }

  /** Ends every value, used or not, and resolves when all are gone. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const [key, slot] of this.#slots) this.#end(key, slot);
    await Promise.all(this.#ending.values());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #create(key: string): Slot<Value> {
    const limit = this.#options.maxKeys ?? DEFAULT_MAX_KEYS;
    if (this.size >= limit) {
      throw new TowpathError('pool-full', `${limit} targets are held already. Next: release one first.`, {
        target: key,
      });
    }
    const slot: Slot<Value> = { value: this.#options.create(key), leases: 0, linger: undefined };
    this.#slots.set(key, slot);
    return slot;
  }

  #unused(key: string, slot: Slot<Value>): void {
    if (this.#slots.get(key) !== slot) return;
    const { lingerMs = 0 } = this.#options;
    if (lingerMs === 0) this.#end(key, slot);
    else slot.linger = this.#clock.timer(lingerMs, () => this.#end(key, slot));
  }

  #end(key: string, slot: Slot<Value>): void {
    slot.linger?.cancel();
    this.#slots.delete(key);
    const ending = Promise.resolve(slot.value)
      .then((value) => this.#options.dispose(value, key))
      .catch((error: unknown) => {
        this.#log.warn(`A pooled value did not end cleanly: ${errorMessage(error)}`, { target: key });
      })
      .finally(() => this.#ending.delete(key));
    this.#ending.set(key, ending);
  }
}
