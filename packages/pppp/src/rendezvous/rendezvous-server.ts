import { deadlineInterval, errorMessage, type Log, silentLog, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, type UdpSocket } from '@towpath/net';
import { CipherSet } from '../cipher/cipher-set.ts';
import { ipv4ToNumber } from '../codec/socket-address.ts';
import { decodeMessage } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import { Admission, DEFAULT_ADMISSION_LIMITS, type Source, verifiedSource } from '../server/admission.ts';
import { listenOnPair } from '../server/port-pair.ts';
import { DEFAULT_TCP_LIMITS, type TcpClient, TcpFront } from '../server/tcp-front.ts';
import { DEFAULT_DEVICE_LIMITS, DeviceRegistry } from './device-registry.ts';
import { newCounters, RendezvousDesk } from './desk.ts';
import type { RendezvousCounters, RendezvousMetrics, RendezvousOptions, ServerComponents } from './options.ts';
import { Peer } from './peer.ts';

const DEFAULT_PORT = 32_100;

/** How often silent connections and offline devices are cleared away. */
const SWEEP_INTERVAL_MS = 10_000;

/** Room for a burst while the process is busy: about 20,000 small datagrams. The system may give less. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/**
 * A rendezvous: devices log in, clients ask for them, and both are told whom to punch or which relay to use
 * (spec/pppp §5.1, 5.5, 6.3–6.5). Plain and enciphered datagrams are answered in kind. What protects it and others
 * is said at `AdmissionLimits`.
 *
 * @example
 * await using rendezvous = await RendezvousServer.listen({ network, clock, random }, { ports: [32100] });
 */
export class RendezvousServer implements AsyncDisposable {
  readonly #components: ServerComponents;
  readonly #log: Log;
  readonly #ciphers: CipherSet;
  readonly #admission: Admission;
  readonly #devices: DeviceRegistry;
  readonly #counters: RendezvousCounters = newCounters();
  readonly #desk: RendezvousDesk;
  readonly #tcp: TcpFront<Source>;
  readonly #sockets: UdpSocket[] = [];
  readonly #sweeper: Timer;
  #closing: Promise<void> | undefined;

  /**
   * Opens the ports.
   * @throws NetError when a port cannot be had, CodecError `address-invalid` when a relay is no IPv4 endpoint; then
   *   nothing stays open.
   */
  static async listen(components: ServerComponents, options: RendezvousOptions = {}): Promise<RendezvousServer> {
    const server = new RendezvousServer(components, options);
    try {
      await server.#open(options);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  private constructor(components: ServerComponents, options: RendezvousOptions) {
    const { clock, random } = components;
    this.#components = components;
    this.#log = (components.log ?? silentLog).child('RENDEZVOUS');
    this.#ciphers = new CipherSet(options.keys);
    this.#admission = new Admission({ ...DEFAULT_ADMISSION_LIMITS, ...options.limits });
    this.#devices = new DeviceRegistry({ ...DEFAULT_DEVICE_LIMITS, ...options.limits });
    this.#desk = new RendezvousDesk(random, options, this.#admission, this.#devices, this.#counters);
    const limits = { ...DEFAULT_TCP_LIMITS, ...options.tcpLimits };
    this.#tcp = new TcpFront<Source>(() => clock.now(), random, limits, {
      onMessage: (client, message) => this.#onFrame(client, message),
      onClose: ({ state: source }) => {
        if (source?.uid !== undefined) this.#devices.remove(source.uid, source);
      },
    });
    this.#sweeper = deadlineInterval({ clock, intervalMs: SWEEP_INTERVAL_MS, onTick: () => this.#sweep() });
  }

  /** The bound UDP ports, in the order of `ports`. */
  get endpoints(): Endpoint[] {
    return this.#sockets.map((socket) => socket.local);
  }

  /** The bound TCP port, where there is one. */
  get tcpEndpoint(): Endpoint | undefined {
    return this.#tcp.local;
  }

  get metrics(): RendezvousMetrics {
    return {
      ...this.#counters,
      ...this.#admission.counters,
      devices: this.#devices.size,
      sources: this.#admission.sources,
      tcpConnections: this.#tcp.connections,
      tcp: { ...this.#tcp.counters },
    };
  }

  /** Closes every socket and connection and forgets everything. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open({ address, ports = [DEFAULT_PORT], tcpPort }: RendezvousOptions): Promise<void> {
    const { network } = this.#components;
    for (const [at, port] of ports.entries()) {
      await listenOnPair({
        udpPort: port,
        tcpPort: at === 0 ? tcpPort : false,
        bindUdp: async () => {
          const socket = await this.#bind(address, port);
          this.#sockets[at] = socket;
          return socket;
        },
        listenTcp: (tcp) => this.#tcp.listen(network, address, tcp),
      });
    }
    // Without UDP there may still be TCP.
    if (ports.length === 0 && tcpPort !== false) await this.#tcp.listen(network, address, tcpPort ?? 0);
    this.#log.info('listening', { udp: this.endpoints.map(formatEndpoint), tcp: this.#tcp.local?.port });
  }

  async #bind(address: string | undefined, port: number): Promise<UdpSocket> {
    const socket: UdpSocket = await this.#components.network.bindUdp({
      address,
      port,
      receiveBufferBytes: RECEIVE_BUFFER_BYTES,
      onMessage: (data, from) => this.#onDatagram(socket, data, from),
      onError: (error) => {
        this.#counters.socketErrors++;
        this.#log.debug('socket error', { error: errorMessage(error) });
      },
    });
    return socket;
  }

  async #close(): Promise<void> {
    this.#sweeper.cancel();
    await Promise.all([...this.#sockets.map((socket) => socket.close()), this.#tcp.close()]);
    this.#devices.clear();
    this.#admission.clear();
  }

  #onDatagram(socket: UdpSocket, data: Uint8Array, from: Endpoint): void {
    this.#counters.datagrams++;
    // What is no PPPP at all is dropped before it costs a place in any table.
    const opened = this.#ciphers.open(data);
    const ip = ipv4ToNumber(from.address);
    if (opened === undefined || ip === undefined) {
      this.#counters.malformed++;
      return;
    }
    const now = this.#components.clock.now();
    const source = this.#admission.admit(ip, from.port, data.length, now);
    if (source === undefined) return;
    this.#handle(opened.clear, new Peer(socket, from, ip, source, opened.cipher), now);
  }

  #onFrame(client: TcpClient<Source>, data: Uint8Array): void {
    this.#counters.datagrams++;
    const now = this.#components.clock.now();
    client.state ??= verifiedSource(now);
    const source = client.state;
    if (!this.#admission.admitFrom(source, now)) return;
    const opened = this.#ciphers.open(data);
    if (opened === undefined) {
      this.#counters.malformed++;
      return;
    }
    this.#handle(opened.clear, new Peer(client, client.remote, client.ip, source, opened.cipher), now);
  }

  #handle(clear: Uint8Array, peer: Peer, now: number): void {
    const message = decodeMessage(clear);
    if (message.type === 'malformed') {
      this.#counters.malformed++;
      if (message.code === MessageType.DEV_LGN_DSK) this.#counters.loginsUnreadable++;
      return;
    }
    this.#desk.serve(message, peer, now);
  }

  #sweep(): void {
    const now = this.#components.clock.now();
    this.#devices.sweep(now);
    this.#tcp.sweep(now);
  }
}
