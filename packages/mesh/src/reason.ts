import type { PathReason } from '@towpath/core';

/** Codes that concern the data plane, health and presence of a peer. The codes are stable. */
export const MeshReason = {
  // Data plane
  /** The kernel carries the packets: the splice of a direct path. */
  spliced: 'spliced',
  /** The splice was switched off. */
  spliceOff: 'splice-off',
  /** This machine has no nftables, or it refused the table. */
  spliceUnavailable: 'splice-unavailable',
  /** The path goes through a TURN channel or TCP, which the splice cannot carry. */
  pathNotPlain: 'path-not-plain',
  /** The kernel's route to the peer does not leave from the path's own address. */
  routeDiffers: 'route-differs',
  /** A move to the splice was begun and carried no data; it is tried again later. */
  spliceSilent: 'splice-silent',
  /** The splice's table was removed by somebody else. */
  spliceLost: 'splice-lost',
  /** WireGuard sent to the peer's address although the splice was not in place. */
  endpointStray: 'endpoint-stray',
  /** The path is in doubt, or two paths are wanted: everything is sent on two paths, which the hop does. */
  twoPaths: 'two-paths',
  /** The path is being compared with others, or was chosen a moment ago. */
  pathNew: 'path-new',
  /** There is no path to the peer. */
  noPath: 'no-path',

  // NAT traversal
  /** Both NATs choose a new port for each destination, at least one of them at random: only a relay connects them. */
  hardNats: 'hard-nats',
  /** One of the two networks lets no UDP through. */
  udpBlocked: 'udp-blocked',
  /** A search for the ports of a NAT is under way, or comes next. */
  punching: 'punching',
  /** The search for the ports of a NAT found none; it is tried again later. */
  punchFailed: 'punch-failed',
  /** The NATs would need a search for ports, which is switched off. */
  punchOff: 'punch-off',
  /** None of the peer's addresses answered. */
  noAnswer: 'no-answer',
  /** The peer tells its addresses in a form of another version of Towpath. */
  otherVersion: 'other-version',
  /** The relay does not forward to this address of the peer: TURN answers 403. */
  relayForbids: 'relay-forbids',

  // Health
  /** Echoes through the tunnel are answered in less than 200 ms. */
  echoAnswered: 'echo-answered',
  /** Echoes through the tunnel take 200 ms or more. */
  echoSlow: 'echo-slow',
  /** Echoes through the tunnel are not answered. */
  echoLost: 'echo-lost',
  /** Three tries to reconnect were not answered. */
  reconnectFailed: 'reconnect-failed',
  /** The peer said that it leaves. */
  peerLeft: 'peer-left',
  /** The control plane says that the peer is not connected. */
  peerOffline: 'peer-offline',
  /** Our own WireGuard interface is gone. */
  interfaceLost: 'interface-lost',
} as const;
export type MeshReason = (typeof MeshReason)[keyof typeof MeshReason];

/**
 * Why a peer is in its state, on its path and on its data plane: one list, used by events, `towpath why`, metrics and
 * the dashboard. docs/protocol/reasons.md, "Paths", "Data plane", "NAT traversal", "Health".
 */
export type Reason = PathReason | MeshReason;
