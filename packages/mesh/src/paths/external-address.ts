import { AbortedError, type Clock, errorMessage, isAbort, type Log, type Random, Wakeup } from '@towpath/core';
import { type Endpoint, sameEndpoint } from '@towpath/net';
import type { PathSocket } from './path-socket.ts';
import { askExternal } from './puncher.ts';

export interface ExternalAddressOptions {
  /** STUN servers of IPv4. */
  servers(signal: AbortSignal): Promise<Endpoint[]>;
  /** How long a mapping of a NAT is kept without traffic, ms. */
  keepAliveMs(): number;
  onChange(): void;
}

/** Without an answer the servers are asked again after this time, ms. */
const AGAIN_MS = 30_000;

/** Keeps the mapping of one path socket at its NAT, and knows the address that servers see. */
export class ExternalAddress {
  readonly #components: { clock: Clock; random: Random; log: Log };
  readonly #socket: PathSocket;
  readonly #options: ExternalAddressOptions;
  readonly #closing = new AbortController();
  readonly #wakeup: Wakeup;
  readonly #running: Promise<void>;
  #endpoint: Endpoint | undefined;

  constructor(
    components: { clock: Clock; random: Random; log: Log },
    socket: PathSocket,
    options: ExternalAddressOptions,
  ) {
    this.#components = components;
    this.#socket = socket;
    this.#options = options;
    this.#wakeup = new Wakeup(components);
    this.#running = this.#run();
  }

  /** Undefined until a server has answered, and while none does. */
  get endpoint(): Endpoint | undefined {
    return this.#endpoint;
  }

  /** Asks now: the network or the servers have changed. */
  restart(): void {
    this.#wakeup.wake();
  }

  async close(): Promise<void> {
    this.#closing.abort(new AbortedError('The uplink is not used any more.'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const endpoint = await this.#ask(signal);
      if (signal.aborted) return;
      const before = this.#endpoint;
      this.#endpoint = endpoint;
      const isSame = before !== undefined && endpoint !== undefined && sameEndpoint(before, endpoint);
      if (!isSame && before !== endpoint) this.#options.onChange();
      await this.#wakeup.wait(endpoint === undefined ? AGAIN_MS : this.#options.keepAliveMs(), signal).catch(() => {});
    }
  }

  async #ask(signal: AbortSignal): Promise<Endpoint | undefined> {
    const servers = await this.#options.servers(signal).catch(() => []);
    for (const server of servers) {
      try {
        return await askExternal(this.#components, { socket: this.#socket, server, signal });
      } catch (error) {
        if (!isAbort(error)) this.#components.log.debug(`A server told no address: ${errorMessage(error)}`);
        if (signal.aborted) return undefined;
      }
    }
    return undefined;
  }
}
