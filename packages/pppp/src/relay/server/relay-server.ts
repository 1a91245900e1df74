import { type Clock, type Events, silentLog } from '@towpath/core';
import { type Endpoint, sameEndpoint, type UdpSocket } from '@towpath/net';
import type { OpenedDatagram } from '../../cipher/cipher-set.ts';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { type DecodedMessage, decodeMessage, encodeMessage, type Message } from '../../codec/message.ts';
import { ipv4ToNumber } from '../../codec/socket-address.ts';
import { type Source, verifiedSource } from '../../server/admission.ts';
import type { RelayComponents } from '../../server/components.ts';
import { Journal } from '../../server/journal.ts';
import { ServerShell } from '../../server/server-shell.ts';
import type { TcpClient } from '../../server/tcp-front.ts';
import { KernelSessions } from './kernel-sessions.ts';
import { RelayMeter } from './meter.ts';
import {
  DEFAULT_RELAY_LIMITS,
  newRelayCounters,
  type RelayCounters,
  type RelayEvents,
  type RelayMetrics,
  type RelayOptions,
} from './options.ts';
import { type RelaySession, RelaySide, type RelayTcpState, type SideCarrier } from './relay-session.ts';
import { SessionPort } from './session-port.ts';
import { SessionTable } from './session-table.ts';

const DEFAULT_PORT = 32_110;
const DEFAULT_SESSION_PORTS = 64;
const SWEEP_MS = 1_000;

/** A session that was silent for this long may be replaced by a new one from the same address. */
const STALE_MS = 3_000;

type Introduction = Extract<Message, { type: 'RLY_PKT' }>;

/**
 * A relay: reserves session ports, learns one address for each side, and forwards their datagrams unchanged
 * (docs/protocol/pppp.md, "Relay messages", "Connecting through a relay"). Either side may use TCP, on one port, with
 * the same messages in frames ("TCP framing"). See `AdmissionLimits` and `RelayLimits` for the limits against abuse.
 *
 * @example
 * await using relay = await RelayServer.listen({ network, clock, random }, { port: 32110 });
 */
export class RelayServer implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #counters: RelayCounters = newRelayCounters();
  readonly #meter: RelayMeter;
  readonly #sessions: SessionTable;
  readonly #kernel: KernelSessions | undefined;
  readonly #journal: Journal<RelayEvents>;
  readonly #shell: ServerShell<RelayTcpState>;
  readonly #ports: SessionPort[] = [];
  #base: UdpSocket | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Opens the base port, the session ports and the TCP port.
   * @throws NetError when one of them cannot be had; then nothing stays open.
   */
  static async listen(components: RelayComponents, options: RelayOptions = {}): Promise<RelayServer> {
    const server = new RelayServer(components, options);
    try {
      await server.#open(options);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  private constructor(components: RelayComponents, options: RelayOptions) {
    const { clock, random } = components;
    const limits = { ...DEFAULT_RELAY_LIMITS, ...options.limits };
    this.#clock = clock;
    this.#journal = new Journal(() => clock.now());
    this.#meter = new RelayMeter(limits, this.#counters, clock.now());
    this.#sessions = new SessionTable({ random, meter: this.#meter, counters: this.#counters }, limits, (session) =>
      this.#onEnded(session),
    );
    const { plane, log = silentLog } = components;
    this.#kernel =
      plane && new KernelSessions({ plane, clock, log: log.child('RELAY'), meter: this.#meter }, { limits });
    this.#shell = new ServerShell<RelayTcpState>(
      components,
      { ...options, scope: 'RELAY', sweepMs: SWEEP_MS },
      {
        onDatagram: (_socket, opened, from, ip, source, now) => this.#onRequest(opened, from, ip, source, now),
        onFrame: (client, data, now) => this.#onFrame(client, data, now),
        onClose: ({ state }) => {
          if (state?.side !== undefined) this.#sessions.end(state.side.session, true);
        },
        onSweep: (now) => {
          this.#sessions.sweep(now, (session) => this.#kernel?.mayBeActive(session) ?? false);
          this.#kernel?.sweep(this.#sessions.all(), now);
          this.#meter.sweep(now);
        },
      },
    );
  }

  /** Events of sessions. */
  get events(): Events<RelayEvents> {
    return this.#journal.events;
  }

  /** The bound UDP base port. */
  get endpoint(): Endpoint {
    return this.#base!.local;
  }

  /** The bound TCP port, where there is one. */
  get tcpEndpoint(): Endpoint | undefined {
    return this.#shell.tcp.local;
  }

  /** The bound UDP session ports. */
  get sessionEndpoints(): Endpoint[] {
    return this.#ports.map(({ socket }) => socket.local);
  }

  get metrics(): RelayMetrics {
    return {
      ...this.#counters,
      ...this.#shell.metrics,
      sessions: this.#sessions.size,
      pendingReservations: this.#sessions.pending,
      clients: this.#meter.clients,
      kernel: this.#kernel?.stats,
      eventsSuppressed: this.#journal.suppressed,
    };
  }

  /** Sends CLOSE in every session, then closes every socket and connection. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open({ address, port = DEFAULT_PORT, tcpPort, ...options }: RelayOptions): Promise<void> {
    this.#base = await this.#shell.open(address, port, tcpPort);
    const first = options.firstSessionPort ?? 0;
    for (let i = 0; i < (options.sessionPorts ?? DEFAULT_SESSION_PORTS); i++) {
      const number = first === 0 ? 0 : first + i;
      this.#ports.push(
        await SessionPort.bind((...how) => this.#shell.bind(address, number, ...how), {
          now: () => this.#clock.now(),
          onIntroduction: (at, data, from, side) => this.#onIntroduction(at, data, from, side),
        }),
      );
    }
    this.#shell.logListening([this.endpoint]);
  }

  async #close(): Promise<void> {
    this.#sessions.clear();
    await this.#shell.close();
    this.#meter.clear();
  }

  #onEnded(session: RelaySession): void {
    const { uid, readySinceMs } = session;
    if (readySinceMs === undefined) return;
    const durationMs = this.#clock.now() - readySinceMs;
    const report = () => this.#journal.report('ended', { uid, bytes: session.bytes, durationMs });
    if (this.#kernel === undefined) report();
    else this.#kernel.leave(session, report);
  }

  /** A datagram at the base port. */
  #onRequest({ clear, cipher }: OpenedDatagram, from: Endpoint, ip: number, source: Source, now: number): void {
    const answer = this.#answer(decodeMessage(clear), source, ip, from, now);
    if (answer !== undefined) this.#base?.send(cipher === undefined ? answer : cipher.encipher(answer, answer), from);
  }

  /**
   * Answers RLY_HELLO and RLY_PORT. A full relay does not answer, so that clients choose another.
   * @param from endpoint of a client on UDP
   */
  #answer(
    message: DecodedMessage,
    source: Source,
    ip: number,
    from: Endpoint | undefined,
    now: number,
  ): Uint8Array | undefined {
    if (message.type === 'RLY_HELLO') {
      this.#counters.hellos++;
      const answer = encodeMessage({ type: 'RLY_HELLO_ACK' });
      return !this.#sessions.full && this.#shell.admission.charge(source, answer.length) ? answer : undefined;
    }
    if (message.type !== 'RLY_PORT') {
      if (message.type === 'malformed') this.#shell.counters.malformed++;
      else this.#counters.ignored++;
      return undefined;
    }
    if (!this.#shell.admission.chargeOrGrant(source, ip, RLY_PORT_ACK_BYTES, now)) return undefined;
    const reserved = this.#sessions.reserve(this.#ports, ip, { uid: message.uid, client: from }, now);
    if (reserved === undefined) return undefined;
    const { magic, port } = reserved;
    return encodeMessage({ type: 'RLY_PORT_ACK', magic, port: port.socket.local.port });
  }

  /** Handles a RLY_PKT at a session port, or a datagram from an unknown address. */
  #onIntroduction(port: SessionPort, data: Uint8Array, from: Endpoint, known: RelaySide | undefined): void {
    const opened = this.#shell.ciphers.open(data);
    const message = opened && decodeMessage(opened.clear);
    if (message?.type !== 'RLY_PKT') {
      this.#counters.droppedStrangers++;
      return;
    }
    if (this.#sessions.portOf(message.magic) !== port) {
      this.#counters.wrongMagic++;
      return;
    }
    const now = this.#clock.now();
    if (known !== undefined && known.session.magic !== message.magic) {
      if (this.#kernel?.has(known.session)) {
        // Its packets pass the server again, so that it is seen whether it is dead.
        this.#kernel.leave(known.session);
        known.session.lastControlMs = now;
        known.session.lastActiveMs = now;
      }
      // Packets of this address could not be distinguished; only a dead session is replaced.
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
    session.lastControlMs = now;
    const there = session[message.side];
    if (there !== undefined) {
      // A side's address is fixed: others that know the magic are refused.
      if (!sameCarrier(there.carrier, carrier)) this.#counters.wrongMagic++;
      else if (session.ready) there.tell({ type: 'RLY_RDY', uid: session.uid });
      return there;
    }
    const side = new RelaySide(session, carrier, cipher, proven);
    if (session.closing) {
      // The other side has closed already; a new session would only time out.
      side.tell({ type: 'CLOSE' });
      return undefined;
    }
    session[message.side] = side;
    session.lastActiveMs = now;
    if (carrier.endpoint !== undefined) session.port.attach(carrier.endpoint, side);
    if (!session.ready) return side;
    this.#counters.sessionsReady++;
    session.readySinceMs = now;
    const { uid } = session;
    const [client, device] = [session.client?.remote, session.device?.remote];
    if (client !== undefined && device !== undefined) this.#journal.report('session', { uid, client, device });
    for (const each of [session.client, session.device]) each?.tell({ type: 'RLY_RDY', uid: session.uid });
    return side;
  }

  /** A message over TCP: a session packet once the connection has introduced itself, a request before. */
  #onFrame(client: TcpClient<RelayTcpState>, data: Uint8Array, now: number): void {
    client.state ??= { source: verifiedSource(now), side: undefined };
    const { source, side } = client.state;
    // A waiting connection may request another port.
    if (side !== undefined && (side.session.ready ? !side.isIntroduction(data) : side.isClose(data))) {
      side.session.forward(side, data, now);
      return;
    }
    if (!this.#shell.admission.admitFrom(source, now)) return;
    const opened = this.#shell.decipher(data);
    if (opened === undefined) return;
    const { clear, cipher } = opened;
    const message = decodeMessage(clear);
    if (message.type === 'RLY_PKT') {
      const session = this.#sessions.claim(message.magic, message.uid, now);
      if (side !== undefined && session !== undefined && side.session !== session) {
        if (side.session.ready) {
          this.#counters.portConflicts++;
          return;
        }
        // It has waited without success, for a device to which that port was busy.
        this.#sessions.end(side.session, false);
      }
      const introduced = this.#introduce(session, message, { tcp: client }, cipher, true, now);
      if (introduced?.carrier.tcp === client) client.state.side = introduced;
      return;
    }
    const answer = this.#answer(message, source, client.ip, undefined, now);
    if (answer !== undefined) client.send(cipher === undefined ? answer : cipher.encipher(answer, answer));
  }
}

/** Length of the answer to RLY_PORT. */
const RLY_PORT_ACK_BYTES = 12;

function sameCarrier(a: SideCarrier, b: SideCarrier): boolean {
  if (a.endpoint !== undefined && b.endpoint !== undefined) return sameEndpoint(a.endpoint, b.endpoint);
  return a.tcp !== undefined && a.tcp === b.tcp;
}
