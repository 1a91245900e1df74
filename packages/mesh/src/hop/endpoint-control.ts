import type { Endpoint } from '@towpath/net';
import type { WireGuardPeer } from '../wireguard/device.ts';

/** What the data plane of one peer needs of WireGuard. */
export interface PeerEndpointControl {
  /** Where WireGuard listens on loopback. */
  readonly listenPort: number;
  setEndpoint(publicKey: Uint8Array, endpoint: Endpoint, signal?: AbortSignal): Promise<void>;
  /** The peer as WireGuard reports it; undefined when it does not know it. */
  peer(publicKey: Uint8Array, signal?: AbortSignal): Promise<WireGuardPeer | undefined>;
}
