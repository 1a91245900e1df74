import { type Clock, type PathKind, type PathPolicy, policyAllows, SparseMap } from '@towpath/core';

/** A path is told of for so long after it was verified, ms: it is verified again within a minute while it works. */
const TOLD_MS = 90_000;
const MAX_PATHS = 64;

/** Paths on which the peer answered and that a policy did not allow then: they are not kept, so that nothing else tells of them. */
export class RefusedPaths {
  readonly #clock: Clock;
  readonly #paths: SparseMap<string, { kind: PathKind; atMs: number }> = new SparseMap();

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  add({ id, kind }: { readonly id: string; readonly kind: PathKind }): void {
    this.#paths.delete(id);
    const [oldest] = this.#paths.keys();
    if (this.#paths.size >= MAX_PATHS && oldest !== undefined) this.#paths.delete(oldest);
    this.#paths.set(id, { kind, atMs: this.#clock.now() });
  }

  /** A check of the path was not answered. */
  delete(id: string): void {
    this.#paths.delete(id);
  }

  /**
   * True while the peer answers on a path that this policy does not allow.
   * @param other allows it
   */
  hasAnyFor(policy: PathPolicy, other: PathPolicy = 'auto'): boolean {
    const sinceMs = this.#clock.now() - TOLD_MS;
    return [...this.#paths.values()].some(
      ({ kind, atMs }) => atMs > sinceMs && !policyAllows(policy, kind) && policyAllows(other, kind),
    );
  }
}
