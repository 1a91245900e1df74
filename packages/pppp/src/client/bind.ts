import { errorMessage, type Log } from '@towpath/core';
import type { Network, UdpOptions, UdpSocket } from '@towpath/net';

/** Requested receive buffer; the system may grant less: a burst of a full window of 1000 packets fits. */
const SOCKET_BUFFER_BYTES: number = 2 * 1024 * 1024;

/** A bound socket, and why it does not have the preferred port. */
export interface BoundSocket {
  socket: UdpSocket;
  portLost: Error | undefined;
}

/** Binds the preferred port, or another one when it is in use (requirement B6). */
export async function bindPreferred(
  network: Network,
  log: Log,
  preferredPort: number | undefined,
  options: UdpOptions,
): Promise<BoundSocket> {
  const wanted = { receiveBufferBytes: SOCKET_BUFFER_BYTES, sendBufferBytes: SOCKET_BUFFER_BYTES, ...options };
  if (preferredPort === undefined) return { socket: await network.bindUdp(wanted), portLost: undefined };
  try {
    return { socket: await network.bindUdp({ ...wanted, port: preferredPort }), portLost: undefined };
  } catch (cause) {
    const portLost = cause instanceof Error ? cause : new Error(errorMessage(cause));
    const socket = await network.bindUdp(wanted);
    log.warn(`Local port ${preferredPort} is in use; using ${socket.local.port} instead`, {
      preferredPort,
      localPort: socket.local.port,
      reason: errorMessage(cause),
    });
    return { socket, portLost };
  }
}
