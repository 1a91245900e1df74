import type { Events, PathPolicy, PathReason, PathStatus } from '@towpath/core';
import type { PartyId } from '@towpath/membership';
import type { MeshPeer } from './control-plane.ts';
import type { PeerPath, SendDatagram } from './peer-path.ts';
import type { Reason } from './reason.ts';

/** One entry of the time line that `towpath why` and `towpath paths --follow` show. */
export interface PathLogEntry {
  /** `Clock.wallTime` ms. */
  readonly atMs: number;
  readonly what: 'candidate' | 'attempt' | 'success' | 'failure' | 'switch' | 'standby' | 'removed' | 'refresh';
  /** Which path or candidate, as a person reads it. */
  readonly label: string;
  /** A stable code; see `Reason`. */
  readonly reason: string;
}

export interface PeerPathsEvents {
  /** The current path, or the second one that everything is also sent on, has changed. */
  selected: { readonly path: PeerPath | undefined; readonly also: PeerPath | undefined; readonly reason: PathReason };
  log: PathLogEntry;
}

/** The paths to one peer: finds them, keeps them, and chooses. */
export interface PeerPaths extends AsyncDisposable {
  readonly events: Events<PeerPathsEvents>;
  readonly current: PeerPath | undefined;
  /** What everything is sent on besides {@link current}; undefined most of the time. */
  readonly also: PeerPath | undefined;
  status(): PathStatus<PeerPath>[];
  /** The newest entries of the time line, oldest first; bounded. */
  log(): readonly PathLogEntry[];
  /** Why there is no direct path; undefined while there is one. */
  readonly relayReason: Reason | undefined;
  /** Which paths this end uses. */
  readonly policy: PathPolicy;
  /** Which paths the peer uses, as it told; undefined when it told none: it was not heard, or has an earlier version. */
  readonly peerPolicy: PathPolicy | undefined;
  /** The policy that does not allow the paths that were verified; undefined while there is a path, or none was verified. */
  readonly refusedBy: PathPolicy | undefined;
  /** The peer answers, but only on paths that its own policy does not allow. */
  readonly isRefusedByPeer: boolean;
  /** Checks that were sent to the peer so far. */
  readonly probesSent: number;
  /** Begins anew and resets every backoff: an echo was lost, the network changed, the peer is back. */
  refresh(reason: PathReason): void;
  configure(options: { policy?: PathPolicy; redundancy?: 1 | 2 }): void;
  /**
   * Says that something arrived over `path`, of which the splice lets the path sockets see nothing.
   * @param isData it was more than echoes and keep-alives
   */
  heard(path: PeerPath, isData: boolean): void;
  /** Says that the data plane has sent data over `path` by the splice since `sinceMs` (`Clock.now`). */
  sent(path: PeerPath, sinceMs: number): void;
  /** Says that the data plane has sent data over `path` by the splice, and received nothing there since `sinceMs` (`Clock.now`). */
  unanswered(path: PeerPath, sinceMs: number): void;
  /**
   * Says that echoes through the tunnel over the current path are lost. If its checks are answered it is left: something on
   * the way drops WireGuard, or one of the two kernels does.
   * @param echoes lost in a row; what the loss of the path explains changes nothing. @default too many for that
   */
  dataLost(echoes?: number): void;
  /** Says that an echo through the tunnel over the current path was answered. */
  dataCarried(): void;
  /**
   * Says that echoes through the tunnel over the current path, a relayed one, take long. A relay is left for one that is better.
   * @param rttMs their round trip, measured since the path was selected
   */
  dataSlow(rttMs: number): void;
  /** Probes every path at once: an echo through the tunnel was lost. */
  probe(): void;
  /** Resolves when every socket, timer and allocation of the peer is released. */
  close(): Promise<void>;
}

export interface PeerPathsOptions {
  readonly party: PartyId;
  readonly peer: MeshPeer;
  readonly policy?: PathPolicy | undefined;
  readonly redundancy?: 1 | 2 | undefined;
  /**
   * Called with each datagram of WireGuard that arrives from the peer; `path` is undefined while its path is being verified, and
   * `answer` sends an answer to a handshake back meanwhile.
   */
  onDatagram(datagram: Uint8Array, path: PeerPath | undefined, answer?: SendDatagram): void;
  /** Called when a path through a relay that this node uses is checked: the handshake may be begun there at once. */
  onChecked?(send: SendDatagram): void;
}

/** Opens the paths of peers over the path sockets that they share. */
export interface PathFinder extends AsyncDisposable {
  open(options: PeerPathsOptions): PeerPaths;
  /** Measures this machine's NATs and says what they do, as a person reads it; undefined when it could not be measured. */
  describeNat(signal?: AbortSignal): Promise<string | undefined>;
  close(): Promise<void>;
}
