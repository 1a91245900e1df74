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
