export { formatPacketEvent, type PacketEvent, type PacketHook } from './fabric.ts';
export type { HostOptions, InterfaceOptions, SimulatedHost, SimulatedInterface } from './host.ts';
export type { FirewallOptions, FirewallPolicy, HostFirewall } from './host-firewall.ts';
export {
  type LanOptions,
  SimulatedInternet,
  type SimulatedInternetComponents,
  type SimulatedInternetOptions,
} from './internet.ts';
export type { SimulatedLan } from './lan.ts';
export type { SimulatedLink, SimulatedLinkConditions, SimulatedLinkOptions } from './simulated-link.ts';
export type { NameServerBehaviour, SimulatedNames } from './names.ts';
export type { SimulatedNat } from './nat.ts';
export { type NatKind, natKinds, nineNats } from './nat-kinds.ts';
export type { NatRules, NatDependence, NatOptions, PortAllocation } from './nat-options.ts';
export type { DropReason, PacketCounters, SimulatedPacket, TcpSegment } from './packet.ts';
