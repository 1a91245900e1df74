/** Asks for one call before the next picture is drawn; `requestAnimationFrame` in the page. */
export type RequestFrame = (callback: () => void) => void;

/** What may wait for one frame. A hidden page draws no frames: what came first is dropped, and `dropped` counts it. */
const MAX_WAITING = 2_000;

/**
 * Collects items and hands them over once per animation frame, so that a burst of events is one update of the page.
 */
export class FrameBatch<T> {
  /** Items that were dropped since the last hand-over, because no frame was drawn for long. */
  dropped = 0;
  #waiting: T[] = [];
  #requested = false;
  readonly #request: RequestFrame;
  readonly #deliver: (items: readonly T[], dropped: number) => void;
  readonly #limit: number;

  constructor(
    components: { request: RequestFrame; deliver: (items: readonly T[], dropped: number) => void },
    { limit = MAX_WAITING }: { limit?: number } = {},
  ) {
    this.#request = components.request;
    this.#deliver = components.deliver;
    this.#limit = limit;
  }

  /** How many items wait. */
  get size(): number {
    return this.#waiting.length;
  }

  add(item: T): void {
    this.#waiting.push(item);
    // Dropped in one go, so that a long hidden page does not move the array for each event.
    if (this.#waiting.length > this.#limit * 2) {
      const surplus = this.#waiting.length - this.#limit;
      this.#waiting.splice(0, surplus);
      this.dropped += surplus;
    }
    if (this.#requested) return;
    this.#requested = true;
    this.#request(() => this.#flush());
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting = [];
    this.dropped = 0;
  }

  #flush(): void {
    this.#requested = false;
    const items = this.#waiting;
    const dropped = this.dropped;
    if (items.length === 0) return;
    this.clear();
    this.#deliver(items, dropped);
  }
}
