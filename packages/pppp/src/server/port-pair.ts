import { openOnChosenPort, type UdpSocket } from '@towpath/net';

export interface PortPair {
  /** 0: chosen by the system. */
  udpPort: number;
  /** undefined: the UDP port; false: none. */
  tcpPort: number | false | undefined;
  bindUdp(): Promise<UdpSocket>;
  listenTcp(port: number): Promise<void>;
}

/**
 * Opens a UDP port and its TCP port.
 *
 * @returns the UDP socket
 * @throws NetError when they cannot be had; then the UDP socket is closed
 */
export function listenOnPair({ udpPort, tcpPort, bindUdp, listenTcp }: PortPair): Promise<UdpSocket> {
  return openOnChosenPort(udpPort === 0 && tcpPort === undefined, async () => {
    const socket = await bindUdp();
    try {
      if (tcpPort !== false) await listenTcp(tcpPort ?? socket.local.port);
      return socket;
    } catch (error) {
      await socket.close();
      throw error;
    }
  });
}
