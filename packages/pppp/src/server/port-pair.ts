import { errorCode } from '@towpath/core';
import type { UdpSocket } from '@towpath/net';

/** UDP ports that the system may choose before one must have been free for TCP too. */
const PAIR_TRIES = 16;

export interface PortPair {
  /** 0: chosen by the system. */
  udpPort: number;
  /** undefined: the UDP port; false: none. */
  tcpPort: number | false | undefined;
  bindUdp(): Promise<UdpSocket>;
  listenTcp(port: number): Promise<void>;
}

/**
 * Opens a UDP port and its TCP port. Where the system chooses the UDP port it does not look whether the TCP port of the
 * same number is free: then another is tried.
 *
 * @returns the UDP socket
 * @throws NetError when they cannot be had; then the UDP socket of the last try is open, for the caller to close
 */
export async function listenOnPair({ udpPort, tcpPort, bindUdp, listenTcp }: PortPair): Promise<UdpSocket> {
  const tries = udpPort === 0 && tcpPort === undefined ? PAIR_TRIES : 1;
  for (let left = tries - 1; ; left--) {
    const socket = await bindUdp();
    try {
      if (tcpPort !== false) await listenTcp(tcpPort ?? socket.local.port);
      return socket;
    } catch (error) {
      if (left === 0 || errorCode(error) !== 'address-in-use') throw error;
      await socket.close();
    }
  }
}
