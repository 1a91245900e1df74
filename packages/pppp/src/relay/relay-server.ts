import { deadlineInterval, errorMessage, type Log, silentLog, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint, type UdpSocket } from '@towpath/net';
import { CipherSet } from '../cipher/cipher-set.ts';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { decodeMessage, encodeMessage, type Message } from '../codec/message.ts';
import { ipv4ToNumber } from '../codec/socket-address.ts';
import type { ServerComponents } from '../rendezvous/options.ts';
import { Admission, DEFAULT_ADMISSION_LIMITS, type Source, verifiedSource } from '../server/admission.ts';
import { listenOnPair } from '../server/port-pair.ts';
import { DEFAULT_TCP_LIMITS, type TcpClient, TcpFront } from '../server/tcp-front.ts';
import { RelayMeter } from './meter.ts';
import {
  DEFAULT_RELAY_LIMITS,
  newRelayCounters,
  type RelayCounters,
  type RelayMetrics,
  type RelayOptions,
} from './options.ts';
import { type RelaySession, RelaySide, type RelayTcpState, type SideCarrier } from './relay-session.ts';
import { SessionPort } from './session-port.ts';
import { SessionTable } from './session-table.ts';

const DEFAULT_PORT = 32_110;
const DEFAULT_SESSION_PORTS = 64;
const SWEEP_INTERVAL_MS = 1_000;
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** A session that was silent for so long may be replaced by a new one from the same address. */
const STALE_MS = 3_000;

type Introduction = Extract<Message, { type: 'RLY_PKT' }>;

/**
 * A relay: reserves session ports, learns one address per side, and passes their datagrams on byte for byte
 * (spec/pppp §5.5, 6.4). Either side may come over TCP instead, to one port, with the same messages in frames (§5.7).
 * What protects it and others is said at `AdmissionLimits` and `RelayLimits`.
 *
 * @example
 * await using relay = await RelayServer.listen({ network, clock, random }, { port: 32110 });
 */
export class RelayServer implements AsyncDisposable {
  readonly #components: ServerComponents;
  readonly #log: Log;
  readonly #ciphers: CipherSet;
  readonly #counters: RelayCounters = newRelayCounters();
  readonly #admission: Admission;
  readonly #meter: RelayMeter;
  readonly #sessions: SessionTable;
  readonly #tcp: TcpFront<RelayTcpState>;
  readonly #ports: SessionPort[] = [];
  readonly #sweeper: Timer;
  #base: UdpSocket | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Opens the base port, the session ports and the TCP port.
   * @throws NetError when one of them cannot be had; then nothing stays open.
   */
  static async listen(components: ServerComponents, options: RelayOptions = {}): Promise<RelayServer> {
    const server = new RelayServer(components, options);
    try {
      await server.#open(options);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  private constructor(components: ServerComponents, options: RelayOptions) {
    const { clock, random } = components;
    const limits = { ...DEFAULT_RELAY_LIMITS, ...options.limits };
    this.#components = components;
    this.#log = (components.log ?? silentLog).child('RELAY');
    this.#ciphers = new CipherSet(options.keys);
    this.#admission = new Admission({ ...DEFAULT_ADMISSION_LIMITS, ...options.limits });
    this.#meter = new RelayMeter(limits, this.#counters, clock.now());
    this.#sessions = new SessionTable(random, limits, this.#meter, this.#counters);
    this.#tcp = new TcpFront<RelayTcpState>(
      () => clock.now(),
      random,
      { ...DEFAULT_TCP_LIMITS, ...options.tcpLimits },
      {
        onMessage: (client, message) => this.#onFrame(client, message),
        onClose: ({ state }) => {
          if (state?.side !== undefined) this.#sessions.end(state.side.session, true);
        },
      },
    );
    this.#sweeper = deadlineInterval({ clock, intervalMs: SWEEP_INTERVAL_MS, onTick: () => this.#sweep() });
  }

  /** The bound UDP base port. */
  get endpoint(): Endpoint {
    return this.#base!.local;
  }

  /** The bound TCP port, where there is one. */
  get tcpEndpoint(): Endpoint | undefined {
    return this.#tcp.local;
  }

  /** The bound UDP session ports. */
  get sessionEndpoints(): Endpoint[] {
    return this.#ports.map(({ socket }) => socket.local);
  }

  get metrics(): RelayMetrics {
    return {
      ...this.#counters,
      ...this.#admission.counters,
      sessions: this.#sessions.size,
      pendingReservations: this.#sessions.pending,
      clients: this.#meter.clients,
      sources: this.#admission.sources,
      tcpConnections: this.#tcp.connections,
      tcp: { ...this.#tcp.counters },
    };
  }

  /** Tells every session that it is over, then closes every socket and connection. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open({ address, port = DEFAULT_PORT, tcpPort, ...options }: RelayOptions): Promise<void> {
    const { network, clock } = this.#components;
    await listenOnPair({
      udpPort: port,
      tcpPort,
      bindUdp: async () => {
        this.#base = await network.bindUdp({
          address,
          port,
          receiveBufferBytes: RECEIVE_BUFFER_BYTES,
          onMessage: (data, from) => this.#onRequest(data, from),
          onError: (error) => {
            this.#counters.socketErrors++;
            this.#log.debug('socket error', { error: errorMessage(error) });
          },
        });
        return this.#base;
      },
      listenTcp: (at) => this.#tcp.listen(network, address, at),
    });
    const first = options.firstSessionPort ?? 0;
    for (let i = 0; i < (options.sessionPorts ?? DEFAULT_SESSION_PORTS); i++) {
      const local = { address, port: first === 0 ? 0 : first + i };
      this.#ports.push(
        await SessionPort.bind(network, local, {
          now: () => clock.now(),
          onIntroduction: (at, data, from, side) => this.#onIntroduction(at, data, from, side),
        }),
      );
    }
    this.#log.info('listening', { udp: formatEndpoint(this.endpoint), tcp: this.#tcp.local?.port });
  }

  async #close(): Promise<void> {
    this.#sweeper.cancel();
    this.#sessions.clear();
    const sockets = this.#ports.map(({ socket }) => socket);
    if (this.#base !== undefined) sockets.push(this.#base);
    await Promise.all([...sockets.map((socket) => socket.close()), this.#tcp.close()]);
    this.#admission.clear();
    this.#meter.clear();
  }

  /** A datagram at the base port. */
  #onRequest(data: Uint8Array, from: Endpoint): void {
    const opened = this.#ciphers.open(data);
    const ip = ipv4ToNumber(from.address);
    if (opened === undefined || ip === undefined) {
      this.#counters.malformed++;
      return;
    }
    const now = this.#components.clock.now();
    const source = this.#admission.admit(ip, from.port, data.length, now);
    if (source === undefined) return;
    const { cipher } = opened;
    const answer = this.#answer(decodeMessage(opened.clear), source, ip, from, now);
    if (answer !== undefined) this.#base?.send(cipher === undefined ? answer : cipher.encipher(answer, answer), from);
  }

  /**
   * Answers RLY_HELLO and RLY_PORT. A relay that is full is silent, so that clients choose another.
   * @param from where a client stands that comes over UDP
   */
  #answer(
    message: ReturnType<typeof decodeMessage>,
    source: Source,
    ip: number,
    from: Endpoint | undefined,
    now: number,
  ): Uint8Array | undefined {
    if (message.type === 'RLY_HELLO') {
      this.#counters.hellos++;
      const answer = encodeMessage({ type: 'RLY_HELLO_ACK' });
      return !this.#sessions.full && this.#admission.charge(source, answer.length) ? answer : undefined;
    }
    if (message.type !== 'RLY_PORT') {
      this.#counters[message.type === 'malformed' ? 'malformed' : 'ignored']++;
      return undefined;
    }
    if (!this.#admission.chargeOrGrant(source, ip, RLY_PORT_ACK_BYTES, now)) return undefined;
    const reserved = this.#sessions.reserve(this.#ports, ip, { uid: message.uid, client: from }, now);
    if (reserved === undefined) return undefined;
    const { magic, port } = reserved;
    return encodeMessage({ type: 'RLY_PORT_ACK', magic, port: port.socket.local.port });
  }

  /** A RLY_PKT at a session port, or a datagram of a stranger. */
  #onIntroduction(port: SessionPort, data: Uint8Array, from: Endpoint, known: RelaySide | undefined): void {
    const opened = this.#ciphers.open(data);
    const message = opened && decodeMessage(opened.clear);
    if (message?.type !== 'RLY_PKT') {
      this.#counters.droppedStrangers++;
      return;
    }
    if (this.#sessions.portOf(message.magic) !== port) {
      this.#counters.wrongMagic++;
      return;
    }
    const now = this.#components.clock.now();
    if (known !== undefined && known.session.magic !== message.magic) {
      // Packets of this address could not be told apart; only a session that is dead gives way.
      if (!known.session.closing && now - known.session.lastActiveMs < STALE_MS) {
        this.#counters.portConflicts++;
        return;
      }
      this.#sessions.end(known.session, false);
    }
    const session = this.#sessions.claim(message.magic, message.uid, now);
    // The same address as the reservation's: it has received the magic there.
    const proven = message.side === 'client' && ipv4ToNumber(from.address) === session?.account.ip;
    const carrier = { socket: port.socket, endpoint: from };
    this.#introduce(session, message, carrier, opened?.cipher, proven, now);
  }

  #introduce(
    session: RelaySession | undefined,
    message: Introduction,
    carrier: SideCarrier,
    cipher: StreamCipher | undefined,
    proven: boolean,
    now: number,
  ): RelaySide | undefined {
    if (session === undefined || session.uid !== message.uid) {
      this.#counters.wrongMagic++;
      return undefined;
    }
    const there = session[message.side];
    if (there !== undefined) {
      // A side's address is fixed: others who know the magic are not let in.
      if (!sameCarrier(there.carrier, carrier)) this.#counters.wrongMagic++;
      else if (session.ready) there.tell({ type: 'RLY_RDY', uid: session.uid });
      return there;
    }
    const side = new RelaySide(session, carrier, cipher, proven);
    if (session.closing) {
      // The other side is gone already; no session is begun that would have to time out.
      side.tell({ type: 'CLOSE' });
      return undefined;
    }
    session[message.side] = side;
    session.lastActiveMs = now;
    if (carrier.endpoint !== undefined) session.port.attach(carrier.endpoint, side);
    if (!session.ready) return side;
    this.#counters.sessionsReady++;
    for (const each of [session.client, session.device]) each?.tell({ type: 'RLY_RDY', uid: session.uid });
    return side;
  }

  /** A message over TCP: a session packet once the connection has introduced itself, a request before. */
  #onFrame(client: TcpClient<RelayTcpState>, data: Uint8Array): void {
    const now = this.#components.clock.now();
    client.state ??= { source: verifiedSource(now), side: undefined };
    const { source, side } = client.state;
    // One that still waits may ask for another port.
    if (side !== undefined && (side.session.ready ? !side.isIntroduction(data) : side.isClose(data))) {
      side.session.forward(side, data, now);
      return;
    }
    if (!this.#admission.admitFrom(source, now)) return;
    const opened = this.#ciphers.open(data);
    if (opened === undefined) {
      this.#counters.malformed++;
      return;
    }
    const { clear, cipher } = opened;
    const message = decodeMessage(clear);
    if (message.type === 'RLY_PKT') {
      const session = this.#sessions.claim(message.magic, message.uid, now);
      if (side !== undefined && session !== undefined && side.session !== session) {
        if (side.session.ready) {
          this.#counters.portConflicts++;
          return;
        }
        // It has waited there in vain, for a device to which that port was busy.
        this.#sessions.end(side.session, false);
      }
      const introduced = this.#introduce(session, message, { tcp: client }, cipher, true, now);
      if (introduced?.carrier.tcp === client) client.state.side = introduced;
      return;
    }
    const answer = this.#answer(message, source, client.ip, undefined, now);
    if (answer !== undefined) client.send(cipher === undefined ? answer : cipher.encipher(answer, answer));
  }

  #sweep(): void {
    const now = this.#components.clock.now();
    this.#sessions.sweep(now);
    this.#meter.sweep(now);
    this.#tcp.sweep(now);
  }
}

/** Length of the answer to RLY_PORT. */
const RLY_PORT_ACK_BYTES = 12;

function sameCarrier(a: SideCarrier, b: SideCarrier): boolean {
  if (a.endpoint !== undefined && b.endpoint !== undefined) return sameEndpoint(a.endpoint, b.endpoint);
  return a.tcp !== undefined && a.tcp === b.tcp;
}
