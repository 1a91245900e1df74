import type { Clock, Timer } from './clock.ts';
import { errorMessage, TowpathError } from './errors.ts';
import { type Log, silentLog } from './log.ts';

export interface PoolOptions<Value> {
  clock: Clock;
  /** Makes the one value of a key. */
  create(key: string): Value;
  /** Ends a value that nobody uses any more. */
  dispose(value: Value, key: string): void | Promise<void>;
  /** How long an unused value is kept in case it is asked for again, ms. @default 0 */
  lingerMs?: number;
  /** How many keys there may be at once. @default 10000 */
  maxKeys?: number;
  log?: Log;
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

/** One value per key, shared by everyone who asks for it, ended when the last one has let go. */
export class SharedPool<Value> implements AsyncDisposable {
  readonly #options: PoolOptions<Value>;
  readonly #slots = new Map<string, Slot<Value>>();
  readonly #ending = new Set<Promise<void>>();
  #closed = false;

  constructor(options: PoolOptions<Value>) {
    this.#options = options;
  }

  /** How many values are alive, unused ones that linger included. */
  get size(): number {
    return this.#slots.size;
  }

  /**
   * A share in the value of `key`, which is made if there is none.
   * @throws TowpathError `pool-closed`, `pool-full`.
   */
  acquire(key: string): Lease<Value> {
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
    await Promise.all(this.#ending);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #create(key: string): Slot<Value> {
    const limit = this.#options.maxKeys ?? DEFAULT_MAX_KEYS;
    if (this.#slots.size >= limit) {
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
    const { lingerMs = 0, clock } = this.#options;
    if (lingerMs === 0) this.#end(key, slot);
    else slot.linger = clock.timer(lingerMs, () => this.#end(key, slot));
  }

  #end(key: string, slot: Slot<Value>): void {
    slot.linger?.cancel();
    this.#slots.delete(key);
    const ending = Promise.resolve(slot.value)
      .then((value) => this.#options.dispose(value, key))
      .catch((error: unknown) => {
        const log = this.#options.log ?? silentLog;
        log.warn(`A pooled value did not end cleanly: ${errorMessage(error)}`, { target: key });
      })
      .finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}
