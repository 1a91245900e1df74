import { errorMessage, type Log, silentLog, type PathKind, type Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, type UdpSocket } from '@towpath/net';
import { CipherSet } from '../cipher/cipher-set.ts';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { isOwnSocket } from '../client/own-address.ts';
import { peekType } from '../codec/header.ts';
import { type DecodedMessage, decodeMessage, encodeMessage, type Message } from '../codec/message.ts';
import { CONTINUITY_BYTES } from '../codec/rendezvous-messages.ts';
import { MessageType } from '../codec/message-type.ts';
import { parseUid } from '../codec/uid.ts';
import { SEARCH_PORT } from '../lan/targets.ts';
import type { SessionCarrier } from '../session/carrier.ts';
import { Session } from '../session/session.ts';
import { UdpCarrier } from '../session/udp-carrier.ts';
import type { PpppSession } from '../session-types.ts';
import type { DeviceCompanion, PpppDeviceComponents, PpppDeviceOptions } from './options.ts';
import { ReadyPhase, type ReadySteps } from './ready-phase.ts';
import { type DeviceClient, SessionTable } from './session-table.ts';

/** Enough for four clients with two sockets each. */
const DEFAULT_MAX_SESSIONS = 8;

/**
 * A punch in a session of this age whose client was silent for this long is not a late copy, and does not come from a
 * client that keeps punching: the client has restarted on the same port. A running client answers the ALIVE that is
 * sent after 1.02 s of silence, so it is not silent for longer than that and a round trip.
 */
const RESTART_AGE_MS = 1000;
const RESTART_SILENCE_MS = 1300;

/** Most hosts whose search is stored for the 0x43 phase. */
const MAX_SEARCHERS = 64;

/** Requested of the system for the listen socket, which all sessions share. */
const SOCKET_BUFFER_BYTES: number = 2 * 1024 * 1024;

/**
 * The device's end of PPPP: answers searches and punches, and holds sessions (docs/protocol/pppp.md, "Punch and
 * ready", "States").
 */
export class PpppDevice implements AsyncDisposable {
  readonly uid: string;
  readonly #components: PpppDeviceComponents;
  readonly #options: PpppDeviceOptions;
  readonly #log: Log;
  readonly #ciphers: CipherSet;
  readonly #punch: Uint8Array;
  readonly #clients = new SessionTable();
  /** Sequence that is sent to a client before and just after its session begins. */
  readonly #phases: Map<string, ReadyPhase> = new Map();
  readonly #searchers: Set<string> = new Set();
  readonly #companions: Set<DeviceCompanion> = new Set();
  /** Sessions over other carriers than the listen socket. */
  readonly #guests: Set<Session> = new Set();
  #continuity: Uint8Array | undefined;
  #listen: UdpSocket | undefined;
  #search: UdpSocket | undefined;
  #closing: Promise<void> | undefined;

  private constructor(components: PpppDeviceComponents, options: PpppDeviceOptions) {
    this.uid = parseUid(options.uid);
    this.#components = components;
    this.#options = options;
    this.#log = components.log ?? silentLog;
    this.#ciphers = new CipherSet(options.keys ?? []);
    this.#punch = encodeMessage({ type: 'PUNCH_PKT', uid: this.uid });
  }

  /**
   * Binds the sockets of a device.
   * @throws CodecError `uid-invalid`; NetError when a port cannot be bound.
   */
  static async open(components: PpppDeviceComponents, options: PpppDeviceOptions): Promise<PpppDevice> {
    const device = new PpppDevice(components, options);
    try {
      await device.#bind();
    } catch (error) {
      await device.close();
      throw error;
    }
    return device;
  }

  /** Where sessions run. */
  get listen(): Endpoint {
    return this.#listen!.local;
  }

  /** Where searches arrive; undefined when there is no such socket. */
  get search(): Endpoint | undefined {
    return this.#search?.local;
  }

  get sessions(): readonly PpppSession[] {
    return this.#all();
  }

  /** The bytes that show a server that logins from several addresses are of this device; made once. */
  continuity(random: Random): Uint8Array {
    this.#continuity ??= random.bytes(CONTINUITY_BYTES);
    return this.#continuity;
  }

  /** Sends a message from the listen socket: to a rendezvous server, a relay, an address to be punched. */
  send(message: Message, to: Endpoint, cipher?: StreamCipher): void {
    this.#send(encodeMessage(message), to, cipher);
  }

  /** Sends a datagram unchanged from the listen socket. */
  sendDatagram(datagram: Uint8Array, to: Endpoint): void {
    this.#listen?.send(datagram, to);
  }

  /**
   * Lends a session a share of the listen socket.
   * @param onClose called when the session is over
   */
  share(peer: Endpoint, pathKind: PathKind, onClose: () => void): SessionCarrier {
    return new UdpCarrier(this.#listen!, { peer, pathKind }, onClose);
  }

  /** Passes datagrams that are neither punches nor of a session to a companion. */
  accompany(companion: DeviceCompanion): () => void {
    this.#companions.add(companion);
    return () => {
      this.#companions.delete(companion);
    };
  }

  /**
   * Takes in a session whose path a companion has prepared, and hands it to `onSession`.
   * @param how `shared`: its datagrams come to the listen socket; otherwise the creator of the carrier passes them to
   *   the session
   * @returns undefined when there is no room
   */
  adopt(
    carrier: SessionCarrier,
    { cipher, shared }: { cipher: StreamCipher | undefined; shared: boolean },
  ): Session | undefined {
    const { clock } = this.#components;
    const { maxSessions = DEFAULT_MAX_SESSIONS } = this.#options;
    if (this.#closing !== undefined || this.#size >= maxSessions) return undefined;
    const session: Session = this.#newSession(carrier, cipher, () => {
      this.#guests.delete(session);
      this.#clients.remove(session);
    });
    if (!shared) this.#guests.add(session);
    else this.#clients.add({ session, cipher, startedAt: clock.now(), release: () => void carrier.close() });
    this.#options.onSession(session);
    return session;
  }

  /** Sends CLOSE in every session. */
  async closeSessions(): Promise<void> {
    await Promise.all(this.#all().map((session) => session.close()));
  }

  /** Drops every session without CLOSE, as a reboot does. Their users get `carrier-failed`. */
  forget(): void {
    for (const phase of this.#phases.values()) phase.cancel();
    this.#phases.clear();
    this.#searchers.clear();
    for (const session of this.#all()) session.abandon('carrier-failed', false);
  }

  /** Closes sessions and sockets. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #bind(): Promise<void> {
    const { network } = this.#components;
    const { address, listenPort = 0, searchPort = SEARCH_PORT } = this.#options;
    const at = address === undefined ? {} : { address };
    const onError = (error: Error) => this.#log.debug('a datagram could not be sent', { error: errorMessage(error) });
    this.#listen = await network.bindUdp({
      ...at,
      port: listenPort,
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      onMessage: (data, from) => this.#onListen(data, from),
      onError,
    });
    if (searchPort === false) return;
    this.#search = await network.bindUdp({
      ...at,
      port: searchPort,
      reuseAddress: true,
      onMessage: (data, from) => this.#onSearch(data, from),
      onError,
    });
  }

  async #shut(): Promise<void> {
    for (const phase of this.#phases.values()) phase.cancel();
    this.#phases.clear();
    await this.closeSessions();
    await Promise.all([this.#search?.close(), this.#listen?.close()]);
  }

  /**
   * A search is answered from the listen socket, in its own cipher, and leaves no state (docs/protocol/pppp.md, "LAN
   * search").
   */
  #onSearch(data: Uint8Array, from: Endpoint): void {
    const opened = this.#open(data);
    if (opened === undefined || decodeMessage(opened.clear).type !== 'LAN_SEARCH') return;
    if (this.#options.offersTcp && this.#searchers.size < MAX_SEARCHERS) this.#searchers.add(from.address);
    this.#send(this.#punch, from, opened.cipher);
  }

  #onListen(data: Uint8Array, from: Endpoint): void {
    const client = this.#clients.get(from);
    if (client === undefined) {
      const opened = this.#open(data);
      if (opened !== undefined) this.#onSessionOpener(decodeMessage(opened.clear), from, opened.cipher);
      return;
    }
    const clear = client.cipher === undefined ? data : client.cipher.decipher(data, data);
    const type = peekType(clear);
    if (type === MessageType.PUNCH_PKT || type === MessageType.P2P_RDY) this.#onPunchInSession(client, clear, from);
    else client.session.receiveClear(type, clear);
  }

  #onPunchInSession({ session, cipher, startedAt, release }: DeviceClient, clear: Uint8Array, from: Endpoint): void {
    const now = this.#components.clock.now();
    const silent = now - startedAt > RESTART_AGE_MS && now - session.lastReceivedAt > RESTART_SILENCE_MS;
    if (session.closed !== undefined || silent) {
      const message = decodeMessage(clear);
      if (!isPunch(message) || message.uid !== this.uid) return;
      session.abandon('closed-by-peer', false);
      release();
      this.#onSessionOpener(message, from, cipher);
    } else if (!session.peerSpoke) {
      session.receiveClear(peekType(clear), clear);
    }
  }

  /**
   * Handles datagrams from an address without a session; all except punches are ignored (docs/protocol/pppp.md, "Punch
   * and ready").
   */
  #onSessionOpener(message: DecodedMessage, from: Endpoint, cipher: StreamCipher | undefined): void {
    if (this.#closing !== undefined || message.type === 'unknown' || message.type === 'malformed') return;
    if (isOwnSocket(this.#components.network, this.listen, from)) return;
    if (isPunch(message)) {
      if (message.uid === this.uid) this.#onPunch(from, cipher);
    } else {
      this.#options.onMessage?.(message, from, cipher);
      for (const companion of this.#companions) companion.onMessage(message, from, cipher);
    }
  }

  #onPunch(from: Endpoint, cipher: StreamCipher | undefined): void {
    const key = formatEndpoint(from);
    if (this.#phases.has(key)) return;
    const { clock } = this.#components;
    const { admits, maxSessions = DEFAULT_MAX_SESSIONS, offersTcp = false } = this.#options;
    if (admits !== undefined && !admits(from)) return;
    if (this.#size >= maxSessions) {
      this.#log.debug('Session limit reached', { from: key });
      return;
    }
    const peer = { address: from.address, port: from.port };
    const offer = encodeMessage({ type: 'P2P_RDY_ACK', uid: this.uid, address: this.listen });
    let session: Session | undefined;
    const steps: ReadySteps = {
      offer: () => this.#send(offer, peer, cipher),
      ready: () => {
        if (session !== undefined) session.announce();
        else session = this.#startSession(peer, cipher, this.#pathKindOf(from), key);
      },
      done: () => this.#phases.delete(key),
    };
    const offersFirst = offersTcp && this.#searchers.has(from.address);
    const phase = new ReadyPhase({ clock, steps }, { offersFirst });
    this.#phases.set(key, phase);
    phase.start();
  }

  /** Number of sessions and of accepted punches without a session yet. */
  get #size(): number {
    const opening = [...this.#phases.values()].filter(({ open }) => !open).length;
    return this.#clients.size + this.#guests.size + opening;
  }

  #startSession(peer: Endpoint, cipher: StreamCipher | undefined, pathKind: PathKind, key: string): Session {
    const carrier: UdpCarrier = new UdpCarrier(this.#listen!, { peer, pathKind }, () => {
      this.#clients.remove(session);
      this.#endPhase(key);
    });
    const session: Session = this.#newSession(carrier, cipher);
    const startedAt = this.#components.clock.now();
    const client: DeviceClient = { session, cipher, startedAt, release: () => void carrier.close() };
    this.#clients.add(client);
    session.announce();
    this.#options.onSession(session);
    return session;
  }

  #newSession(carrier: SessionCarrier, cipher: StreamCipher | undefined, onClosed?: () => void): Session {
    const { clock, log } = this.#components;
    const { session: options } = this.#options;
    return new Session({ carrier, clock, log }, { role: 'device', uid: this.uid, cipher, options, onClosed });
  }

  #all(): Session[] {
    return [...this.#clients.all().map(({ session }) => session), ...this.#guests];
  }

  #pathKindOf(from: Endpoint): PathKind {
    for (const companion of this.#companions) {
      const pathKind = companion.pathKindOf(from);
      if (pathKind !== undefined) return pathKind;
    }
    return 'lan';
  }

  #endPhase(key: string): void {
    this.#phases.get(key)?.cancel();
    this.#phases.delete(key);
  }

  #open(data: Uint8Array): { clear: Uint8Array; cipher: StreamCipher | undefined } | undefined {
    const opened = this.#ciphers.open(data);
    if (opened?.cipher === undefined && this.#options.plaintext === false) return undefined;
    return opened;
  }

  #send(clear: Uint8Array, to: Endpoint, cipher: StreamCipher | undefined): void {
    this.#listen?.send(cipher === undefined ? clear : cipher.encipher(clear), to);
  }
}

function isPunch(message: DecodedMessage): message is Extract<Message, { type: 'PUNCH_PKT' | 'P2P_RDY' }> {
  return message.type === 'PUNCH_PKT' || message.type === 'P2P_RDY';
}
