import { type Endpoint, sameEndpoint } from '@towpath/net';

/**
 * The strict firewall of requirement B6: the camera's listen port hears only the (address, port) that spoke to it first, until
 * it is told to forget it.
 */
export class FirstContactFirewall {
  /** Off: everybody is heard, and nobody is remembered. */
  enabled: boolean;
  #first: Endpoint | undefined;

  constructor(enabled: boolean) {
    this.enabled = enabled;
  }

  /** The (address, port) that is let in; undefined before the first contact. */
  get admitted(): Endpoint | undefined {
    return this.#first;
  }

  /** True when a datagram from there is heard. */
  admits(from: Endpoint): boolean {
    if (!this.enabled) return true;
    this.#first ??= { address: from.address, port: from.port };
    return sameEndpoint(this.#first, from);
  }

  /** The next datagram is a first contact again. */
  forget(): void {
    this.#first = undefined;
  }
}
