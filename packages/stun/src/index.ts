/**
 * Clients of STUN and TURN, connectivity checks, and NAT behaviour. Servers are `@towpath/stun/server`, the codec is
 * `@towpath/stun/message`.
 *
 * @packageDocumentation
 */
export type { TransportProtocol } from './client/stun-transport.ts';
export type { LongTermCredentials } from './client/long-term-auth.ts';
export { bindingResult, StunClient, type StunClientOptions, type StunCredentials } from './client/stun-client.ts';
export { StunError, type StunErrorName } from './client/stun-error.ts';
export { StunTransactions } from './client/stun-transactions.ts';
export type { TurnHandlers } from './turn/client/allocation-parts.ts';
export type { PlainPath, SharedSocket } from './turn/client/plain-paths.ts';
export { TurnAllocation } from './turn/client/turn-allocation.ts';
export type { AllocateOptions } from './turn/client/turn-client.ts';
export { type DiscoverNatOptions, discoverNat } from './behaviour/discover.ts';
export {
  type MappingLifetime,
  type MappingLifetimeOptions,
  measureMappingLifetime,
} from './behaviour/mapping-lifetime.ts';
export type {
  FilteringBehaviour,
  MappingBehaviour,
  NatReport,
  PortAllocation,
  ServerReport,
} from './behaviour/nat-report.ts';
export {
  type NatFacts,
  type PeerReachability,
  type Reachability,
  reachabilityByPeer,
} from './behaviour/reachability.ts';
export type { VerifiedPath } from './checks/candidate-pair.ts';
export type { CheckRole } from './checks/check-message.ts';
export { ConnectivityChecks } from './checks/connectivity-checks.ts';
export type { CheckOptions, ConnectivityChecksOptions } from './checks/options.ts';
export type { ConsentOptions } from './checks/consent.ts';
export { StunDemultiplexer } from './checks/stun-demultiplexer.ts';
