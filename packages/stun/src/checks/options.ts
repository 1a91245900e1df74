import type { Clock, Log, Random } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { VerifiedPath } from './candidate-pair.ts';
import type { CheckRole } from './check-message.ts';
import type { CheckSchedule } from './check-run.ts';
import type { CheckLimits } from './probe-budget.ts';
import type { StunDemultiplexer } from './stun-demultiplexer.ts';

export interface ConnectivityChecksComponents {
  /** The socket that checks leave from unless they name another; add more with `listen`. */
  socket: StunDemultiplexer;
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

export interface ConnectivityChecksOptions {
  /** Ours and the peer's user fragment: unique per peer on a socket, exchanged by signalling, no colon. */
  localUfrag: string;
  remoteUfrag: string;
  /** Signs the peer's requests. */
  localPassword: string;
  /** Signs our requests. */
  remotePassword: string;
  role: CheckRole;
  limits?: CheckLimits;
  /** How much a socket is preferred to others of this end, 0…65535: part of PRIORITY in its checks (RFC 8445 §5.1.2.1). @default 65535 */
  localPreference?(socket: StunDemultiplexer): number;
  /** A check was answered and its pair had no verified path before, or had lost consent. */
  onPath(path: VerifiedPath): void;
  /** A valid check came from an endpoint that signalling did not name (RFC 8445 §7.3.1.3). It is checked already. */
  onPeerReflexive?(remote: Endpoint, priority: number, socket: StunDemultiplexer): void;
  /** The pair was nominated, by us or by the peer (RFC 8445 §8.1), in place of one that was nominated before. */
  onNominated?(path: VerifiedPath): void;
  /** Both sides had the same role and ours has changed (RFC 8445 §7.3.1.1). */
  onRoleChange?(role: CheckRole): void;
  /**
   * A valid check of the peer arrived: the path works in that direction.
   * @param unheardMs the peer has sent data for so long and heard nothing on the pair; undefined when it does not say so
   */
  onHeard?(remote: Endpoint, socket: StunDemultiplexer, unheardMs: number | undefined): void;
}

export interface CheckOptions extends CheckSchedule {
  /** @default the socket of the components */
  socket?: StunDemultiplexer;
  /** PRIORITY of a peer-reflexive candidate that the peer learns from this check (RFC 8445 §7.1.1). */
  priority?: number;
  /** Nominates the pair; only for the controlling side. @default false */
  useCandidate?: boolean;
  /** @throws its reason from `check`; a check that several callers share ends with the last of them. */
  signal?: AbortSignal | undefined;
}

/** Requests and answers that were not acted on, by reason. */
export interface IgnoredChecks {
  badIntegrity: number;
  /** No FINGERPRINT (RFC 8445 §7.1 requires it). */
  noFingerprint: number;
  /** A copy of a request, sent from another address. */
  replayed: number;
  /** A valid answer from another endpoint than the request went to (RFC 8445 §7.2.5.2.1). */
  asymmetric: number;
  /** A success without our address. */
  incomplete: number;
  /** More requests than are answered. */
  rate: number;
  /** Valid, but every remote endpoint that may be known is in use. */
  tooManyRemotes: number;
}

export interface ConnectivityChecksStats {
  readonly sent: number;
  readonly answered: number;
  /** Valid requests of the peer. */
  readonly received: number;
  /** Checks held back by the limits for endpoints that never answered. */
  readonly limited: number;
  readonly remotes: number;
  readonly ignored: Readonly<IgnoredChecks>;
}
