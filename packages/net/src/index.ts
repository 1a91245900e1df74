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
