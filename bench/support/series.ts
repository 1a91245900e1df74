/** A growing figure that is sampled; between two samples it is interpolated. */
export class Series {
  readonly #points: { atMs: number; value: number }[] = [];

  push(atMs: number, value: number): void {
    this.#points.push({ atMs, value });
  }

  get last(): number {
    return this.#points.at(-1)?.value ?? 0;
  }

  get times(): number[] {
    return this.#points.map(({ atMs }) => atMs);
  }

  /** The figure at a time; before the first sample the first one's, after the last the last one's. */
  at(atMs: number): number {
    const next = this.#points.findIndex((point) => point.atMs >= atMs);
    if (next < 0) return this.last;
    const [before, after] = [this.#points[next - 1], this.#points[next]];
    if (before === undefined || after === undefined) return after?.value ?? 0;
    return before.value + ((after.value - before.value) * (atMs - before.atMs)) / (after.atMs - before.atMs);
  }
}
