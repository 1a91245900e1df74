export { networkHere } from './addresses/used-networks.ts';
export {
  addressIn,
  parseVirtualNetwork,
  overlaps,
  substituteNetwork,
  type UsedNetwork,
} from './addresses/virtual-network.ts';
export { type DoctorFinding, type DoctorOptions, examineMachine } from './doctor/doctor.ts';
export { MeshError, type MeshErrorCode } from './mesh-error.ts';
export { hostNames, memberNamed } from './names/host-name.ts';
export type { NamedMember } from './names/names.ts';
export type { Artifact } from './state/artifact.ts';
export { Ledger, type LedgerSummary, listLedgers, recoverLeftovers } from './state/ledger.ts';
export { type CommandOptions, type CommandResult, type Commands, SystemCommands } from './wireguard/command.ts';
export type { DeviceChange, PeerChange, WireGuardDevice, WireGuardPeer } from './wireguard/device.ts';
export { interfaceNameFor, isPartyInterface, trialInterfaceName } from './wireguard/interface-name.ts';
export {
  type WireGuardBackend,
  WireGuardInterface,
  type WireGuardInterfaceComponents,
  type WireGuardInterfaceEvents,
  type WireGuardInterfaceOptions,
} from './wireguard/wireguard-interface.ts';
export type {
  ControlPlane,
  MeshControlEvents,
  MeshMember,
  MeshParty,
  MeshPeer,
  MeshRelay,
  RelayCredentials,
} from './control-plane.ts';
export {
  DataPlane,
  type DataPlaneComponents,
  type DataPlaneEvents,
  type DataPlaneKind,
  type DataPlaneOptions,
} from './hop/data-plane.ts';
export type { PeerEndpointControl } from './hop/endpoint-control.ts';
export type { HopCounters } from './hop/hop.ts';
export type { SpliceControl, SpliceEntry } from './hop/splice-control.ts';
export type { PeerPath } from './peer-path.ts';
export type {
  PathFinder,
  PathLogEntry,
  PeerPaths,
  PeerPathsEvents,
  PeerPathsOptions,
} from './peer-paths.ts';
export { MeshReason, type Reason } from './reason.ts';
export {
  type EchoOptions,
  EchoService,
  type EchoServiceEvents,
  type EchoServiceOptions,
} from './health/echo-service.ts';
export { encodeHeadNote } from './health/head-note.ts';
export type { PeerStatus } from './health/peer-health.ts';
export { type FilterStatus, NOT_FILTERED } from './filter/filter-control.ts';
export { type Offer, parseRoutedNetwork } from './gateway/gateway.ts';
export {
  type AcceptedNetwork,
  ConnectionCoordinator,
  type CoordinatorOptions,
} from './connection/connection-coordinator.ts';
export { ConnectionError, type ConnectionErrorCode } from './connection/connection-error.ts';
export {
  type ConnectionConfig,
  ConnectionManager,
  type ConnectionManagerEvents,
} from './connection/connection-manager.ts';
export type { ConnectionStatus, ConnectionStrategy, PeerChangeEvent } from './connection/connection-status.ts';
export { type NatDescription, NATTraversal } from './connection/nat-traversal.ts';
export { PeerConnection, type PeerConnectionComponents } from './connection/peer-connection.ts';
export type { PeerNetwork } from './connection/peer-network.ts';
export {
  NetworkManager,
  type NetworkManagerComponents,
  type NetworkManagerEvents,
  type NetworkManagerOptions,
} from './wireguard/network-manager.ts';
export { MeshPathFinder, type MeshPathFinderComponents, type MeshPathFinderOptions } from './paths/path-finder.ts';
export { PartyRelay, type PartyRelayOptions, type PartyRelayStatus } from './relays/party-relay.ts';
export { isReachable, memberRelays } from './relays/relay-announcement.ts';
