import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { addressKey } from './request-guard.ts';

/** How many connections a listener keeps. */
export interface ConnectionLimitOptions {
  /** Open connections in all. */
  readonly total: number;
  /** Open connections of one address. */
  readonly perAddress: number;
  /** Connections of one address that have not sent an accepted request yet: idle, slow, in a TLS handshake. */
  readonly unprovenPerAddress: number;
  /** The same of all addresses. */
  readonly unprovenTotal: number;
}

interface AddressEntry {
  open: number;
  /** In the order of arrival. */
  readonly unproven: Set<Socket>;
}

/**
 * Limits the connections of a listener, from the first packet on: a TLS handshake that is never finished counts. Where a
 * limit of unproven connections is reached, the oldest one of the address, or of the address with most of them, is closed
 * in favour of the new one: idle connections cannot keep new clients out.
 */
export class ConnectionLimits {
  readonly #options: ConnectionLimitOptions;
  readonly #addresses = new Map<string, AddressEntry>();
  readonly #onRefused: (reason: 'too-many-connections' | 'idle-connection') => void;
  #open = 0;
  #unproven = 0;

  constructor(
    components: { onRefused(reason: 'too-many-connections' | 'idle-connection'): void },
    options: ConnectionLimitOptions,
  ) {
    this.#onRefused = components.onRefused;
    this.#options = options;
  }

  get counts(): { open: number; unproven: number } {
    return { open: this.#open, unproven: this.#unproven };
  }

  /** Counts and limits every connection of `server`, plain or TLS. */
  watch(server: Server): void {
    server.on('connection', (socket: Socket) => this.#opened(socket));
  }

  /** A request over the connection with this remote end was accepted: it is no idle connection. */
  prove(address: string | undefined, port: number | undefined): void {
    const key = addressKey(address ?? '');
    const entry = this.#addresses.get(key);
    if (entry === undefined) return;
    // Over TLS the request's socket wraps the one that was counted; both have the same remote port.
    for (const socket of entry.unproven) {
      if (socket.remotePort !== port || socket.remoteAddress !== address) continue;
      entry.unproven.delete(socket);
      this.#unproven--;
      return;
    }
  }

  #opened(socket: Socket): void {
    const key = addressKey(socket.remoteAddress ?? '');
    const entry = this.#addresses.get(key) ?? { open: 0, unproven: new Set<Socket>() };
    const { total, perAddress, unprovenPerAddress, unprovenTotal } = this.#options;
    if (entry.unproven.size >= unprovenPerAddress) this.#closeOldest(entry);
    else if (this.#unproven >= unprovenTotal) this.#closeOldest(this.#mostUnproven());
    if (entry.open >= perAddress || this.#open >= total) {
      const idle = entry.open >= perAddress ? entry : this.#mostUnproven();
      if (idle === undefined || idle.unproven.size === 0) {
        this.#onRefused('too-many-connections');
        socket.destroy();
        return;
      }
      this.#closeOldest(idle);
    }
    this.#addresses.set(key, entry);
    entry.open++;
    entry.unproven.add(socket);
    this.#open++;
    this.#unproven++;
    socket.once('close', () => this.#closed(socket, key, entry));
  }

  #closeOldest(entry: AddressEntry | undefined): void {
    const [oldest] = entry?.unproven ?? [];
    if (entry === undefined || oldest === undefined) return;
    entry.unproven.delete(oldest);
    this.#unproven--;
    this.#onRefused('idle-connection');
    oldest.destroy();
  }

  #mostUnproven(): AddressEntry | undefined {
    let most: AddressEntry | undefined;
    for (const entry of this.#addresses.values()) {
      if (entry.unproven.size > (most?.unproven.size ?? 0)) most = entry;
    }
    return most;
  }

  #closed(socket: Socket, key: string, entry: AddressEntry): void {
    this.#open--;
    entry.open--;
    if (entry.unproven.delete(socket)) this.#unproven--;
    if (entry.open === 0 && this.#addresses.get(key) === entry) this.#addresses.delete(key);
  }
}
