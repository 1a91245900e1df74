import { deadlineInterval, errorMessage, type Log, silentLog, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, type UdpHandlers, type UdpSocket } from '@towpath/net';
import { CipherSet, type OpenedDatagram } from '../cipher/cipher-set.ts';
import { ipv4ToNumber } from '../codec/socket-address.ts';
import { PpppError } from '../pppp-error.ts';
import { Admission, type AdmissionCounters, type AdmissionLimits, DEFAULT_ADMISSION_LIMITS } from './admission.ts';
import type { Source } from './admission.ts';
import type { ServerComponents } from './components.ts';
import { listenOnPair } from './port-pair.ts';
import { DEFAULT_TCP_LIMITS, type TcpClient, type TcpCounters, TcpFront, type TcpLimits } from './tcp-front.ts';

/** Room for a burst while the process is busy: about 20,000 small datagrams. The system may give less. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** Options of both PPPP servers. */
export interface ShellOptions {
  /** Network keys that are understood besides plaintext. @default all that are publicly known */
  keys?: readonly string[];
  limits?: Partial<AdmissionLimits>;
  tcpLimits?: Partial<TcpLimits>;
}

/** What happens at the sockets of a server. */
export interface ShellHandlers<State> {
  /** A datagram of a source that is within its limits. `now`: clock time, ms. */
  onDatagram(socket: UdpSocket, opened: OpenedDatagram, from: Endpoint, ip: number, source: Source, now: number): void;
  /** A message on a TCP connection, in its cipher. */
  onFrame(client: TcpClient<State>, data: Uint8Array, now: number): void;
  /** A TCP connection is gone. */
  onClose(client: TcpClient<State>): void;
  onSweep(now: number): void;
}

/** Counters of {@link ServerShell}; a snapshot. */
export interface ShellCounters {
  /** Datagrams to the UDP ports and messages on TCP connections. */
  datagrams: number;
  /** No PPPP message in a known cipher, or a malformed one. */
  malformed: number;
  socketErrors: number;
}

/** What {@link ServerShell.metrics} gives. */
export interface ShellMetrics extends AdmissionCounters, ShellCounters {
  /** Addresses and ports that are remembered. */
  sources: number;
  tcpConnections: number;
  tcp: TcpCounters;
}

/** The outside of a PPPP server: its UDP ports, its TCP port, ciphers, limits on sources, and a periodic sweep. */
export class ServerShell<State> {
  readonly log: Log;
  readonly admission: Admission;
  readonly ciphers: CipherSet;
  readonly counters: ShellCounters = { datagrams: 0, malformed: 0, socketErrors: 0 };
  readonly tcp: TcpFront<State>;
  readonly #components: ServerComponents;
  readonly #handlers: ShellHandlers<State>;
  readonly #sockets: Set<UdpSocket> = new Set();
  readonly #sweeper: Timer;

  /**
   * Opens nothing yet.
   * @param sweepMs time between two calls of `onSweep`
   */
  constructor(
    components: ServerComponents,
    options: ShellOptions & { scope: string; sweepMs: number },
    handlers: ShellHandlers<State>,
  ) {
    const { clock, random } = components;
    this.#components = components;
    this.#handlers = handlers;
    this.log = (components.log ?? silentLog).child(options.scope);
    this.ciphers = new CipherSet(options.keys);
    this.admission = new Admission({ ...DEFAULT_ADMISSION_LIMITS, ...options.limits });
    this.tcp = new TcpFront<State>(
      { clock, random },
      { ...DEFAULT_TCP_LIMITS, ...options.tcpLimits },
      {
        onMessage: (client, message) => {
          this.counters.datagrams++;
          handlers.onFrame(client, message, clock.now());
        },
        onClose: (client) => handlers.onClose(client),
      },
    );
    this.#sweeper = deadlineInterval({
      clock,
      intervalMs: options.sweepMs,
      onTick: () => {
        const now = clock.now();
        this.tcp.sweep(now);
        handlers.onSweep(now);
      },
    });
  }

  get metrics(): ShellMetrics {
    return {
      ...this.counters,
      ...this.admission.counters,
      sources: this.admission.sources,
      tcpConnections: this.tcp.connections,
      tcp: { ...this.tcp.counters },
    };
  }

  /**
   * Opens a UDP port and its TCP port.
   * @param udpPort 0: chosen by the system
   * @param tcpPort undefined: the number of the UDP port; false: none
   * @throws NetError when one of them cannot be had
   * @throws PpppError `bad-argument` for an IPv6 address: messages of PPPP have room for IPv4 addresses only
   */
  async open(address: string | undefined, udpPort: number, tcpPort: number | false | undefined): Promise<UdpSocket> {
    if (address?.includes(':')) {
      throw new PpppError(
        'bad-argument',
        `PPPP uses IPv4 only; ${address} is an IPv6 address. Next: give an IPv4 address.`,
      );
    }
    return listenOnPair({
      udpPort,
      tcpPort,
      bindUdp: async () => {
        const socket: UdpSocket = await this.bind(address, udpPort, {
          onMessage: (data, from) => this.#onDatagram(socket, data, from),
          onError: (error) => {
            this.counters.socketErrors++;
            this.log.debug('socket error', { error: errorMessage(error) });
          },
        });
        return socket;
      },
      listenTcp: (port) => this.listenTcp(address, port),
    });
  }

  /** Opens a TCP port alone. @throws NetError when it cannot be had */
  listenTcp(address: string | undefined, port: number): Promise<void> {
    return this.tcp.listen(this.#components.network, address, port);
  }

  /** Opens a UDP socket that is closed with the server. @throws NetError when the port cannot be had */
  async bind(
    address: string | undefined,
    port: number,
    handlers: UdpHandlers,
    sendBufferBytes?: number,
  ): Promise<UdpSocket> {
    const socket = await this.#components.network.bindUdp({
      address,
      port,
      receiveBufferBytes: RECEIVE_BUFFER_BYTES,
      sendBufferBytes,
      ...handlers,
    });
    this.#sockets.add(socket);
    return socket;
  }

  /** Deciphers a message; undefined, and counted, when it is none in a known cipher. */
  decipher(data: Uint8Array): OpenedDatagram | undefined {
    const opened = this.ciphers.open(data);
    if (opened === undefined) this.counters.malformed++;
    return opened;
  }

  logListening(udp: readonly Endpoint[]): void {
    this.log.info('listening', { udp: udp.map(formatEndpoint), tcp: this.tcp.local?.port });
  }

  /** Closes every socket and connection. */
  async close(): Promise<void> {
    this.#sweeper.cancel();
    await Promise.all([...[...this.#sockets].map((socket) => socket.close()), this.tcp.close()]);
    this.admission.clear();
  }

  #onDatagram(socket: UdpSocket, data: Uint8Array, from: Endpoint): void {
    this.counters.datagrams++;
    // What is not PPPP is dropped before it costs a place in any table.
    const ip = ipv4ToNumber(from.address);
    const opened = ip === undefined ? undefined : this.ciphers.open(data);
    if (ip === undefined || opened === undefined) {
      this.counters.malformed++;
      return;
    }
    const now = this.#components.clock.now();
    const source = this.admission.admit(ip, from.port, data.length, now);
    if (source !== undefined) this.#handlers.onDatagram(socket, opened, from, ip, source, now);
  }
}
