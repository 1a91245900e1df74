import { type AbortedError, deadline, errorMessage, type Log, Repeat, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint, type UdpSocket } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { encodeMessage, type Message } from '../codec/message.ts';
import { PpppError } from '../pppp-error.ts';
import type { SessionCarrier } from '../session/carrier.ts';
import { Session } from '../session/session.ts';
import { UdpCarrier } from '../session/udp-carrier.ts';
import type { PpppSession } from '../session-types.ts';
import { AttemptSocket, type SocketMember } from './attempt-socket.ts';
import { ClosedPortCheck } from './closed-port-check.ts';
import { isOwnSocket } from './own-address.ts';
import type { AttemptOptions, ConnectComponents } from './options.ts';
import type { ReceivedDatagram } from './received-datagram.ts';

/** Addresses that an attempt has punched at most; more are answers of strangers. */
const MAX_PUNCHED = 32;

/** Repeats are spread by up to so much (docs/protocol/pppp.md, "Timers": 100–105 ms). */
const SPREAD_MS = 5;

/**
 * Punches of one address that are returned at once; the pause after the last of these, doubled after each further one.
 */
const FREELY_RETURNED = 2;
const RETURN_PAUSE_MS = 20;

/** After so many, punches of any kind go to the address only once in so many ms. */
const MAX_RETURNED = 6;
const REST_MS = 500;

type Punch = Extract<Message, { type: 'PUNCH_PKT' | 'P2P_RDY' }>;

const CLOSE: Uint8Array = encodeMessage({ type: 'CLOSE' });

/** Ports of servers that are tested for being closed. */
export interface ServerPorts {
  readonly endpoints: readonly Endpoint[];
  /** True for a port that has answered. */
  isOpen(port: Endpoint): boolean;
  /** Its host reports the port as closed. */
  portClosed(port: Endpoint): void;
}

/** In which an attempt differs from others. */
export interface AttemptPlan {
  /** What is being reached, for messages. */
  readonly target: string;
  readonly family: 4 | 6;
  /** The device that is wanted; undefined for any. */
  readonly uid: string | undefined;
  /** Ciphers that the device may use; undefined for plaintext. */
  readonly ciphers: readonly (StreamCipher | undefined)[];
  readonly broadcast: boolean;
  /** Another device at the target ends the attempt at once. */
  readonly failEarly: boolean;
  /** The attempt ends with `refused` as soon as the hosts report all of these as closed. @default none are tested */
  readonly ports?: readonly Endpoint[];
  /** Instead of `ports`: those of servers, which are told. */
  readonly servers?: ServerPorts;
  /** Sends the datagrams of one round. */
  sendProbes(attempt: UdpAttempt): void;
  /** Time between round `round` (from 0) and the next, in ms. */
  pauseMs(round: number): number;
  /** True when an answer may come from there. */
  trusts(from: Endpoint): boolean;
  /** Next step when there was no answer. */
  readonly advice: string;
  /** Addresses that may be punched at most. @default 32 */
  readonly maxPunched?: number;
  /** A PUNCH_PKT of the wanted device; it has been returned. */
  onPunched?(from: Endpoint): void;
  /** A message that is no punch: a server's, a relay's. */
  onMessage?(message: Message, from: Endpoint, cipher: StreamCipher | undefined): void;
  /** What is no message in any of the ciphers. */
  onForeign?(from: Endpoint): void;
  /** What to report when the time is over. @default `no-answer` or `wrong-device` */
  timedOut?(): PpppError;
}

/** What an attempt works with; the plan is the part in which it differs from others. */
export interface UdpAttemptComponents extends ConnectComponents {
  plan: AttemptPlan;
}

/** What a session may have between itself and its socket. */
export interface PacketFilter {
  readonly carrier: SessionCarrier;
  /** Takes a datagram of another address than the session's; false when it is for the session. */
  intercepts(data: Uint8Array, from: Endpoint): boolean;
}

/** A punched address. */
interface Punched {
  readonly to: Endpoint;
  readonly cipher: StreamCipher | undefined;
  /** Number of its PUNCH_PKTs that were returned. */
  returned: number;
  /** Clock time until which no further one is returned, ms; once many were, none is sent either. */
  restsUntil: number;
}

/** Receives datagrams of a session. */
function receiverOf(session: Session, filter: PacketFilter | undefined): (data: Uint8Array, from: Endpoint) => void {
  if (filter === undefined) return (data, from) => session.receive(data, from);
  return (data, from) => {
    if (!filter.intercepts(data, from)) session.receive(data, from);
  };
}

/**
 * One attempt to open a session by UDP, on a socket of its own or on one that it shares (docs/protocol/pppp.md,
 * "Connecting on the LAN", "States").
 */
export class UdpAttempt implements SocketMember {
  readonly searches: boolean;
  readonly #components: UdpAttemptComponents;
  readonly #options: AttemptOptions;
  readonly #plan: AttemptPlan;
  readonly #log: Log;
  readonly #shared: AttemptSocket;
  readonly #punched: Punched[] = [];
  readonly #strangers: Set<string> = new Set();
  #socket: UdpSocket | undefined;
  #check: ClosedPortCheck | undefined;
  readonly #probes: Repeat;
  #round = 0;
  #over = false;
  #sendError: string | undefined;
  #closedPorts = 0;
  #settle: { resolve(session: PpppSession): void; reject(reason: unknown): void } | undefined;

  constructor(components: UdpAttemptComponents, options: AttemptOptions) {
    const { plan, log = silentLog } = components;
    this.searches = plan.broadcast;
    this.#components = components;
    this.#options = options;
    this.#plan = plan;
    this.#log = log;
    this.#probes = new Repeat(components, { run: () => this.#sendProbes() });
    this.#shared = components.socket ?? new AttemptSocket(components, { ...options, broadcast: plan.broadcast });
  }

  async run(): Promise<PpppSession> {
    const { signal, timeoutMs = Number.POSITIVE_INFINITY, onSocket } = this.#options;
    signal?.throwIfAborted();
    const { socket, portLost } = await this.#shared.join(this, this.#plan.family);
    using limit = deadline(this.#components.clock, timeoutMs, signal, () => this.#timedOut());
    try {
      signal?.throwIfAborted();
      this.#socket = socket;
      onSocket?.(socket.local, portLost);
      this.#log.debug(`trying ${this.#plan.target} from port ${socket.local.port}`);
      limit.signal.throwIfAborted();
      limit.signal.addEventListener('abort', () => this.fail(limit.signal.reason), { once: true });
      return await new Promise<PpppSession>((resolve, reject) => {
        this.#settle = { resolve, reject };
        const { ports = [], servers } = this.#plan;
        this.#check = new ClosedPortCheck(this.#components, {
          ...this.#options,
          ports: servers?.endpoints ?? ports,
          isOpen: (port) => servers?.isOpen(port) ?? false,
          onClosed: (port, error) => this.#onClosed(port, error),
        });
        this.wake();
      });
    } finally {
      await this.#check?.close();
      await this.#shared.leave(this);
    }
  }

  /** Sends a datagram in a cipher; plaintext when undefined. */
  send(clear: Uint8Array, to: Endpoint, cipher: StreamCipher | undefined): void {
    this.#socket?.send(cipher === undefined ? clear : cipher.encipher(clear), to);
  }

  /** Local endpoint of the attempt's socket. */
  get local(): Endpoint {
    return this.#socket!.local;
  }

  /** Punches an address: the device may then have a session for it. */
  punch(uid: string, to: Endpoint, cipher: StreamCipher | undefined): void {
    const punched = this.#punchedAt(to);
    // It answers punches with nothing but punches: it is asked rarely.
    if (punched !== undefined && punched.returned >= MAX_RETURNED) {
      const now = this.#components.clock.now();
      if (now < punched.restsUntil) return;
      punched.restsUntil = now + REST_MS;
    }
    this.approach(encodeMessage({ type: 'PUNCH_PKT', uid }), to, cipher);
  }

  /** Sends a datagram that may open a session there, so that CLOSE is sent when the attempt fails. */
  approach(clear: Uint8Array, to: Endpoint, cipher: StreamCipher | undefined): void {
    if (this.#punchedAt(to) === undefined) {
      if (this.#punched.length >= (this.#plan.maxPunched ?? MAX_PUNCHED)) return;
      if (!this.#shared.claim(this, to)) return;
      this.#punched.push({ to: { ...to }, cipher, returned: 0, restsUntil: 0 });
    }
    this.send(clear, to, cipher);
  }

  /** Begins the next round now. */
  wake(): void {
    if (this.#socket !== undefined) this.#probes.wake();
  }

  #sendProbes(): number {
    this.#plan.sendProbes(this);
    if (this.#over) return Number.POSITIVE_INFINITY;
    const spread = (this.#components.random?.next() ?? 0) * SPREAD_MS;
    return this.#plan.pauseMs(this.#round++) + spread;
  }

  receive(datagram: ReceivedDatagram): boolean {
    const { from } = datagram;
    if (this.#over || this.#socket === undefined || !this.#plan.trusts(from)) return false;
    if (isOwnSocket(this.#components.network, this.local, from)) return true;
    for (const cipher of this.#plan.ciphers) {
      const message = datagram.message(cipher);
      if (message.type === 'malformed' || message.type === 'unknown') continue;
      if (message.type === 'PUNCH_PKT' || message.type === 'P2P_RDY') this.#onPunch(message, from, cipher);
      else this.#plan.onMessage?.(message, from, cipher);
      return true;
    }
    this.#plan.onForeign?.(from);
    return false;
  }

  supersede(reason: AbortedError): void {
    this.fail(reason);
  }

  #onPunch({ type, uid }: Punch, from: Endpoint, cipher: StreamCipher | undefined): void {
    // A device answered.
    void this.#check?.close();
    if (this.#plan.uid !== undefined && this.#plan.uid !== uid) {
      this.#onStranger(uid, from);
    } else if (type === 'PUNCH_PKT') {
      this.#returnPunch(uid, from, cipher);
      this.#plan.onPunched?.(from);
    } else if (this.#punchedAt(from) !== undefined) {
      this.succeed(uid, from, cipher);
    }
  }

  /**
   * The vendor's application returns every copy (docs/protocol/pppp.md, "Punch and ready"). Here the first two are
   * returned at once, further ones at growing intervals: a device that returns punches itself would otherwise cause an
   * endless exchange.
   */
  #returnPunch(uid: string, from: Endpoint, cipher: StreamCipher | undefined): void {
    const now = this.#components.clock.now();
    const known = this.#punchedAt(from);
    if (known !== undefined && now < known.restsUntil) return;
    this.punch(uid, from, cipher);
    const punched = this.#punchedAt(from);
    if (punched === undefined || punched.returned === MAX_RETURNED) return;
    punched.returned++;
    if (punched.returned >= FREELY_RETURNED) {
      punched.restsUntil = now + RETURN_PAUSE_MS * 2 ** (punched.returned - FREELY_RETURNED);
    }
  }

  #onStranger(uid: string, from: Endpoint): void {
    if (this.#strangers.size < MAX_PUNCHED) this.#strangers.add(uid);
    if (!this.#plan.failEarly) return;
    this.fail(
      new PpppError(
        'wrong-device',
        `${formatEndpoint(from)} is ${uid}, not ${this.#plan.uid}. Correct the UID or the address.`,
        { target: this.#plan.target },
      ),
    );
  }

  onError(error: Error): void {
    if (this.#over) return;
    this.#sendError = errorMessage(error);
    this.#log.debug('a datagram could not be sent', { error: this.#sendError });
  }

  #onClosed(port: Endpoint, cause: Error): void {
    const { target, ports = [], servers } = this.#plan;
    if (servers !== undefined) {
      servers.portClosed(port);
      this.wake();
      return;
    }
    if (++this.#closedPorts < ports.length) return;
    this.fail(
      new PpppError(
        'refused',
        `Connection refused by ${target} (ICMP port unreachable). Next: try another port, or search the LAN.`,
        { target, cause },
      ),
    );
  }

  /**
   * Ends the attempt with a session at `peer`.
   * @param filter filters datagrams between the session and its socket
   */
  succeed(
    uid: string,
    peer: Endpoint,
    cipher: StreamCipher | undefined,
    filter?: (own: SessionCarrier, socket: UdpSocket) => PacketFilter,
  ): Session {
    const { clock, log } = this.#components;
    const { pathKind = 'lan', session: options } = this.#options;
    this.#stop();
    const socket = this.#socket!;
    const own = new UdpCarrier(socket, { peer: { ...peer }, pathKind }, () => socket.close());
    const taken = filter?.(own, socket);
    const carrier = taken?.carrier ?? own;
    const session = new Session({ carrier, clock, log }, { role: 'client', uid, cipher, options });
    this.#shared.take(this, socket, receiverOf(session, taken));
    session.announce();
    this.#closeOthers(peer);
    this.#log.debug(`session with ${uid} at ${formatEndpoint(peer)}`, { localPort: carrier.local.port });
    this.#settle?.resolve(session);
    return session;
  }

  /** Ends the attempt without a session. */
  fail(reason: unknown): void {
    if (this.#over) return;
    this.#stop();
    this.#closeOthers();
    this.#settle?.reject(reason);
  }

  /** Sends CLOSE to every punched device except the one that is used. */
  #closeOthers(kept?: Endpoint): void {
    for (const { to, cipher } of this.#punched) {
      if (kept === undefined || !sameEndpoint(to, kept)) this.send(CLOSE, to, cipher);
    }
    this.#punched.length = 0;
  }

  #stop(): void {
    this.#over = true;
    this.#probes.stop();
  }

  #punchedAt(endpoint: Endpoint): Punched | undefined {
    return this.#punched.find(({ to }) => sameEndpoint(to, endpoint));
  }

  #timedOut(): PpppError {
    if (this.#plan.timedOut !== undefined) return this.#plan.timedOut();
    const { target, uid, advice } = this.#plan;
    if (this.#strangers.size > 0) {
      const found = [...this.#strangers].join(', ');
      return new PpppError('wrong-device', `${uid} did not answer at ${target}, but ${found} did. Check the UID.`, {
        target,
      });
    }
    const error = this.#sendError === undefined ? '' : ` Sending failed: ${this.#sendError}.`;
    const waited = `within ${this.#options.timeoutMs} ms`;
    return new PpppError('no-answer', `No answer from ${target} ${waited}.${error} ${advice}`, { target });
  }
}
