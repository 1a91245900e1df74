import { deadline, errorCode, type Log, Repeat, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import { decodeMessage, encodeMessage } from '../../codec/message.ts';
import type { PpppError } from '../../pppp-error.ts';
import { Session } from '../../session/session.ts';
import type { PpppSession } from '../../session-types.ts';
import { RelayCarrier } from './relay-carrier.ts';
import type { RelayAttemptOptions } from './relay-options.ts';
import type { Reservation } from './relay-choice.ts';
import { type RelaySignalling, RelayNegotiation } from './relay-negotiation.ts';
import { ContestedNotice } from '../../rendezvous/client/contested-notice.ts';
import type { RemoteComponents } from '../../rendezvous/client/options.ts';
import { RendezvousServers } from '../../rendezvous/client/rendezvous-servers.ts';
import { TcpCarrier, FramedConnection } from '../../tcp/framed-connection.ts';

/** The connection that carries the session. */
interface Joined {
  readonly connection: FramedConnection;
  readonly session: Session;
}

/**
 * One attempt to reach a device over a relay by TCP, for hosts whose outbound UDP is blocked: one connection to each
 * party.
 */
export class TcpRelayAttempt implements RelaySignalling {
  readonly #components: RemoteComponents;
  readonly #options: RelayAttemptOptions;
  readonly #log: Log;
  readonly #servers: RendezvousServers;
  readonly #negotiation: RelayNegotiation;
  readonly #contested: ContestedNotice;
  readonly #connections: Map<string, FramedConnection> = new Map();
  readonly #result: PromiseWithResolvers<PpppSession> = Promise.withResolvers();
  readonly #requests: Repeat;
  #joined: Joined | undefined;
  #over = false;

  constructor(components: RemoteComponents, options: RelayAttemptOptions) {
    const { clock, random, log = silentLog } = components;
    const { uid, servers, relays, secret, serverLimitMs, onContested } = options;
    this.#components = components;
    this.#options = options;
    this.#contested = new ContestedNotice({ log }, { uid, onContested });
    this.#log = log;
    this.#requests = new Repeat(components, { run: () => this.#tick() });
    this.#servers = new RendezvousServers({ clock, random }, { uid, endpoints: servers, patienceMs: serverLimitMs });
    this.#negotiation = new RelayNegotiation(
      { clock, random, signalling: this },
      { uid, secret, servers: this.#servers, relays, readyFrom: 'base' },
    );
  }

  async run(): Promise<PpppSession> {
    const { clock } = this.#components;
    const { signal, timeoutMs } = this.#options;
    signal.throwIfAborted();
    using limit = deadline(clock, timeoutMs, signal, () => this.#negotiation.timedOut(clock.now()));
    limit.signal.addEventListener('abort', () => this.#end(limit.signal.reason), { once: true });
    this.#requests.wake();
    return await this.#result.promise;
  }

  toServer(server: Endpoint, datagram: Uint8Array): void {
    this.#connectionTo(server).send(datagram);
  }

  toRelay(base: Endpoint, datagram: Uint8Array): void {
    this.#connectionTo(base).send(datagram);
  }

  toSession({ base }: Reservation, datagram: Uint8Array): void {
    this.#connectionTo(base).send(datagram);
  }

  contested(server: Endpoint): void {
    this.#contested.tell(server);
  }

  fail(error: PpppError): void {
    this.#end(error);
  }

  ready({ base, magic, rttMs }: Reservation): void {
    const { clock, log } = this.#components;
    const { uid, cipher, session: options } = this.#options;
    const connection = this.#connectionTo(base);
    const introduction = encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'client' });
    const hello = encodeMessage({ type: 'RLY_HELLO' });
    const probes = { introduce: () => connection.send(introduction), hello: () => connection.send(hello) };
    const carrier = new RelayCarrier({ inner: new TcpCarrier(connection), clock }, { probes, rttMs });
    const session = new Session({ carrier, clock, log }, { role: 'client', uid, cipher, options });
    this.#joined = { connection, session };
    this.#stop(connection);
    session.announce();
    carrier.watch(session);
    this.#log.debug(`session with ${uid} over TCP at ${formatEndpoint(base)}`);
    this.#result.resolve(session);
  }

  #tick(): number {
    const now = this.#components.clock.now();
    this.#negotiation.tick(now);
    return Math.max(1, this.#negotiation.nextAt(now) - now);
  }

  #connectionTo(to: Endpoint): FramedConnection {
    const key = formatEndpoint(to);
    const known = this.#connections.get(key);
    if (known !== undefined) return known;
    const { localAddress, cipher, onSocket } = this.#options;
    const connection: FramedConnection = new FramedConnection(this.#components, {
      to,
      localAddress,
      cipher,
      onOpen: (local) => onSocket?.(local),
      onDatagram: (datagram) => this.#onDatagram(connection, datagram),
      onLost: (error) => this.#onLost(connection, error),
    });
    this.#connections.set(key, connection);
    return connection;
  }

  #onDatagram(connection: FramedConnection, datagram: Uint8Array): void {
    const { cipher, onHeard } = this.#options;
    if (this.#joined !== undefined) {
      if (connection === this.#joined.connection) this.#joined.session.receive(datagram, connection.to);
      return;
    }
    const message = decodeMessage(cipher === undefined ? datagram : cipher.decipher(datagram));
    if (message.type === 'unknown' || message.type === 'malformed') {
      this.#onForeign(connection.to);
      return;
    }
    onHeard?.();
    if (this.#negotiation.receive(message, connection.to, this.#components.clock.now())) this.#requests.wake();
  }

  #onLost(connection: FramedConnection, error: Error): void {
    this.#log.debug(`TCP to ${formatEndpoint(connection.to)} is lost`, { error: error.message });
    if (this.#joined !== undefined) {
      if (connection === this.#joined.connection) this.#joined.session.abandon('carrier-failed', false);
      return;
    }
    if (this.#over) return;
    if (errorCode(error) === 'not-pppp') this.#onForeign(connection.to);
    this.#negotiation.relayFailed(connection.to);
    // A server is asked again over a new connection when its next request is due.
    if (this.#servers.find(connection.to) !== undefined) this.#connections.delete(formatEndpoint(connection.to));
    this.#requests.wake();
  }

  #onForeign(from: Endpoint): void {
    if (this.#negotiation.receiveForeign(from)) this.#requests.wake();
  }

  #end(reason: unknown): void {
    if (this.#over) return;
    this.#stop();
    this.#result.reject(reason);
  }

  /**
   * Ends the negotiation and every connection except one. The relay informs the device when a connection of a session
   * ends.
   */
  #stop(kept?: FramedConnection): void {
    this.#over = true;
    this.#requests.stop();
    for (const connection of this.#connections.values()) if (connection !== kept) connection.destroy();
    this.#connections.clear();
  }
}
