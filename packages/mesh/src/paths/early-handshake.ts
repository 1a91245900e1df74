import type { Clock } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { ConnectivityChecks } from '@towpath/stun';
import type { SendDatagram } from '../peer-path.ts';
import type { PathTransport } from './path-socket.ts';

export interface EarlyHandshakeComponents {
  clock: Clock;
  checks: Pick<ConnectivityChecks, 'probe'>;
}

export interface EarlyHandshakeOptions {
  /** True while there is no path, and the policy allows a relay. */
  isNeeded(): boolean;
  /** True for the addresses of relays that this node has measured itself. */
  isRelay(address: string): boolean;
  /** Called with a way to send the initiation that waits for a path. */
  onChecked?: ((send: SendDatagram) => void) | undefined;
}

/**
 * Both ends ask for permissions and check at the same time: what comes to the relay before the peer's permission is dropped.
 * After this time, ms, it is sent once more instead of with the next check, 250 ms later.
 */
const AGAIN_MS = 10;

/**
 * Lets WireGuard's handshake begin while a path through the peer's relayed address is still being verified, which saves the
 * round trip of the check. Only towards relays that this node uses itself: any other address is what the peer says it is, and
 * may be somebody else's. docs/protocol/mesh.md, "Handshakes".
 */
export class EarlyHandshake {
  readonly #components: EarlyHandshakeComponents;
  readonly #options: EarlyHandshakeOptions;

  constructor(components: EarlyHandshakeComponents, options: EarlyHandshakeOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** A check was sent: the initiation follows it, and both are sent once more. */
  checked(transport: PathTransport, remote: Endpoint, signal: AbortSignal): void {
    if (!this.#offer(transport, remote)) return;
    this.#again(transport, remote, signal).catch(() => {});
  }

  /** A check of the peer came from there, so that its relay lets this node's datagrams pass. */
  heard(transport: PathTransport, remote: Endpoint): void {
    this.#offer(transport, remote);
  }

  #offer(transport: PathTransport, remote: Endpoint): boolean {
    const { isNeeded, isRelay, onChecked } = this.#options;
    if (transport.relay !== undefined || !isNeeded() || !isRelay(remote.address)) return false;
    onChecked?.((datagram) => transport.send(datagram, remote));
    return true;
  }

  async #again(transport: PathTransport, remote: Endpoint, signal: AbortSignal): Promise<void> {
    const { clock, checks } = this.#components;
    await clock.sleep(AGAIN_MS, signal);
    if (!this.#options.isNeeded()) return;
    // The peer takes datagrams of WireGuard only from where a check has come.
    const checked = checks.probe(remote, { socket: transport.stun, signal });
    this.#offer(transport, remote);
    await checked;
  }
}
