import type { AddressScope, Endpoint } from '@towpath/net';
import type { NatBehaviour } from '@towpath/stun';
import type { PortMappingCheck } from './port-mapping.ts';
import type { PortalCheck } from './portal.ts';
import type { Prospect } from './prospects.ts';
import type { ServerCheck } from './server-check.ts';

/** One address of this machine, loopback left out. */
export interface LocalAddress {
  readonly interface: string;
  readonly address: string;
  readonly family: 4 | 6;
  readonly prefixLength: number;
  readonly scope: AddressScope | undefined;
}

/** What is known of one address family. */
export interface FamilyReport {
  /** Whether servers answer over this family; undefined when there was nobody to ask. */
  readonly reachable: boolean | undefined;
  /** Where the world sees us; the port only means something when `nat` does. */
  readonly external: Endpoint | undefined;
  /** How UDP is treated on the way; undefined when it was not measured. */
  readonly nat: NatBehaviour | undefined;
  /** The state in one sentence. */
  readonly why: string;
}

/** What gets out of this network. */
export type Transport =
  | 'udp'
  | 'tcp-only'
  /** no server answered at all */
  | 'nothing'
  /** no server was named */
  | 'unknown';

export interface NetcheckReport {
  readonly transport: Transport;
  readonly addresses: readonly LocalAddress[];
  /** IPv4 address of the default gateway. */
  readonly gateway: string | undefined;
  readonly ipv4: FamilyReport;
  readonly ipv6: FamilyReport;
  /** The kind of network, as people call it: that of IPv4, or of IPv6 where there is no IPv4. */
  readonly kind: string;
  /** What that means for connecting. */
  readonly meaning: string;
  /** How peers in each kind of network are reached; empty when nothing is known. */
  readonly prospects: readonly Prospect[];
  readonly servers: readonly ServerCheck[];
  /** Undefined when it was not asked for. */
  readonly portMapping: PortMappingCheck | undefined;
  /** There is another NAT behind the gateway, the provider's; undefined when that cannot be told. */
  readonly carrierNat: boolean | undefined;
  readonly portal: PortalCheck | undefined;
  readonly elapsedMs: number;
}
