import { SparseMap } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { StunDemultiplexer } from './stun-demultiplexer.ts';

/** How the remote endpoint of a pair became known: told by signalling, or seen as the source of a valid check. */
export type RemoteSource = 'signalled' | 'peer-reflexive';

/** A local socket and a remote endpoint between which a check has been answered. */
export interface VerifiedPath {
  readonly socket: StunDemultiplexer;
  readonly remote: Endpoint;
  /** Our address as the peer sees it on this path. */
  readonly mapped: Endpoint;
  /** Round trip of the check that verified the path, ms. */
  readonly rttMs: number;
  readonly source: RemoteSource;
}

/** Why a check failed. */
export type CheckFailure =
  /** nothing that was sent has been answered */
  | 'timed-out'
  /** nothing could be sent within the limits for endpoints that never answered */
  | 'limited'
  /** the peer answered with a signed error */
  | 'refused'
  /** the checks were closed */
  | 'closed';

export type CheckResult =
  | { readonly ok: true; readonly path: VerifiedPath }
  | {
      readonly ok: false;
      readonly remote: Endpoint;
      readonly reason: CheckFailure;
      readonly code?: number | undefined;
    };

/** A local socket and a remote endpoint (RFC 8445 §6.1.2). */
export interface CandidatePair {
  readonly socket: StunDemultiplexer;
  readonly remote: Endpoint;
  readonly source: RemoteSource;
  /** Requests that may be sent because as many fresh ones of the peer came from there. */
  owed: number;
  /** The answered check, as long as consent holds. */
  path: VerifiedPath | undefined;
  nominated: boolean;
  /** Local preference in the PRIORITY of the peer's last check (RFC 8445 §5.1.2.1); undefined before one came. */
  remotePreference: number | undefined;
  /** The controlling side nominated it before our own check succeeded (RFC 8445 §7.3.1.5). */
  nominationPending: boolean;
  /** Checks that wait for an answer. */
  waiting: number;
  lastUsedMs: number;
}

/** The pairs of one peer over all of its sockets, bounded. */
export class PairTable {
  readonly #max: number;
  readonly #sockets = new SparseMap<StunDemultiplexer, SparseMap<string, CandidatePair>>();
  #size = 0;

  /** @param max pairs at once; a new one replaces the longest unused one that is neither verified nor waits for an answer. */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  find(socket: StunDemultiplexer, remote: Endpoint): CandidatePair | undefined {
    return this.#sockets.get(socket)?.get(keyOf(remote));
  }

  /** Adds a pair; returns undefined when there is none that it may replace. */
  add(pair: CandidatePair): CandidatePair | undefined {
    if (this.#size >= this.#max && !this.#evict()) return undefined;
    const pairs = this.#sockets.get(pair.socket) ?? new SparseMap<string, CandidatePair>();
    this.#sockets.set(pair.socket, pairs);
    pairs.set(keyOf(pair.remote), pair);
    this.#size++;
    return pair;
  }

  removeSocket(socket: StunDemultiplexer): void {
    this.#size -= this.#sockets.get(socket)?.size ?? 0;
    this.#sockets.delete(socket);
  }

  *all(): Generator<CandidatePair> {
    for (const pairs of this.#sockets.values()) yield* pairs.values();
  }

  #evict(): boolean {
    let oldest: CandidatePair | undefined;
    for (const pair of this.all()) {
      if (pair.path !== undefined || pair.waiting > 0) continue;
      if (oldest === undefined || pair.lastUsedMs < oldest.lastUsedMs) oldest = pair;
    }
    if (oldest === undefined) return false;
    this.#sockets.get(oldest.socket)?.delete(keyOf(oldest.remote));
    this.#size--;
    return true;
  }
}

function keyOf({ address, port }: Endpoint): string {
  return `${address} ${port}`;
}
