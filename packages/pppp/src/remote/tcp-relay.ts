import { type Log, silentLog, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import { decodeMessage, encodeMessage } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import type { PpppError } from '../pppp-error.ts';
import { Session } from '../session/session.ts';
import type { PpppSession } from '../session-types.ts';
import { RelayCarrier } from './relay-carrier.ts';
import type { RelayAttemptOptions } from './relay-options.ts';
import type { Reservation } from './relay-choice.ts';
import { type RelayLine, RelayTalk } from './relay-talk.ts';
import { ServerPanel } from './server-panel.ts';
import { TcpCarrier, TcpLine } from './tcp-line.ts';

/** The line on which the session runs. */
interface Joined {
  readonly line: TcpLine;
  readonly session: Session;
  readonly carrier: RelayCarrier;
}

/** One attempt to reach a device over a relay by TCP, for hosts whose UDP does not leave: a connection to each party. */
export class TcpRelayAttempt implements RelayLine {
  readonly #options: RelayAttemptOptions;
  readonly #log: Log;
  readonly #panel: ServerPanel;
  readonly #talk: RelayTalk;
  readonly #lines: Map<string, TcpLine> = new Map();
  readonly #result: PromiseWithResolvers<PpppSession> = Promise.withResolvers();
  readonly #onAbort = (): void => this.#end(this.#options.signal.reason);
  #limit: Timer | undefined;
  #timer: Timer | undefined;
  #joined: Joined | undefined;
  #over = false;

  constructor(options: RelayAttemptOptions) {
    const { uid, clock, random, servers, relays, secret, serverPatienceMs } = options;
    this.#options = options;
    this.#log = options.log ?? silentLog;
    const now = clock.now();
    this.#panel = new ServerPanel(uid, servers, random, now, serverPatienceMs);
    this.#talk = new RelayTalk({ uid, secret, panel: this.#panel, relays, random, readyFrom: 'base' }, this, now);
  }

  run(): Promise<PpppSession> {
    const { clock, signal, timeoutMs } = this.#options;
    if (signal.aborted) {
      this.#end(signal.reason);
      return this.#result.promise;
    }
    signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#limit = clock.timer(timeoutMs, () => this.#end(this.#talk.timedOut(clock.now())));
    this.#tick();
    return this.#result.promise;
  }

  toServer(server: Endpoint, datagram: Uint8Array): void {
    this.#lineTo(server).send(datagram);
  }

  toRelay(base: Endpoint, datagram: Uint8Array): void {
    this.#lineTo(base).send(datagram);
  }

  toSession({ base }: Reservation, datagram: Uint8Array): void {
    this.#lineTo(base).send(datagram);
  }

  fail(error: PpppError): void {
    this.#end(error);
  }

  ready({ base, magic, rttMs }: Reservation): void {
    const { uid, clock, log, cipher, session: options } = this.#options;
    const line = this.#lineTo(base);
    const introduction = encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'client' });
    const hello = encodeMessage({ type: 'RLY_HELLO' });
    const probes = { introduce: () => line.send(introduction), hello: () => line.send(hello) };
    const carrier = new RelayCarrier(new TcpCarrier(line), clock, probes, rttMs);
    const session = new Session({
      role: 'client',
      uid,
      carrier,
      clock,
      ...(log === undefined ? {} : { log }),
      ...(cipher === undefined ? {} : { cipher }),
      ...(options === undefined ? {} : { options }),
    });
    this.#joined = { line, session, carrier };
    this.#stop(line);
    session.announce();
    carrier.watch(session);
    this.#log.debug(`session with ${uid} over TCP at ${formatEndpoint(base)}`);
    this.#result.resolve(session);
  }

  #tick(): void {
    if (this.#over) return;
    this.#timer?.cancel();
    const { clock } = this.#options;
    this.#talk.tick(clock.now());
    const now = clock.now();
    if (!this.#over) this.#timer = clock.timer(Math.max(1, this.#talk.nextAt(now) - now), () => this.#tick());
  }

  #lineTo(to: Endpoint): TcpLine {
    const key = formatEndpoint(to);
    const known = this.#lines.get(key);
    if (known !== undefined) return known;
    const { network, clock, localAddress, cipher, onSocket } = this.#options;
    const line: TcpLine = new TcpLine({
      network,
      clock,
      to,
      ...(localAddress === undefined ? {} : { localAddress }),
      cipher,
      onOpen: (local) => onSocket?.(local),
      onDatagram: (datagram) => this.#onDatagram(line, datagram),
      onLost: (error) => this.#onLost(line, error),
    });
    this.#lines.set(key, line);
    return line;
  }

  #onDatagram(line: TcpLine, datagram: Uint8Array): void {
    const { cipher, clock, onHeard } = this.#options;
    if (this.#joined !== undefined) {
      if (line === this.#joined.line) this.#onSessionDatagram(this.#joined, datagram);
      return;
    }
    const message = decodeMessage(cipher === undefined ? datagram : cipher.decipher(datagram));
    if (message.type === 'unknown' || message.type === 'malformed') return;
    onHeard?.();
    if (this.#talk.receive(message, line.to, clock.now())) this.#tick();
  }

  #onSessionDatagram({ line, session, carrier }: Joined, datagram: Uint8Array): void {
    const { cipher } = this.#options;
    const type = cipher === undefined ? datagram[1] : cipher.peek(datagram, 1);
    if (type === MessageType.RLY_RDY) carrier.onReady();
    else if (type === MessageType.RLY_HELLO_ACK) carrier.onHello();
    else session.receive(datagram, line.to);
  }

  #onLost(line: TcpLine, error: Error): void {
    this.#log.debug(`TCP to ${formatEndpoint(line.to)} is lost`, { error: error.message });
    if (this.#joined !== undefined) {
      if (line === this.#joined.line) this.#joined.session.abandon('carrier-failed', false);
      return;
    }
    if (this.#over) return;
    this.#talk.relayFailed(line.to);
    // A server is asked again over a new connection when its next request is due.
    if (this.#panel.find(line.to) !== undefined) this.#lines.delete(formatEndpoint(line.to));
    this.#tick();
  }

  #end(reason: unknown): void {
    if (this.#over) return;
    this.#stop();
    this.#result.reject(reason);
  }

  /** Ends the talk and every line but one. The relay tells the device when a line of a session ends. */
  #stop(kept?: TcpLine): void {
    this.#over = true;
    this.#timer?.cancel();
    this.#limit?.cancel();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    for (const line of this.#lines.values()) if (line !== kept) line.destroy();
    this.#lines.clear();
  }
}
