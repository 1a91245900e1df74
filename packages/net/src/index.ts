export { type EndpointTextFailure, type EndpointTextResult, isPort, parseEndpoint } from './address/endpoint-text.ts';
export {
  type AddressScope,
  addressFamily,
  addressScope,
  addressToBytes,
  bytesToAddress,
  canonicalAddress,
  isIpAddress,
  isLinkLocal,
  isLoopback,
  isPrivateAddress,
  isUnspecified,
  unmapAddress,
} from './address/ip.ts';
export { broadcastAddress, inSubnet, parseSubnet, type Subnet, subnetHosts, subnetOf } from './address/subnet.ts';
export type {
  CapturedEndpoint,
  CapturedPacket,
  CaptureDirection,
  CaptureFormat,
  CaptureProblem,
  CaptureProblemCode,
} from './capture/captured-packet.ts';
export {
  CaptureError,
  type CaptureErrorCode,
  type PcapPacket,
  PcapWriter,
  type PcapWriterOptions,
} from './capture/pcap-writer.ts';
export {
  type CaptureReport,
  detectCaptureFormat,
  type ReadCaptureOptions,
  readCapture,
} from './capture/read-capture.ts';
export { formatEndpoint, sameEndpoint } from './endpoint.ts';
export { NetError, type NetErrorCode } from './net-error.ts';
export type {
  Endpoint,
  InterfaceAddress,
  Network,
  TcpConnection,
  TcpConnectOptions,
  TcpHandlers,
  TcpListener,
  TcpListenOptions,
  TlsClientOptions,
  TlsServerOptions,
  UdpHandlers,
  UdpOptions,
  UdpSocket,
} from './network.ts';
export { NodeNetwork } from './node/node-network.ts';
export { formatPacketEvent, type PacketEvent, type PacketHook } from './simulated/fabric.ts';
export type { HostOptions, InterfaceOptions, SimulatedHost, SimulatedInterface } from './simulated/host.ts';
export type { FirewallOptions, FirewallPolicy, HostFirewall } from './simulated/host-firewall.ts';
export {
  type LanOptions,
  SimulatedInternet,
  type SimulatedInternetComponents,
  type SimulatedInternetOptions,
} from './simulated/internet.ts';
export type { SimulatedLan } from './simulated/lan.ts';
export type { Link, LinkConditions, LinkOptions } from './simulated/link.ts';
export type { SimulatedNat } from './simulated/nat.ts';
export { type NatKind, natKinds } from './simulated/nat-kinds.ts';
export type { NatBehaviour, NatDependence, NatOptions, PortAllocation } from './simulated/nat-options.ts';
export type { DropReason, PacketCounters, SimulatedPacket, TcpSegment } from './simulated/packet.ts';
