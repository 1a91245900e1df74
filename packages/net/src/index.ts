export { isPort, parseEndpoint } from './address/endpoint-text.ts';
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
export { openOnChosenPort } from './chosen-port.ts';
export { DatagramRoutes, datagramKind } from './datagram-routes.ts';
export type { DefaultRoute, DefaultRouteOptions } from './default-route.ts';
export { DelegatingNetwork, DerivedUdpSocket } from './delegating-network.ts';
export { ConnectionLimit } from './connection-limit.ts';
export { type Endpoint, formatEndpoint, sameEndpoint } from './endpoint.ts';
export { NetError, type NetErrorCode } from './net-error.ts';
export type {
  InterfaceAddress,
  Network,
  ResolveOptions,
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
export type { NetworkChange, NetworkChanges } from './network-changes.ts';
export { limitServer, markUsed } from './node/admit-socket.ts';
export { limitPipelining } from './node/limit-pipelining.ts';
export { NodeNetwork } from './node/node-network.ts';
