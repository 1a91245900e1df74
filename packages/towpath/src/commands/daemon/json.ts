import type { Peer } from '@towpath/dashboard/api';

/** A member in JSON output: reasons are codes, and what is absent is left out. docs/json.md, "status". */
export function peerJson(peer: Peer): Record<string, unknown> {
  const {
    id,
    address,
    reason,
    pathReason,
    dataPlaneReason,
    path,
    strategy,
    latencyMs,
    connectedAt,
    policies,
    ...rest
  } = peer;
  return {
    ...rest,
    peerId: id,
    virtualIp: address,
    reason: reason.code,
    path: path ?? undefined,
    endpoint: path?.endpoint,
    pathReason: pathReason.code,
    policy: policies?.own,
    peerPolicy: policies?.peer ?? undefined,
    relayReason: peer.relayReason?.code,
    dataPlaneReason: dataPlaneReason.code,
    strategy: strategy ?? undefined,
    latencyMs: latencyMs ?? undefined,
    connectedAt: connectedAt ?? undefined,
    lastHandshakeAt: peer.lastHandshakeAt ?? undefined,
  };
}
