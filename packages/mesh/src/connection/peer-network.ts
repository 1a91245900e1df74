import type { PeerId } from '@towpath/membership';
import type { EchoService } from '../health/echo-service.ts';
import type { PeerEndpointControl } from '../hop/endpoint-control.ts';
import type { SpliceControl } from '../hop/splice-control.ts';
import type { NamedMember } from '../names/names.ts';
import type { PeerChange, WireGuardDevice } from '../wireguard/device.ts';

/** What connections need of this machine; {@link NetworkManager} has it. */
export interface PeerNetwork extends PeerEndpointControl {
  /** The kernel's data plane; undefined when it is switched off. */
  readonly splice: SpliceControl | undefined;
  /** Echoes through the tunnel. */
  readonly echo: Pick<EchoService, 'ping' | 'touch' | 'sayGoodbye' | 'events'>;
  /** Largest packet of the interface, bytes. */
  readonly mtuBytes: number;
  addPeer(peer: Omit<PeerChange, 'remove' | 'updateOnly'>): Promise<void>;
  removePeer(publicKey: Uint8Array): Promise<void>;
  restartPeer(publicKey: Uint8Array): Promise<void>;
  setPeerMtu(address: string, mtuBytes: number | undefined): Promise<void>;
  addRoute(network: string): Promise<void>;
  removeRoute(network: string): Promise<void>;
  read(): Promise<WireGuardDevice>;
  setNames(partyName: string, members: readonly NamedMember[]): ReadonlyMap<PeerId, string>;
  setReceivers(addresses: readonly string[]): Promise<void>;
}
