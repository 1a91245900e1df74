import type { PathKind, PathPolicy } from '@towpath/core';
import type { PeerId } from '@towpath/membership';
import type { DataPlaneKind } from '../hop/data-plane.ts';
import type { PeerStatus } from '../health/peer-health.ts';
import type { Reason } from '../reason.ts';

/** How a peer is reached. */
export type ConnectionStrategy = 'direct' | 'relay';

/** The state of one peer (C1, C13). */
export interface ConnectionStatus {
  readonly peerId: PeerId;
  readonly name: string;
  readonly virtualIp: string;
  /** `203.0.113.42:40000`, of the current path; undefined while there is none. */
  readonly endpoint: string | undefined;
  readonly strategy: ConnectionStrategy | undefined;
  /** Smoothed round trip through the tunnel, ms. */
  readonly latencyMs: number | undefined;
  /** ISO 8601; undefined before the first answered echo. */
  readonly connectedAt: string | undefined;
  readonly status: PeerStatus;
  /** Why it has this status. */
  readonly reason: Reason;
  readonly online: boolean;
  readonly path: { readonly id: string; readonly kind: PathKind; readonly relay: string | undefined } | undefined;
  /** Why the current path was chosen. */
  readonly pathReason: Reason;
  /** The policy of this node that does not allow the paths on which the peer answers; undefined when there is a path. */
  readonly refusedBy: PathPolicy | undefined;
  /** Which paths this node uses. */
  readonly policy: PathPolicy;
  /** Which paths the peer uses, as it told; undefined when it told none. */
  readonly peerPolicy: PathPolicy | undefined;
  /** True when the peer is not reached and its policy does not allow the current path, or any that the own policy allows. */
  readonly isRefusedByPeer: boolean;
  /** Why it is reached through a relay; undefined when it is not. */
  readonly relayReason: Reason | undefined;
  readonly dataPlane: DataPlaneKind;
  /** Why the packets take this data plane. */
  readonly dataPlaneReason: Reason;
  /** Share of lost echoes, 0 to 1. */
  readonly lossRatio: number;
  /** Largest packet to the peer, bytes. */
  readonly mtuBytes: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** ISO 8601. */
  readonly lastHandshakeAt: string | undefined;
}

/** What has changed of a peer. */
export interface PeerChangeEvent {
  readonly peerId: PeerId;
  readonly what: 'added' | 'removed' | 'status' | 'path' | 'data-plane' | 'mtu';
  readonly reason: Reason;
  readonly status: ConnectionStatus;
}
