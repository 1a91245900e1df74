import type { Events, TowpathError } from '@towpath/core';
import { addressScope, type Endpoint } from '@towpath/net';

/** A mapping request. */
export interface MappingRequest {
  protocol: 'udp' | 'tcp';
  internalPort: number;
  /**
   * Local IPv4 address that the port is bound to: the router of its interface is asked.
   * @default the source address of the default route
   */
  internalAddress?: string | undefined;
  /** Preferred external port; the gateway may assign another. @default internalPort */
  suggestedExternalPort?: number;
  /** Requested lifetime, ms. RFC 6886 §3.3 recommends two hours. @default 7200000 */
  lifetimeMs?: number;
}

/** A request with its defaults filled in. */
export interface FullRequest {
  readonly protocol: 'udp' | 'tcp';
  readonly internalPort: number;
  readonly suggestedExternalPort: number;
  readonly lifetimeMs: number;
}

/** The router on the path, and our address as it must see it. */
export interface Router {
  /** `undefined` where the system does not report it: only UPnP can find it then. */
  readonly gateway: string | undefined;
  readonly localAddress: string;
}

export type MappingProtocolName = 'pcp' | 'nat-pmp' | 'upnp';

/** A mapping as the gateway granted it. */
export interface GrantedMapping {
  via: MappingProtocolName;
  /** External endpoint of the port as the gateway reports it; a private address when another NAT follows. */
  external: Endpoint;
  /** Granted lifetime, ms. */
  lifetimeMs: number;
  /** The gateway's epoch time, s since it started (PCP, NAT-PMP). */
  epochS?: number | undefined;
}

/** One protocol for one mapping. */
export interface MappingProtocol {
  readonly name: string;
  /**
   * Creates or renews the mapping.
   * @param held the mapping to renew
   * @throws PortmapError, or the signal's reason.
   */
  map(request: FullRequest, signal: AbortSignal, held?: GrantedMapping): Promise<GrantedMapping>;
  /** Deletes the mapping. @returns true when the gateway confirmed it */
  unmap(request: FullRequest, granted: GrantedMapping): Promise<boolean>;
  /** Requests the gateway's epoch time, s; undefined where the protocol has none. May renew the mapping. @throws as {@link map} */
  epoch?(request: FullRequest, granted: GrantedMapping, signal: AbortSignal): Promise<number | undefined>;
}

/** Returns why an endpoint cannot be the external side of a mapping; undefined when it can. */
export function unusableEndpoint({ address, port }: Endpoint): string | undefined {
  const scope = addressScope(address);
  if (scope === 'unspecified' || scope === undefined) return 'it has no external address';
  if (scope === 'loopback' || scope === 'multicast' || scope === 'broadcast' || scope === 'link-local') {
    return `its external address is ${address}`;
  }
  return port === 0 ? 'the external port is 0' : undefined;
}

export interface MappedPortEvents {
  /** The mapping moved to another external address or port. */
  changed: GrantedMapping;
  /** The lease expired, or the gateway restarted, and the mapping could not be renewed; renewals continue until it is closed. */
  lost: TowpathError;
}

/** A mapping that is renewed until it is closed. */
export interface MappedPort extends AsyncDisposable {
  readonly events: Events<MappedPortEvents>;
  readonly current: GrantedMapping;
  /** Deletes the mapping at the gateway. Idempotent. @returns true when the gateway confirmed it */
  close(): Promise<boolean>;
}

/** A mapping with the router and protocol that granted it. */
export interface HeldMapping {
  readonly router: Router;
  readonly protocol: MappingProtocol;
  readonly granted: GrantedMapping;
}
