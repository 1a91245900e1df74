import { type Clock, errorCode, errorMessage, type Log, Repeat, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, type UdpSocket } from '@towpath/net';
import { encodeMessage } from '../codec/message.ts';

/** When the ports are tested, ms after the start: a device has answered by then. */
const ASKED_AT_MS: readonly number[] = [250, 500, 1_000, 2_000, 4_000];

/** Not answered without a session (docs/protocol/pppp.md, "Punch and ready"). */
const QUESTION: Uint8Array = encodeMessage({ type: 'ALIVE' });

export interface ClosedPortCheckComponents {
  network: Network;
  clock: Clock;
  log?: Log | undefined;
}

export interface ClosedPortCheckOptions {
  localAddress?: string;
  /** The ports to test, IPv4 or IPv6. */
  ports: readonly Endpoint[];
  /** True for a port that has answered: it is not tested any more. @default for none */
  isOpen?(port: Endpoint): boolean;
  /** Called once for each port that its host reports as closed (ICMP port unreachable). */
  onClosed(port: Endpoint, error: Error): void;
}

/**
 * Detects closed ports. ICMP errors reach connected sockets only, so each port is tested from its own socket;
 * the socket of an attempt uses several addresses and stays unconnected.
 */
export class ClosedPortCheck {
  readonly #network: Network;
  readonly #options: ClosedPortCheckOptions;
  readonly #log: Log;
  readonly #sockets: Map<string, UdpSocket> = new Map();
  readonly #closedPorts: Set<string> = new Set();
  #asked = 0;
  readonly #rounds: Repeat;
  #over = false;

  constructor({ network, clock, log = silentLog }: ClosedPortCheckComponents, options: ClosedPortCheckOptions) {
    this.#network = network;
    this.#options = options;
    this.#log = log;
    this.#rounds = new Repeat({ clock }, { run: () => this.#askAll() });
    this.#rounds.wake();
  }

  /** Ends it. Idempotent. */
  async close(): Promise<void> {
    this.#over = true;
    this.#rounds.stop();
    await Promise.all([...this.#sockets.values()].map((socket) => socket.close()));
  }

  #askAll(): number {
    const { ports } = this.#options;
    const askedAtMs = ASKED_AT_MS[this.#asked - 1];
    if (askedAtMs !== undefined) for (const port of ports) void this.#ask(port);
    const nextMs = ASKED_AT_MS[this.#asked++];
    if (nextMs === undefined || ports.length === 0) return Number.POSITIVE_INFINITY;
    return nextMs - (askedAtMs ?? 0);
  }

  async #ask(port: Endpoint): Promise<void> {
    const key = formatEndpoint(port);
    if (this.#closedPorts.has(key) || this.#options.isOpen?.(port)) return;
    try {
      const socket = this.#sockets.get(key) ?? (await this.#connect(port, key));
      if (!this.#over) socket.send(QUESTION, port);
    } catch (error) {
      this.#log.debug(`cannot find out whether ${key} is closed`, { error: errorMessage(error) });
    }
  }

  async #connect(port: Endpoint, key: string): Promise<UdpSocket> {
    const socket = await this.#network.bindUdp({
      address: this.#options.localAddress,
      family: port.address.includes(':') ? 6 : 4,
      remote: port,
      onError: (error) => this.#onError(port, key, error),
    });
    if (this.#over) await socket.close();
    else this.#sockets.set(key, socket);
    return socket;
  }

  #onError(port: Endpoint, key: string, error: Error): void {
    if (this.#over || errorCode(error) !== 'connection-refused' || this.#closedPorts.has(key)) return;
    this.#closedPorts.add(key);
    this.#options.onClosed(port, error);
  }
}
