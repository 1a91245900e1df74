/** Readings that the figures are made of: about two seconds of frames. */
const WINDOW = 30;
/** Time stamps further from this machine's clock than this are those of the camera's own clock, ms. */
const SAME_CLOCK_MS = 30_000;

export interface LiveFigures {
  /** Time from the frame's time stamp, or where that is of another clock from its arrival, until it is shown, ms. */
  readonly delayMs: number | undefined;
  /** Whether the delay counts from the moment at which the daemon had the frame, not only from its arrival here. */
  readonly endToEnd: boolean;
  readonly framesPerSecond: number | undefined;
  readonly bitsPerSecond: number | undefined;
}

/** Measures a live view: how late its pictures are, how many, and how large. */
export class LiveStats {
  #arrivals: { atMs: number; bytes: number }[] = [];
  #delays: number[] = [];
  #endToEnd = false;

  /** A frame has arrived. @returns when it is to be counted from, on the clock of `wallMs` */
  arrived(timestampUs: number, bytes: number, wallMs: number): number {
    this.#arrivals = [...this.#arrivals.slice(1 - WINDOW), { atMs: wallMs, bytes }];
    const stampMs = timestampUs / 1_000;
    this.#endToEnd = Math.abs(stampMs - wallMs) < SAME_CLOCK_MS;
    return this.#endToEnd ? stampMs : wallMs;
  }

  /** A frame is on the screen. */
  shown(fromMs: number, wallMs: number): void {
    this.#delays = [...this.#delays.slice(1 - WINDOW), Math.max(0, wallMs - fromMs)];
  }

  figures(): LiveFigures {
    const sorted = this.#delays.toSorted((a, b) => a - b);
    const first = this.#arrivals[0];
    const last = this.#arrivals.at(-1);
    const spanMs = first === undefined || last === undefined ? 0 : last.atMs - first.atMs;
    const bytes = this.#arrivals.slice(1).reduce((sum, arrival) => sum + arrival.bytes, 0);
    return {
      delayMs: sorted[Math.floor(sorted.length / 2)],
      endToEnd: this.#endToEnd,
      framesPerSecond: spanMs > 0 ? ((this.#arrivals.length - 1) * 1_000) / spanMs : undefined,
      bitsPerSecond: spanMs > 0 ? (bytes * 8_000) / spanMs : undefined,
    };
  }
}
