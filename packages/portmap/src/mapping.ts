import type { Endpoint } from '@towpath/net';

/** What is asked of a gateway. */
export interface MappingRequest {
  protocol: 'udp' | 'tcp';
  internalPort: number;
  /** The external port that would be nice to have; the gateway may choose another. @default internalPort */
  suggestedExternalPort?: number;
  /** How long the mapping should live, ms. RFC 6886 §3.3 recommends two hours. @default 7200000 */
  lifetimeMs?: number;
}

export type MappingProtocolName = 'pcp' | 'nat-pmp' | 'upnp';

/** A mapping as the gateway granted it. */
export interface GrantedMapping {
  via: MappingProtocolName;
  /** Where the world reaches the port. */
  external: Endpoint;
  /** Granted lifetime, ms. */
  lifetimeMs: number;
}

/** One way to talk to a gateway about one mapping. */
export interface MappingProtocol {
  readonly name: string;
  /**
   * Makes the mapping or renews it.
   * @throws PortmapError, or the signal's reason.
   */
  map(request: Required<MappingRequest>, signal: AbortSignal): Promise<GrantedMapping>;
  /** Removes it. Silent when the gateway does not answer. */
  unmap(request: Required<MappingRequest>, granted: GrantedMapping): Promise<void>;
}
