import type { Clock, PathSet } from '@towpath/core';
import type { MeshPath } from './mesh-path.ts';

/**
 * While the peer's data arrives on another path than the one in use, the peer may doubt that one. For this long, ms, what
 * arrives there does not show that the peer receives anything on it: only the answer to a probe does.
 */
const PEER_DOUBT_MS = 1_000;

/** Judges from what arrives whether the peer uses the current path, too, or is in doubt about it. */
export class PeerDoubt {
  readonly #clock: Clock;
  readonly #set: PathSet<MeshPath>;
  /** When data of the peer arrived last on another path than the current one. */
  #elsewhereAtMs = Number.NEGATIVE_INFINITY;

  constructor({ clock, set }: { clock: Clock; set: PathSet<MeshPath> }) {
    this.#clock = clock;
    this.#set = set;
  }

  /** The peer used another path a moment ago. */
  get isPeerElsewhere(): boolean {
    return this.#clock.now() - this.#elsewhereAtMs < PEER_DOUBT_MS;
  }

  /** The peer says that it hears nothing on a path. It is right to doubt the path if data was sent there meanwhile. */
  unheard(path: MeshPath, unheardMs: number): void {
    if (path !== this.#set.current) return;
    const { rttMs = path.rttMs } = this.#set.status().find((each) => each.path === path) ?? {};
    if (path.sent.contradicts({ nowMs: this.#clock.now(), unheardMs, rttMs })) this.peerDoubts();
  }

  /** Something of the peer arrived on a path, which shows that the peer hears this end too unless it uses another path. */
  arrived(path: MeshPath, isData: boolean): void {
    if (path !== this.#set.current || !this.isPeerElsewhere) this.#set.heard(path, isData);
  }

  /**
   * Data of the peer arrived on another path than the current one, or the peer says that it hears nothing there: it has left that
   * path, or is in doubt about it.
   */
  peerDoubts(): void {
    if (this.#set.current === undefined) return;
    const isNew = !this.isPeerElsewhere;
    this.#elsewhereAtMs = this.#clock.now();
    if (isNew) this.#set.doubt();
  }
}
