import { type Clock, type PathKind, type PathPolicy, policyAllows } from '@towpath/core';
import { RefusedPaths } from './refused-paths.ts';

/** Which paths of a pair both ends permit, and which were verified that they do not. */
export class PairPolicy {
  own: PathPolicy;
  /** What the peer told; undefined when it told none. */
  peer: PathPolicy | undefined;
  readonly #refused: RefusedPaths;

  constructor({ clock }: { clock: Clock }, { policy = 'auto' }: { policy?: PathPolicy | undefined }) {
    this.own = policy;
    this.#refused = new RefusedPaths({ clock });
  }

  /** What the peer's policy excludes at this end: which paths stay in a LAN of the peer, the peer alone knows. */
  get peerHere(): PathPolicy {
    return this.peer === 'lan-only' ? 'direct-only' : (this.peer ?? 'auto');
  }

  /** True when both ends permit paths of this kind, as far as the peer has told. */
  permits(kind: PathKind): boolean {
    return policyAllows(this.own, kind) && policyAllows(this.peerHere, kind);
  }

  /** A path was verified, or was used until a policy changed. */
  verified(path: { readonly id: string; readonly kind: PathKind }): void {
    if (!this.permits(path.kind)) this.#refused.add(path);
  }

  /** A check of the path was not answered. */
  failed(id: string): void {
    this.#refused.delete(id);
  }

  /** The peer answers on a path that the own policy does not allow. */
  get isRefused(): boolean {
    return this.#refused.hasAnyFor(this.own);
  }

  /** The peer answers on a path that its policy alone does not allow. */
  get isRefusedByPeer(): boolean {
    return this.#refused.hasAnyFor(this.peerHere, this.own);
  }
}
