import type { PathKind } from '../../api/common.ts';
import type { Peer } from '../../api/peers.ts';

export type Tone = 'direct' | 'relay' | 'bad' | 'idle';

/** How a peer is shown: by what carries its packets, then by its state. */
export function toneOf(peer: Pick<Peer, 'status' | 'strategy' | 'online'>): Tone {
  if (peer.status === 'failed') return peer.online ? 'bad' : 'idle';
  if (peer.strategy === null) return 'idle';
  return peer.strategy === 'direct' ? 'direct' : 'relay';
}

export function toneOfKind(kind: PathKind | null): Tone {
  return kind === null ? 'idle' : kind === 'relay' ? 'relay' : 'direct';
}

export const KIND_WORDS: Readonly<Record<PathKind, string>> = {
  lan: 'Local network',
  p2p: 'Direct',
  relay: 'Relay',
};

/** `Direct`, `Local network`, `Relayed, slow`, `Offline`, `Not reached`. */
export function statusWords(peer: Pick<Peer, 'status' | 'strategy' | 'online' | 'path'>): string {
  switch (peer.status) {
    case 'connecting':
      return 'Connecting';
    case 'failed':
      return peer.online ? 'Not reached' : 'Offline';
    case 'connected':
    case 'degraded': {
      const path =
        peer.strategy === 'relay' ? 'Relayed' : peer.path === null ? 'Connected' : KIND_WORDS[peer.path.kind];
      return peer.status === 'degraded' ? `${path}, slow` : path;
    }
    default:
      return peer.status satisfies never;
  }
}

export interface PeerCounts {
  readonly direct: number;
  readonly relayed: number;
  readonly away: number;
  /** Middle of the latencies of those that are reached, ms. */
  readonly medianMs: number | undefined;
}

export function countPeers(peers: readonly Peer[]): PeerCounts {
  const reached = peers.filter((peer) => isReached(peer));
  const latencies = reached.flatMap(({ latencyMs }) => (latencyMs === null ? [] : [latencyMs])).sort((a, b) => a - b);
  const relayed = reached.filter(({ strategy }) => strategy === 'relay').length;
  return {
    direct: reached.length - relayed,
    relayed,
    away: peers.length - reached.length,
    medianMs: latencies[Math.floor((latencies.length - 1) / 2)],
  };
}

export function isReached({ status, strategy }: Pick<Peer, 'status' | 'strategy'>): boolean {
  return (status === 'connected' || status === 'degraded') && strategy !== null;
}

export type PeerFilter = 'all' | 'direct' | 'relayed' | 'away';

/** Peers that a search and a filter leave. The search looks at names and addresses. */
export function filterPeers(peers: readonly Peer[], filter: PeerFilter, search: string): Peer[] {
  const wanted = search.trim().toLowerCase();
  return peers.filter((peer) => {
    if (filter === 'away' && isReached(peer)) return false;
    if (filter === 'direct' && !(isReached(peer) && peer.strategy === 'direct')) return false;
    if (filter === 'relayed' && !(isReached(peer) && peer.strategy === 'relay')) return false;
    return wanted === '' || peer.name.toLowerCase().includes(wanted) || peer.address.includes(wanted);
  });
}
