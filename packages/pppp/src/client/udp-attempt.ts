import { errorCode, errorMessage, type Log, silentLog, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint, type UdpHandlers, type UdpSocket } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { decodeMessage, encodeMessage, type Message } from '../codec/message.ts';
import { PpppError } from '../pppp-error.ts';
import type { SessionCarrier } from '../session/carrier.ts';
import { Session } from '../session/session.ts';
import type { PpppSession } from '../session-types.ts';
import { bindPreferred } from './bind.ts';
import { isOwnSocket } from './own-address.ts';
import type { ConnectOptions } from './options.ts';
import { UdpCarrier } from './udp-carrier.ts';

/** Addresses that an attempt has punched at most; more are answers of strangers. */
const MAX_PUNCHED = 32;

/** Repeats are spread by up to so much (spec §12: 100–105 ms). */
const SPREAD_MS = 5;

type Knock = Extract<Message, { type: 'PUNCH_PKT' | 'P2P_RDY' }>;

const CLOSE: Uint8Array = encodeMessage({ type: 'CLOSE' });

/** In which an attempt differs from others. */
export interface AttemptPlan {
  /** What is being reached, for messages. */
  readonly target: string;
  readonly family: 4 | 6;
  /** The device that is wanted; undefined for any. */
  readonly uid: string | undefined;
  /** Ciphers in which the device may speak; undefined stands for plaintext. */
  readonly ciphers: readonly (StreamCipher | undefined)[];
  readonly broadcast: boolean;
  /** Another device at the target, or a refusal of its host, ends the attempt at once. */
  readonly failEarly: boolean;
  /** Sends the datagrams of one round. */
  knock(attempt: UdpAttempt): void;
  /** Time between round `round` (from 0) and the next, in ms. */
  pauseMs(round: number): number;
  /** True when an answer may come from there. */
  trusts(from: Endpoint): boolean;
  /** What to try next when nobody answered. */
  readonly advice: string;
  /** Addresses that may be punched at most. @default 32 */
  readonly maxPunched?: number;
  /** A PUNCH_PKT of the wanted device; it has been returned. */
  onPunched?(from: Endpoint): void;
  /** A message that is no punch: a server's, a relay's. */
  onMessage?(message: Message, from: Endpoint, cipher: StreamCipher | undefined): void;
  /** What to report when the time is over. @default `no-answer` or `wrong-device` */
  timedOut?(): PpppError;
}

/** What a session may have between itself and its socket. */
export interface Detour {
  readonly carrier: SessionCarrier;
  /** True for a datagram that is not for the session. */
  intercepts(data: Uint8Array, from: Endpoint): boolean;
}

/** Where what happens on a socket goes: to the attempt, later to its session. */
interface Inbox {
  receive(data: Uint8Array, from: Endpoint): void;
  fail(error: Error): void;
}

/** Handlers that know the inbox alone: the socket outlives the attempt, which would keep its whole race in memory. */
function handlersOf(inbox: Inbox): UdpHandlers {
  return { onMessage: (data, from) => inbox.receive(data, from), onError: (error) => inbox.fail(error) };
}

/** Takes what arrives for a session. */
function receiverOf(session: Session, detour: Detour | undefined): Inbox['receive'] {
  if (detour === undefined) return (data, from) => session.receive(data, from);
  return (data, from) => {
    if (!detour.intercepts(data, from)) session.receive(data, from);
  };
}

/** One attempt to open a session by UDP, on a socket of its own (spec §6.2, §6.6). */
export class UdpAttempt {
  readonly #options: ConnectOptions;
  readonly #plan: AttemptPlan;
  readonly #log: Log;
  readonly #punched: { to: Endpoint; cipher: StreamCipher | undefined }[] = [];
  readonly #strangers: Set<string> = new Set();
  readonly #inbox: Inbox;
  #socket: UdpSocket | undefined;
  #knockTimer: Timer | undefined;
  #limitTimer: Timer | undefined;
  #round = 0;
  #over = false;
  #sendError: string | undefined;
  #settle: { resolve(session: PpppSession): void; reject(reason: unknown): void } | undefined;

  constructor(options: ConnectOptions, plan: AttemptPlan) {
    this.#options = options;
    this.#plan = plan;
    this.#log = options.log ?? silentLog;
    this.#inbox = { receive: (data, from) => this.#onMessage(data, from), fail: (error) => this.#onError(error) };
  }

  async run(): Promise<PpppSession> {
    const { network, clock, localPort, localAddress, signal, timeoutMs, onSocket } = this.#options;
    signal?.throwIfAborted();
    const { socket, portLost } = await bindPreferred(network, this.#log, localPort, {
      ...(localAddress === undefined ? {} : { address: localAddress }),
      family: this.#plan.family,
      broadcast: this.#plan.broadcast,
      ...handlersOf(this.#inbox),
    });
    if (signal?.aborted) {
      await socket.close();
      throw signal.reason;
    }
    this.#socket = socket;
    onSocket?.(socket.local, portLost);
    this.#log.debug(`trying ${this.#plan.target} from port ${socket.local.port}`);
    const onAbort = () => this.fail(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await new Promise<PpppSession>((resolve, reject) => {
        this.#settle = { resolve, reject };
        if (timeoutMs !== undefined) this.#limitTimer = clock.timer(timeoutMs, () => this.fail(this.#timedOut()));
        this.#knock();
      });
    } catch (error) {
      await socket.close();
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Sends a datagram in a cipher; plaintext when undefined. */
  send(clear: Uint8Array, to: Endpoint, cipher: StreamCipher | undefined): void {
    this.#socket?.send(cipher === undefined ? clear : cipher.encipher(clear), to);
  }

  /** Where the attempt's socket is bound. */
  get local(): Endpoint {
    return this.#socket!.local;
  }

  /** Punches an address: from then on the device may hold a session there. */
  punch(uid: string, to: Endpoint, cipher: StreamCipher | undefined): void {
    this.approach(encodeMessage({ type: 'PUNCH_PKT', uid }), to, cipher);
  }

  /** Sends a datagram after which a session may be held there, so that it is told when nothing comes of it. */
  approach(clear: Uint8Array, to: Endpoint, cipher: StreamCipher | undefined): void {
    if (!this.#isPunched(to)) {
      if (this.#punched.length >= (this.#plan.maxPunched ?? MAX_PUNCHED)) return;
      this.#punched.push({ to, cipher });
    }
    this.send(clear, to, cipher);
  }

  /** Has the next round begin now. */
  hurry(): void {
    if (this.#over || this.#knockTimer === undefined) return;
    this.#knockTimer.cancel();
    this.#knock();
  }

  #knock(): void {
    this.#plan.knock(this);
    if (this.#over) return;
    const spread = this.#options.random === undefined ? 0 : this.#options.random.next() * SPREAD_MS;
    const pauseMs = this.#plan.pauseMs(this.#round++) + spread;
    this.#knockTimer = this.#options.clock.timer(pauseMs, () => this.#knock());
  }

  #onMessage(data: Uint8Array, from: Endpoint): void {
    if (this.#over || !this.#plan.trusts(from) || isOwnSocket(this.#options.network, this.local, from)) return;
    for (const cipher of this.#plan.ciphers) {
      const message = decodeMessage(cipher === undefined ? data : cipher.decipher(data));
      if (message.type === 'malformed' || message.type === 'unknown') continue;
      if (message.type === 'PUNCH_PKT' || message.type === 'P2P_RDY') this.#onKnock(message, from, cipher);
      else this.#plan.onMessage?.(message, from, cipher);
      return;
    }
  }

  #onKnock({ type, uid }: Knock, from: Endpoint, cipher: StreamCipher | undefined): void {
    if (this.#plan.uid !== undefined && this.#plan.uid !== uid) {
      this.#onStranger(uid, from);
    } else if (type === 'PUNCH_PKT') {
      this.punch(uid, from, cipher);
      this.#plan.onPunched?.(from);
    } else if (this.#isPunched(from)) {
      this.succeed(uid, from, cipher);
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

  #onError(error: Error): void {
    if (this.#over) return;
    this.#sendError = errorMessage(error);
    this.#log.debug('a datagram could not be sent or was refused', { error: this.#sendError });
    if (!this.#plan.failEarly || errorCode(error) !== 'connection-refused') return;
    this.fail(
      new PpppError(
        'refused',
        `Nothing listens at ${this.#plan.target}: its host refuses. Try another port, or search the LAN.`,
        { target: this.#plan.target, cause: error },
      ),
    );
  }

  /**
   * Ends the attempt with a session at `peer`.
   * @param detour puts something between the session and its socket
   */
  succeed(
    uid: string,
    peer: Endpoint,
    cipher: StreamCipher | undefined,
    detour?: (own: SessionCarrier, socket: UdpSocket) => Detour,
  ): Session {
    const { clock, log, mode = 'lan', session: options } = this.#options;
    this.#stop();
    const own = new UdpCarrier(this.#socket!, { ...peer }, mode);
    const taken = detour?.(own, this.#socket!);
    const carrier = taken?.carrier ?? own;
    const session = new Session({
      role: 'client',
      uid,
      carrier,
      clock,
      ...(log === undefined ? {} : { log }),
      ...(cipher === undefined ? {} : { cipher }),
      ...(options === undefined ? {} : { options }),
    });
    this.#inbox.receive = receiverOf(session, taken);
    // A session notices by itself when nothing arrives any more.
    this.#inbox.fail = () => {};
    session.announce();
    this.#letGo(peer);
    this.#log.debug(`session with ${uid} at ${formatEndpoint(peer)}`, { localPort: carrier.local.port });
    this.#settle?.resolve(session);
    return session;
  }

  /** Ends the attempt without a session. */
  fail(reason: unknown): void {
    if (this.#over) return;
    this.#stop();
    this.#letGo();
    this.#settle?.reject(reason);
  }

  /** Tells every device that was punched, but for the one that is kept, that nothing will come of it. */
  #letGo(kept?: Endpoint): void {
    for (const { to, cipher } of this.#punched) {
      if (kept === undefined || !sameEndpoint(to, kept)) this.send(CLOSE, to, cipher);
    }
    this.#punched.length = 0;
  }

  #stop(): void {
    this.#over = true;
    this.#knockTimer?.cancel();
    this.#limitTimer?.cancel();
  }

  #isPunched(endpoint: Endpoint): boolean {
    return this.#punched.some(({ to }) => sameEndpoint(to, endpoint));
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
