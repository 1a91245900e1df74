import type { PathKind } from '@towpath/core';
import { formatEndpoint, type Endpoint } from '@towpath/net';

const KINDS: Readonly<Record<PathKind, string>> = {
  lan: 'on the local network',
  p2p: 'directly',
  relay: 'through a relay',
};

/** Returns how a path goes, for people: `directly, 192.168.43.1:40611, from local port 51234`. */
export function pathText(kind: PathKind, { local, peer }: { local: Endpoint; peer: Endpoint }): string {
  return `${KINDS[kind]}, ${formatEndpoint(peer)}, from local port ${local.port}`;
}
