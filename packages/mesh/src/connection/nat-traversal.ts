import type { PathFinder } from '../peer-paths.ts';

/** What this machine's NATs do, as far as it was measured. */
export interface NatDescription {
  /** In words, `endpoint-independent mapping, port-dependent filtering`; undefined when it could not be measured. */
  readonly summary: string | undefined;
}

/** NAT traversal under the name of the seeds: path sockets, candidates, checks, port mapping and relays. */
export class NATTraversal implements AsyncDisposable {
  /** Opens the paths of peers. */
  readonly finder: PathFinder;

  constructor(components: { finder: PathFinder }) {
    this.finder = components.finder;
  }

  /** Measures mapping and filtering (RFC 5780) and resolves with what was found. */
  async detectNat(signal?: AbortSignal): Promise<NatDescription> {
    return { summary: await this.finder.describeNat(signal) };
  }

  close(): Promise<void> {
    return this.finder.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
