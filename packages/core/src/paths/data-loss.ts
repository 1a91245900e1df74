import type { Clock, Timer } from '../clock.ts';
import { SparseMap } from '../sparse.ts';

/** How long a path that loses data is avoided, ms; twice as long each time that it does so again. */
export const AVOIDED: { readonly baseMs: number; readonly maxMs: number } = { baseMs: 60_000, maxMs: 3_600_000 };
/** Paths that are remembered; the oldest is forgotten. */
const MAX_REMEMBERED = 64;

interface Memory {
  untilMs: number;
  /** How often it lost data, without having carried any for long since. */
  times: number;
  /** Another path has carried data meanwhile: it is the path that loses it, and not the remote end. */
  confirmed: boolean;
}

/**
 * Remembers paths whose probes are answered while the data is lost, such as behind a middlebox that drops one protocol. They
 * are avoided for a while, then tried again. Paths are known by their ids, also after they have left the set.
 */
export class DataLoss implements Disposable {
  readonly #clock: Clock;
  readonly #onExpired: () => void;
  readonly #memory = new SparseMap<string, Memory>();
  #timer: Timer | undefined;
  /** Data was lost on every path: the remote end is the cause, and no path is avoided until data is carried again. */
  #everywhere = false;

  /** @param options.onExpired called when a path may be tried again */
  constructor({ clock }: { clock: Clock }, options: { onExpired(): void }) {
    this.#clock = clock;
    this.#onExpired = options.onExpired;
  }

  /** True while the path is avoided. */
  has(id: string): boolean {
    return this.leftMs(id) > 0;
  }

  /** For how long the path is still avoided, ms. */
  leftMs(id: string): number {
    return Math.max(0, (this.#memory.get(id)?.untilMs ?? 0) - this.#clock.now());
  }

  /**
   * Data was lost on a path whose probes are answered.
   * @param others ids of the other paths that could be used
   */
  lost(id: string, others: readonly string[]): void {
    if (this.#everywhere || this.has(id)) return;
    const isLastOne =
      [...this.#memory.values()].some(({ confirmed }) => !confirmed) && others.every((other) => this.has(other));
    if (isLastOne) {
      this.#everywhere = true;
      for (const [each, { confirmed }] of [...this.#memory]) if (!confirmed) this.#memory.delete(each);
      return;
    }
    const times = (this.#memory.get(id)?.times ?? 0) + 1;
    const untilMs = this.#clock.now() + Math.min(AVOIDED.maxMs, AVOIDED.baseMs * 2 ** (times - 1));
    const [oldest] = this.#memory.keys();
    if (this.#memory.size >= MAX_REMEMBERED && oldest !== undefined) this.#memory.delete(oldest);
    this.#memory.delete(id);
    this.#memory.set(id, { untilMs, times, confirmed: false });
    this.#arm();
  }

  /** Data was carried on a path. */
  carried(id: string): void {
    this.#everywhere = false;
    if (this.#memory.size === 0) return;
    const own = this.#memory.get(id);
    const now = this.#clock.now();
    if (own !== undefined && now >= own.untilMs + AVOIDED.baseMs) this.#memory.delete(id);
    else if (own !== undefined) own.untilMs = Math.min(own.untilMs, now);
    for (const [other, memory] of this.#memory) memory.confirmed ||= other !== id;
  }

  /** Forgets everything: the network has changed. */
  forget(): void {
    this.#everywhere = false;
    this.#memory.clear();
    this.#timer?.cancel();
  }

  [Symbol.dispose](): void {
    this.forget();
  }

  #arm(): void {
    this.#timer?.cancel();
    const now = this.#clock.now();
    const next = Math.min(
      ...[...this.#memory.values()].map(({ untilMs }) => untilMs).filter((untilMs) => untilMs > now),
    );
    if (!Number.isFinite(next)) return;
    this.#timer = this.#clock.timer(next - now, () => {
      this.#onExpired();
      this.#arm();
    });
  }
}
