import { errorMessage, type Log, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, type UdpSocket } from '@towpath/net';
import { CipherSet } from '../cipher/cipher-set.ts';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { isOwnSocket } from '../client/own-address.ts';
import { decodeMessage, encodeMessage, type Message } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import { parseUid } from '../codec/uid.ts';
import { SEARCH_PORT } from '../lan/targets.ts';
import type { SessionCarrier } from '../session/carrier.ts';
import { Session } from '../session/session.ts';
import type { PpppSession, SessionMode } from '../session-types.ts';
import type { DeviceCompanion, PpppDeviceOptions } from './options.ts';
import { ReadyPhase } from './ready-phase.ts';
import { type DeviceClient, SessionTable } from './session-table.ts';

/** Four clients with a spare socket each. */
const DEFAULT_MAX_SESSIONS = 8;

/**
 * A punch in a session of this age whose client has been silent for so long is no late copy of an earlier one, and no habit
 * of a client that keeps punching: the client has started anew on the same port. A living one that has nothing to say
 * answers the ALIVE that we send after 1.02 s of silence, so it is never silent for longer than that and a round trip.
 */
const RESTART_AGE_MS = 1000;
const RESTART_SILENCE_MS = 1300;

/** Hosts whose search is remembered for the 0x43 phase. */
const MAX_SEARCHERS = 64;

/** Asked of the system for the listen socket, which all sessions share. */
const SOCKET_BUFFER_BYTES: number = 2 * 1024 * 1024;

/** The camera's end of PPPP: it is found on the LAN, is punched, and holds sessions (spec §5, §6.6, §14). */
export class PpppDevice implements AsyncDisposable {
  readonly uid: string;
  readonly #options: PpppDeviceOptions;
  readonly #log: Log;
  readonly #ciphers: CipherSet;
  readonly #punch: Uint8Array;
  readonly #clients = new SessionTable();
  /** What is being sent to a client before and just after its session begins. */
  readonly #phases: Map<string, ReadyPhase> = new Map();
  readonly #searchers: Set<string> = new Set();
  readonly #companions: Set<DeviceCompanion> = new Set();
  /** Sessions over carriers that are not the listen socket. */
  readonly #guests: Set<Session> = new Set();
  #listen: UdpSocket | undefined;
  #search: UdpSocket | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: PpppDeviceOptions) {
    this.uid = parseUid(options.uid);
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#ciphers = new CipherSet(options.keys ?? []);
    this.#punch = encodeMessage({ type: 'PUNCH_PKT', uid: this.uid });
  }

  /**
   * Binds the sockets of a device.
   * @throws CodecError `uid-invalid`; NetError when a port cannot be bound.
   */
  static async open(options: PpppDeviceOptions): Promise<PpppDevice> {
    const device = new PpppDevice(options);
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

  /** Sends a message from the listen socket: to a rendezvous server, a relay, an address to be punched. */
  send(message: Message, to: Endpoint, cipher?: StreamCipher): void {
    this.#send(encodeMessage(message), to, cipher);
  }

  /** Sends a datagram as it is from the listen socket. */
  sendDatagram(datagram: Uint8Array, to: Endpoint): void {
    this.#listen?.send(datagram, to);
  }

  /** Has a companion hear what is neither a punch nor of a session. @returns ends that */
  accompany(companion: DeviceCompanion): () => void {
    this.#companions.add(companion);
    return () => {
      this.#companions.delete(companion);
    };
  }

  /**
   * Takes in a session whose path a companion has prepared, and hands it to `onSession`. With `intercepts` its datagrams
   * come to the listen socket, and those of the types that it claims are not for the session; without, whoever made the
   * carrier hands them to the session.
   * @returns undefined when there is no room
   */
  adopt(
    carrier: SessionCarrier,
    cipher: StreamCipher | undefined,
    intercepts?: (type: number | undefined) => boolean,
  ): Session | undefined {
    const { maxSessions = DEFAULT_MAX_SESSIONS, clock } = this.#options;
    if (this.#closing !== undefined || this.#size >= maxSessions) return undefined;
    const session: Session = this.#newSession(carrier, cipher, () => {
      this.#guests.delete(session);
      this.#clients.remove(session);
    });
    if (intercepts === undefined) this.#guests.add(session);
    else
      this.#clients.add({ session, cipher, startedAt: clock.now(), release: () => void carrier.close(), intercepts });
    this.#options.onSession(session);
    return session;
  }

  /** Says CLOSE in every session. */
  async closeSessions(): Promise<void> {
    await Promise.all(this.#all().map((session) => session.close()));
  }

  /** Forgets every session without a word, as a reboot does. Their users see `carrier-failed`. */
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
    const { network, address, listenPort = 0, searchPort = SEARCH_PORT } = this.#options;
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

  /** A search is answered from the listen socket, in its own cipher, and leaves no state (spec §5.2). */
  #onSearch(data: Uint8Array, from: Endpoint): void {
    const opened = this.#open(data);
    if (opened === undefined || decodeMessage(opened.clear).type !== 'LAN_SEARCH') return;
    if (this.#options.offersTcp && this.#searchers.size < MAX_SEARCHERS) this.#searchers.add(from.address);
    this.#send(this.#punch, from, opened.cipher);
  }

  #onListen(data: Uint8Array, from: Endpoint): void {
    const client = this.#clients.get(from);
    if (client === undefined) {
      this.#onKnock(data, from);
      return;
    }
    const type = client.cipher === undefined ? data[1] : client.cipher.peek(data, 1);
    if (client.intercepts?.(type) === true) return;
    if (type === MessageType.PUNCH_PKT || type === MessageType.P2P_RDY) this.#onPunchInSession(client, data, from);
    else client.session.receive(data, from);
  }

  #onPunchInSession({ session, startedAt, release }: DeviceClient, data: Uint8Array, from: Endpoint): void {
    const now = this.#options.clock.now();
    const silent = now - startedAt > RESTART_AGE_MS && now - session.lastReceivedAt > RESTART_SILENCE_MS;
    if (session.closed !== undefined || silent) {
      if (!this.#isPunch(data)) return;
      session.abandon('closed-by-peer', false);
      release();
      this.#onKnock(data, from);
    } else if (!session.peerSpoke) {
      session.receive(data, from);
    }
  }

  /** What comes from an address without a session; all but punches meets silence (spec §5.3). */
  #onKnock(data: Uint8Array, from: Endpoint): void {
    const opened = this.#open(data);
    if (opened === undefined || this.#closing !== undefined) return;
    if (isOwnSocket(this.#options.network, this.listen, from)) return;
    const message = decodeMessage(opened.clear);
    if (message.type === 'unknown' || message.type === 'malformed') return;
    if (message.type === 'PUNCH_PKT' || message.type === 'P2P_RDY') {
      if (message.uid === this.uid) this.#onPunch(from, opened.cipher);
    } else {
      this.#options.onMessage?.(message, from, opened.cipher);
      for (const companion of this.#companions) companion.onMessage(message, from, opened.cipher);
    }
  }

  #onPunch(from: Endpoint, cipher: StreamCipher | undefined): void {
    const key = formatEndpoint(from);
    if (this.#phases.has(key)) return;
    const { admits, maxSessions = DEFAULT_MAX_SESSIONS, clock, offersTcp = false } = this.#options;
    if (admits !== undefined && !admits(from)) return;
    if (this.#size >= maxSessions) {
      this.#log.debug('no room for another session', { from: key });
      return;
    }
    const peer = { address: from.address, port: from.port };
    const offer = encodeMessage({ type: 'P2P_RDY_ACK', uid: this.uid, address: this.listen });
    let session: Session | undefined;
    const phase: ReadyPhase = new ReadyPhase(clock, offersTcp && this.#searchers.has(from.address), {
      offer: () => this.#send(offer, peer, cipher),
      ready: () => {
        if (session !== undefined) session.announce();
        else session = this.#startSession(peer, cipher, this.#modeOf(from), key);
      },
      done: () => this.#phases.delete(key),
    });
    this.#phases.set(key, phase);
    phase.start();
  }

  /** Sessions, and punches that have been accepted and not yet become one. */
  get #size(): number {
    const opening = [...this.#phases.values()].filter(({ open }) => !open).length;
    return this.#clients.size + this.#guests.size + opening;
  }

  #startSession(peer: Endpoint, cipher: StreamCipher | undefined, mode: SessionMode, key: string): Session {
    const carrier = new SharedCarrier(this.#listen!, peer, mode);
    const session = this.#newSession(carrier, cipher);
    const startedAt = this.#options.clock.now();
    const client: DeviceClient = { session, cipher, startedAt, release: () => carrier.release() };
    carrier.onRelease = () => {
      this.#clients.remove(session);
      this.#endPhase(key);
    };
    this.#clients.add(client);
    session.announce();
    this.#options.onSession(session);
    return session;
  }

  #newSession(carrier: SessionCarrier, cipher: StreamCipher | undefined, onClosed?: () => void): Session {
    const { clock, log, session: options } = this.#options;
    return new Session({
      role: 'device',
      uid: this.uid,
      carrier,
      clock,
      ...(log === undefined ? {} : { log }),
      ...(cipher === undefined ? {} : { cipher }),
      ...(options === undefined ? {} : { options }),
      ...(onClosed === undefined ? {} : { onClosed }),
    });
  }

  #all(): Session[] {
    return [...this.#clients.all().map(({ session }) => session), ...this.#guests];
  }

  #modeOf(from: Endpoint): SessionMode {
    for (const companion of this.#companions) {
      const mode = companion.modeOf(from);
      if (mode !== undefined) return mode;
    }
    return 'lan';
  }

  #endPhase(key: string): void {
    this.#phases.get(key)?.cancel();
    this.#phases.delete(key);
  }

  #isPunch(data: Uint8Array): boolean {
    const opened = this.#open(data);
    if (opened === undefined) return false;
    const message = decodeMessage(opened.clear);
    return (message.type === 'PUNCH_PKT' || message.type === 'P2P_RDY') && message.uid === this.uid;
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

/** A session's share of the listen socket. */
class SharedCarrier implements SessionCarrier {
  readonly mode: SessionMode;
  readonly peer: Endpoint;
  readonly #socket: UdpSocket;
  #released = false;
  onRelease: (() => void) | undefined;

  constructor(socket: UdpSocket, peer: Endpoint, mode: SessionMode) {
    this.#socket = socket;
    this.peer = peer;
    this.mode = mode;
  }

  get local(): Endpoint {
    return this.#socket.local;
  }

  send(datagram: Uint8Array): void {
    if (!this.#released) this.#socket.send(datagram, this.peer);
  }

  /** Nothing is sent afterwards, and the client may start anew. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.onRelease?.();
  }

  async close(): Promise<void> {
    this.release();
  }
}
