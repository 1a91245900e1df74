import { type AddressScope, type Endpoint, isLoopback } from '@towpath/net';
import type { NatReport, PeerReachability } from '@towpath/stun';
import type { PortMappingCheck } from './port-mapping.ts';
import type { PortalCheck } from './portal.ts';
import type { ServerCheck } from './server-check.ts';

/** One address of this machine, except loopback. */
export interface LocalAddress {
  readonly interface: string;
  readonly address: string;
  readonly family: 4 | 6;
  readonly prefixLength: number;
  readonly scope: AddressScope | undefined;
}

/** What is known about one address family. */
export type FamilyVerdict =
  | 'works'
  /** servers were asked; none answered */
  | 'no-answer'
  /** the addresses of servers could not be looked up: nothing was measured */
  | 'could-not-ask'
  /** the names of servers resolve to addresses that belong to no server (loopback, unspecified, multicast) */
  | 'misdirected'
  /** this machine has no address of the family */
  | 'no-address'
  /** no server with an address of the family was given */
  | 'no-server';

/** Results for one address family. */
export interface FamilyReport {
  readonly verdict: FamilyVerdict;
  /** Whether servers answer over this family; undefined when none was asked. */
  readonly reachable: boolean | undefined;
  /** External address; the port is meaningful only with `nat`. */
  readonly external: Endpoint | undefined;
  /** NAT behaviour for UDP; undefined when it was not measured. */
  readonly nat: NatReport | undefined;
  /** The state in one sentence. */
  readonly why: string;
}

/** Which transports leave this network. */
export type Transport =
  | 'udp'
  | 'tcp-only'
  /** no server answered at all */
  | 'nothing'
  /** no server was asked */
  | 'unknown';

/** Why nothing was measured. */
export type Unmeasured =
  | 'no-server'
  /** the names of the servers could not be looked up */
  | 'names'
  /** the servers have addresses only of a family that this machine has none of */
  | 'other-family';

/** What follows the gateway on the path to the servers, from the gateway's external address and the one that they see. */
export type BeyondGateway =
  /** they are the same: no other NAT */
  | 'no-nat'
  /** the gateway has a shared address (RFC 6598): the provider's NAT (CGNAT) */
  | 'provider-nat'
  /** the gateway has a private address: another router, or the provider's NAT */
  | 'another-nat'
  /** they are different public addresses: several uplinks, or another NAT */
  | 'unclear';

export interface NetcheckReport {
  readonly transport: Transport;
  /** Why `transport` is `unknown`. */
  readonly unmeasured: Unmeasured | undefined;
  readonly addresses: readonly LocalAddress[];
  /** IPv4 address of the default gateway. */
  readonly gateway: string | undefined;
  readonly ipv4: FamilyReport;
  readonly ipv6: FamilyReport;
  /** Usual name of the NAT: for IPv4, or for IPv6 where there is no IPv4. */
  readonly kind: string;
  /** What it means for connecting. */
  readonly meaning: string;
  /** How peers behind each kind of NAT are reached; empty when nothing is known. */
  readonly reachability: readonly PeerReachability[];
  readonly servers: readonly ServerCheck[];
  /** Undefined when it was not requested. */
  readonly portMapping: PortMappingCheck | undefined;
  /** Undefined when the addresses are not known or not of the same path. */
  readonly beyondGateway: BeyondGateway | undefined;
  readonly portal: PortalCheck | undefined;
  readonly elapsedMs: number;
}

/** Whether the server that measured {@link natOf} is on this machine: what it saw is no network. */
export function isOfThisMachine(report: Pick<NetcheckReport, 'ipv4' | 'ipv6'>): boolean {
  const nat = natOf(report);
  return [report.ipv4, report.ipv6].some(
    ({ nat: own, external }) =>
      nat !== undefined && own === nat && external !== undefined && isLoopback(external.address),
  );
}

/** The NAT behaviour that counts: of the family whose UDP works, IPv4 first. */
export function natOf({ ipv4, ipv6 }: Pick<NetcheckReport, 'ipv4' | 'ipv6'>): NatReport | undefined {
  return [ipv4.nat, ipv6.nat].find((nat) => nat?.udp) ?? ipv4.nat ?? ipv6.nat;
}
