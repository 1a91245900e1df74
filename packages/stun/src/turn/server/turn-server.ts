import { type Log, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import * as attr from '../../message/attributes.ts';
import { StunErrorCode } from '../../message/error-codes.ts';
import { MessageClass, Method } from '../../message/header.ts';
import { decodeStun, type StunMessage } from '../../message/stun-message.ts';
import { BindingResponder, errorResponse, unknownAttributes } from '../../server/binding-responder.ts';
import { handleAllocate } from './allocate-request.ts';
import type { Allocation } from './allocation.ts';
import { Allocations } from './allocations.ts';
import { Authenticator, type Identity } from './authenticator.ts';
import type { ClientLink, LinkReceiver } from './client-link.ts';
import { Nonces } from './nonce.ts';
import {
  DEFAULT_LIMITS,
  newCounters,
  type TurnListenerOptions,
  type TurnServerComponents,
  type TurnServerInit,
  type TurnServerStats,
} from './options.ts';
import { PeerPolicy } from './peer-policy.ts';
import { RelayPorts } from './relay-ports.ts';
import { SourceLimiter } from './source-limiter.ts';
import { StreamLink, StreamListener } from './stream-listener.ts';
import {
  ALLOCATION_METHODS,
  type Authenticated,
  handleChannelBind,
  handleConnect,
  handleCreatePermission,
  handleRefresh,
  Refusal,
  type RequestContext,
  refusal,
  refusalOf,
  success,
} from './turn-requests.ts';
import { UdpListener } from './udp-listener.ts';

/** Comprehension-required attributes that TURN requests may carry. DONT-FRAGMENT is not: Node cannot set the bit. */
const KNOWN: ReadonlySet<number> = new Set(
  [
    attr.username,
    attr.messageIntegrity,
    attr.messageIntegritySha256,
    attr.realm,
    attr.nonce,
    attr.passwordAlgorithm,
    attr.channelNumber,
    attr.lifetime,
    attr.xorPeerAddress,
    attr.data,
    attr.requestedAddressFamily,
    attr.evenPort,
    attr.requestedTransport,
    attr.reservationToken,
    attr.connectionId,
  ].map(({ type }) => type),
);

/** The range that is registered for such use (RFC 8656 §7.2). */
const DEFAULT_RELAY_PORTS = [49_152, 65_535] as const;

const DEFAULT_PORTS = { udp: 3478, tcp: 3478, tls: 5349 } as const;

/**
 * A TURN server (RFC 8656, with TCP allocations of RFC 6062) that also answers STUN Binding requests.
 * All of its state is its own: several workers can run side by side.
 *
 * @example
 * await using server = await TurnServer.listen(
 *   { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() },
 *   { listeners: [{ address: '192.0.2.1' }], relay: [{ address: '192.0.2.1' }], credentials: { secrets: ['…'] } },
 * );
 */
export class TurnServer implements AsyncDisposable, LinkReceiver {
  readonly #init: TurnServerInit;
  readonly #log: Log;
  readonly #components: TurnServerComponents;
  readonly #table: Allocations;
  readonly #context: RequestContext & { alternate: Endpoint | undefined };
  readonly #authenticator: Authenticator;
  readonly #sources: SourceLimiter;
  readonly #binding: BindingResponder;
  readonly #udp: UdpListener[] = [];
  readonly #streams: StreamListener[] = [];
  #closing: Promise<void> | undefined;

  private constructor(components: TurnServerComponents, init: TurnServerInit) {
    const { network, clock, random } = components;
    const limits = { ...DEFAULT_LIMITS, ...init.limits };
    const relayed = init.relay.flatMap(({ address, announce }) =>
      announce === undefined ? [address] : [address, announce],
    );
    const relayPorts = init.relayPorts ?? DEFAULT_RELAY_PORTS;
    const shared = init.shared ?? false;
    const isSibling = ({ address, port }: Endpoint) =>
      shared && port >= relayPorts[0] && port <= relayPorts[1] && relayed.includes(address);
    const nonces = new Nonces(init.nonceSecret ?? random.bytes(32), init.nonceLifetimeMs ?? 600_000);
    this.#components = components;
    this.#init = { ...init, limits };
    this.#log = (components.log ?? silentLog).child('TURN');
    this.#table = new Allocations(clock, random, limits);
    this.#authenticator = new Authenticator(clock, nonces, {
      realm: init.realm ?? 'towpath',
      credentials: init.credentials,
    });
    this.#sources = new SourceLimiter(limits.unauthenticatedPerSecond, random, clock.now());
    this.#binding = new BindingResponder({ software: init.software });
    this.#context = {
      network,
      clock,
      random,
      log: this.#log,
      table: this.#table,
      counters: newCounters(),
      policy: new PeerPolicy(init.peers ?? {}, network.interfaces(), relayed),
      ports: new RelayPorts(network, random, { addresses: init.relay, range: relayPorts }),
      software: init.software,
      maxLifetimeMs: init.maxLifetimeMs ?? 3_600_000,
      shared,
      alternate: undefined,
      isRelayed: (peer) => this.#table.isRelayed(peer) || isSibling(peer),
      end: (allocation, why) => this.#end(allocation, why),
    };
  }

  /**
   * Opens every listener.
   * @throws NetError as {@link Network.bindUdp} and {@link Network.listenTcp}; then nothing stays open.
   */
  static async listen(components: TurnServerComponents, init: TurnServerInit): Promise<TurnServer> {
    init.signal?.throwIfAborted();
    const server = new TurnServer(components, init);
    try {
      for (const listener of init.listeners) await server.#open(listener);
    } catch (error) {
      await server.close();
      throw error;
    }
    init.signal?.addEventListener('abort', server.#abort, { once: true });
    return server;
  }

  /** Where the listeners are bound, UDP first, each in the order given. */
  get locals(): Endpoint[] {
    return [...this.#udp, ...this.#streams].map(({ local }) => local);
  }

  get stats(): TurnServerStats {
    const { counters } = this.#context;
    return {
      ...counters,
      refused: { ...counters.refused },
      dropped: { ...counters.dropped },
      allocations: this.#table.size,
      users: this.#table.users,
      connections: this.#streams.reduce((sum, { connections }) => sum + connections, 0),
    };
  }

  /** Sends new clients to another server (300 Try Alternate) while the present ones go on; undefined ends it. */
  drain(alternate: Endpoint | undefined): void {
    this.#context.alternate = alternate;
  }

  /** Ends every allocation and closes every socket. Idempotent. */
  close(): Promise<void> {
    this.#init.signal?.removeEventListener('abort', this.#abort);
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal */
  onStray(reason: 'notPermitted' | 'malformed'): void {
    this.#context.counters.dropped[reason]++;
  }

  /** @internal */
  onGone(link: ClientLink): void {
    const allocation = this.#table.of(link);
    if (allocation === 'pending') this.#table.release(link);
    else if (allocation !== undefined) this.#end(allocation, 'its connection ended');
  }

  /** @internal */
  onStun(link: ClientLink, data: Uint8Array): void {
    const plain = this.#binding.plainAnswer(data, link.remote);
    if (plain !== undefined) {
      this.#context.counters.bindings++;
      link.send(plain);
      return;
    }
    const result = decodeStun(data);
    if (!result.ok) {
      this.#context.counters.dropped.malformed++;
      return;
    }
    const { message } = result;
    if (message.class === MessageClass.Request) this.#request(link, message);
    else if (message.class === MessageClass.Indication && message.method === Method.Send)
      this.#sendIndication(link, message);
  }

  async #open({ transport = 'udp', ...listen }: TurnListenerOptions): Promise<void> {
    const { network, clock } = this.#components;
    const { address, port = DEFAULT_PORTS[transport], tls } = listen;
    if (transport === 'udp') {
      const listener = new UdpListener(this);
      await listener.bind(network, { address, port });
      this.#udp.push(listener);
      this.#log.info('listens', { transport, at: formatEndpoint(listener.local) });
      return;
    }
    if (transport === 'tls' && tls === undefined) throw new TypeError('A TLS listener needs a certificate and a key.');
    const listener = new StreamListener(this, clock);
    await listener.bind(network, {
      address,
      port,
      tls: transport === 'tls' ? tls : undefined,
      maxConnections: this.#init.limits!.connections!,
      onError: (error) => this.#log.debug('a client could not connect', { error }),
    });
    this.#streams.push(listener);
    this.#log.info('listens', { transport, at: formatEndpoint(listener.local) });
  }

  readonly #abort = (): void => {
    void this.close();
  };

  async #close(): Promise<void> {
    await Promise.all([...this.#udp, ...this.#streams].map((listener) => listener.close()));
    await this.#table.close();
  }

  #sendIndication(link: ClientLink, message: StunMessage): void {
    const allocation = this.#table.of(link);
    const peer = message.get(attr.xorPeerAddress);
    const data = message.get(attr.data);
    const { dropped } = this.#context.counters;
    // DONT-FRAGMENT cannot be honoured, so the data must not be sent (RFC 8656 §11.3).
    if (peer === undefined || data === undefined || message.unknownRequired(KNOWN).length > 0) dropped.malformed++;
    else if (allocation === undefined || allocation === 'pending') dropped.notPermitted++;
    else allocation.fromClientSend(data, peer);
  }

  #request(link: ClientLink, request: StunMessage): void {
    const { counters, clock } = this.#context;
    if (request.method === Method.Binding) {
      counters.bindings++;
      link.send(this.#binding.answer(request, link.remote));
      return;
    }
    const held = this.#table.of(link);
    const allocation = held === 'pending' ? undefined : held;
    const { address } = link.remote;
    if (held === undefined && !this.#sources.allow(address, clock.now())) {
      counters.dropped.rate++;
      return;
    }
    const result = this.#authenticator.authenticate(request, link.remote, allocation?.identity);
    if (!result.ok) {
      counters.unauthenticated++;
      if (held === undefined || this.#sources.allow(address, clock.now())) link.send(result.response);
      else counters.dropped.rate++;
      return;
    }
    if (!this.#table.allowRequest(result.identity.user)) {
      counters.dropped.rate++;
      return;
    }
    this.#dispatch({ request, link, identity: result.identity }, allocation);
  }

  #dispatch(authenticated: Authenticated, allocation: Allocation | undefined): void {
    const { request, link } = authenticated;
    const unknown = request.unknownRequired(KNOWN);
    if (unknown.length > 0) {
      link.send(unknownAttributes(request, unknown));
      return;
    }
    if (ALLOCATION_METHODS.has(request.method)) {
      if (allocation === undefined) {
        this.#reply(authenticated, new Refusal(StunErrorCode.AllocationMismatch));
        return;
      }
      if (!sameUser(allocation.identity, authenticated.identity)) {
        this.#reply(authenticated, new Refusal(StunErrorCode.WrongCredentials));
        return;
      }
    }
    switch (request.method) {
      case Method.Allocate:
        this.#later(authenticated, handleAllocate(this.#context, authenticated));
        return;
      case Method.Refresh:
        this.#reply(authenticated, handleRefresh(this.#context, authenticated, allocation!));
        return;
      case Method.CreatePermission:
        this.#reply(authenticated, handleCreatePermission(this.#context, authenticated, allocation!));
        return;
      case Method.ChannelBind:
        this.#reply(authenticated, handleChannelBind(this.#context, authenticated, allocation!));
        return;
      case Method.Connect:
        this.#later(authenticated, handleConnect(this.#context, authenticated, allocation!));
        return;
      case Method.ConnectionBind:
        this.#connectionBind(authenticated);
        return;
      default:
        link.send(errorResponse(request, StunErrorCode.BadRequest).finish());
    }
  }

  /** ConnectionBind comes over a connection of its own, from the user whose allocation it is about (RFC 6062 §5.4). */
  #connectionBind(authenticated: Authenticated): void {
    const { request, link, identity } = authenticated;
    const connection = this.#table.connections.get(request.get(attr.connectionId) ?? 0);
    const usable = connection?.waiting === true;
    if (
      !(link instanceof StreamLink) ||
      link.sink !== undefined ||
      !usable ||
      connection.relay.username !== identity.username
    ) {
      this.#reply(authenticated, new Refusal(StunErrorCode.BadRequest));
      return;
    }
    link.become(connection, success(this.#context, authenticated));
  }

  #later(authenticated: Authenticated, outcome: Promise<Uint8Array | Refusal | undefined>): void {
    outcome
      .catch((error: unknown) => refusalOf(this.#context, error))
      .then((settled) => {
        if (settled !== undefined) this.#reply(authenticated, settled);
      })
      .catch((error: unknown) => this.#log.error('an answer could not be made', { error }));
  }

  #reply(authenticated: Authenticated, outcome: Uint8Array | Refusal): void {
    authenticated.link.send(outcome instanceof Refusal ? refusal(this.#context, authenticated, outcome) : outcome);
  }

  #end(allocation: Allocation, why: string): void {
    this.#table.release(allocation.link);
    this.#log.info('allocation ended', { client: formatEndpoint(allocation.link.remote), why });
    allocation.close().catch((error: unknown) => this.#log.warn('a relay socket did not close', { error }));
  }
}

/** Only who made an allocation may change it (RFC 8656 §7.3, 441). */
function sameUser(owner: Identity, asker: Identity): boolean {
  return owner.username === asker.username;
}
