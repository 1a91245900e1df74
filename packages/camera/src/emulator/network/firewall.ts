import { type Endpoint, sameEndpoint } from '@towpath/net';

/**
 * The firewall of requirement B6: the listen port accepts only the (address, port) that sent the first packet, until
 * it is reset.
 */
export class FirstContactFirewall {
  /** Off: all senders are accepted, none is stored. */
  enabled: boolean;
  #first: Endpoint | undefined;

  constructor(enabled: boolean) {
    this.enabled = enabled;
  }

  /** The admitted (address, port); undefined before the first packet. */
  get admitted(): Endpoint | undefined {
    return this.#first;
  }

  /** Returns true when a datagram from there is accepted. */
  admits(from: Endpoint): boolean {
    if (!this.enabled) return true;
    this.#first ??= { address: from.address, port: from.port };
    return sameEndpoint(this.#first, from);
  }

  /** The next sender is admitted. */
  forget(): void {
    this.#first = undefined;
  }
}
