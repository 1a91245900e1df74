import { type Log, RateLimit, silentLog } from '@towpath/core';
import { addressFamily, ConnectionLimit, type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import type { IcmpError } from '@towpath/splice';
import * as attr from '../../message/attributes.ts';
import { StunErrorCode } from '../../message/error-codes.ts';
import { MessageClass, Method } from '../../message/header.ts';
import { decodeStun, type StunMessage } from '../../message/stun-message.ts';
import { AnswerLimit } from '../../server/answer-limit.ts';
import { BindingResponder, errorResponse } from '../../server/binding-responder.ts';
import { handleAllocate } from './allocate-request.ts';
import type { Allocation } from './allocation.ts';
import { Allocations } from './allocations.ts';
import { Authenticator, sameUser } from './authenticator.ts';
import type { ClientLink, LinkReceiver } from './client-link.ts';
import { GroupQuotas } from './group-quotas.ts';
import { Nonces } from './nonce.ts';
import {
  DEFAULT_LIMITS,
  newCounters,
  type TurnListenerOptions,
  type TurnServerComponents,
  type TurnServerOptions,
  type TurnServerStats,
} from './options.ts';
import { PeerPolicy } from './peer-policy.ts';
import { PlainPorts } from './plain-ports.ts';
import { RelayPorts } from './relay-ports.ts';
import { StreamLink, StreamListener } from './stream-listener.ts';
import {
  ALLOCATION_METHODS,
  type Authenticated,
  handleChannelBind,
  handleConnect,
  handlePlain,
  handleCreatePermission,
  handleRefresh,
  keepUntilExpiry,
  Refusal,
  type RequestContext,
  refusal,
  refusalOf,
  success,
} from './turn-requests.ts';
import { UdpListener } from './udp-listener.ts';
import { UserLog } from './user-log.ts';

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
  readonly #options: TurnServerOptions;
  readonly #log: Log;
  readonly #components: TurnServerComponents;
  readonly #table: Allocations;
  readonly #context: RequestContext & { alternate: Endpoint | undefined };
  readonly #authenticator: Authenticator;
  readonly #unauthenticated: AnswerLimit;
  readonly #bindings: AnswerLimit;
  readonly #connectionLimit: ConnectionLimit;
  readonly #binding: BindingResponder;
  readonly #udp: UdpListener[] = [];
  readonly #streams: StreamListener[] = [];
  #closing: Promise<void> | undefined;

  private constructor(components: TurnServerComponents, options: TurnServerOptions) {
    const { network, clock, random } = components;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const relayed = options.relay.map(({ address, announce = address }) => announce);
    const relayPorts = options.relayPorts ?? DEFAULT_RELAY_PORTS;
    const shared = options.shared ?? false;
    const isSibling = ({ address, port }: Endpoint) =>
      shared && port >= relayPorts[0] && port <= relayPorts[1] && relayed.includes(address);
    const nonces = new Nonces(options.nonceSecret ?? random.bytes(32), options.nonceLifetimeMs ?? 600_000);
    this.#components = components;
    this.#options = { ...options, limits };
    this.#log = (components.log ?? silentLog).child('TURN');
    const groups = new GroupQuotas({ clock }, options.groups ?? []);
    this.#table = new Allocations({ clock, random, groups }, limits);
    this.#authenticator = new Authenticator(
      { clock, nonces },
      {
        realm: options.realm ?? 'towpath',
        credentials: options.credentials,
      },
    );
    this.#unauthenticated = new AnswerLimit(components, {
      perNetworkPerSecond: limits.unauthenticatedPerSecond,
      perSecond: limits.unauthenticatedPerSecondTotal,
    });
    this.#bindings = new AnswerLimit(components, {
      perNetworkPerSecond: limits.bindingsPerSecond,
      perSecond: limits.bindingsPerSecondTotal,
    });
    const userLog = new UserLog(components, this.#log);
    const { bytesPerSecondPerUser: burstBytes } = limits;
    this.#connectionLimit = new ConnectionLimit({
      total: limits.connections,
      perAddress: limits.connectionsPerAddress,
    });
    this.#binding = new BindingResponder({ software: options.software });
    const counters = newCounters();
    const policy = new PeerPolicy({ network, clock }, { ...options.peers, relayed });
    const ports = new RelayPorts({ network, random }, { addresses: options.relay, range: relayPorts });
    const logOf = (user: string) => userLog.of(user);
    const isRelayed = (peer: Endpoint) => this.#table.isRelayed(peer) || isSibling(peer);
    this.#context = {
      network,
      clock,
      random,
      log: this.#log,
      logOf,
      bandwidth: Number.isFinite(burstBytes)
        ? { limit: new RateLimit(components, { perSecond: burstBytes }), burstBytes }
        : undefined,
      groups,
      table: this.#table,
      counters,
      policy,
      ports,
      plain: new PlainPorts(
        {
          ...{ clock, log: this.#log, logOf, counters, ports, policy, plane: components.plane },
          authenticator: this.#authenticator,
          binding: this.#binding,
          bindings: this.#bindings,
          unauthenticated: this.#unauthenticated,
          software: options.software,
          groups,
          isRelayed,
          allowRequest: (user) => this.#table.allowRequest(user),
        },
        { total: limits.plainPorts, perUser: limits.plainPortsPerUser },
      ),
      software: options.software,
      maxLifetimeMs: options.maxLifetimeMs ?? 3_600_000,
      shared,
      alternate: undefined,
      isRelayed,
      end: (allocation, why) => this.#end(allocation, why),
    };
  }

  /**
   * Opens every listener.
   * @throws NetError as {@link Network.bindUdp} and {@link Network.listenTcp}; then nothing stays open.
   */
  static async listen(components: TurnServerComponents, options: TurnServerOptions): Promise<TurnServer> {
    options.signal?.throwIfAborted();
    const server = new TurnServer(components, options);
    try {
      for (const listener of options.listeners) await server.#open(listener);
    } catch (error) {
      await server.close();
      throw error;
    }
    options.signal?.addEventListener('abort', server.#abort, { once: true });
    return server;
  }

  /** Where the listeners are bound, UDP first, each in the order given. */
  get locals(): Endpoint[] {
    return [...this.#udp, ...this.#streams].map(({ local }) => local);
  }

  get stats(): TurnServerStats {
    const { counters } = this.#context;
    const { open, unused, refused, evicted } = this.#connectionLimit.stats;
    return {
      ...counters,
      refused: { ...counters.refused },
      quotaReached: { ...counters.quotaReached },
      dropped: { ...counters.dropped },
      allocations: this.#table.size,
      users: this.#table.users,
      plainPorts: this.#context.plain.size,
      kernel: this.#components.plane?.stats,
      connections: open,
      connectionsUnused: unused,
      connectionsRefused: refused,
      connectionsEvicted: evicted,
    };
  }

  /**
   * Listens at one more place, because the host has got another address.
   * @returns where it is bound.
   * @throws NetError as {@link listen}.
   */
  async addListener(listener: TurnListenerOptions): Promise<Endpoint> {
    return this.#open(listener);
  }

  /** Stops listening at a place; its clients lose their allocations when they expire. */
  async removeListener(local: Endpoint): Promise<void> {
    for (const listeners of [this.#udp, this.#streams]) {
      const at = listeners.findIndex((one) => sameEndpoint(one.local, local));
      if (at >= 0) await listeners.splice(at, 1)[0]!.close();
    }
  }

  /** Sends new clients to another server (300 Try Alternate) while the present ones go on; undefined ends it. */
  drain(alternate: Endpoint | undefined): void {
    this.#context.alternate = alternate;
  }

  /** The users that have allocations. */
  get users(): ReadonlySet<string> {
    return new Set(this.#table.all().map(({ identity }) => identity.user));
  }

  /**
   * Ends the allocations of users that `matches`, because their credentials were revoked.
   * @returns how many were ended.
   */
  endAllocations(matches: (username: string, user: string) => boolean): number {
    const ended = this.#table.all().filter(({ identity }) => matches(identity.username, identity.user));
    for (const allocation of ended) this.#end(allocation, 'its credentials were revoked');
    return ended.length;
  }

  /** True while an allocation may be told of ICMP errors. */
  get isRelaying(): boolean {
    return this.#table.size > 0;
  }

  /**
   * Tells clients of ICMP errors about what was sent from their relayed addresses to peers with a permission (RFC 8656 §11.5).
   * Other errors are ignored. Nothing proves that an error is true: clients must not rely on it.
   */
  reportIcmp(errors: readonly IcmpError[]): void {
    const byPort = new Map<string, Allocation>();
    for (const allocation of this.#table.all()) {
      for (const { family, announced } of allocation.relays()) byPort.set(`${family} ${announced.port}`, allocation);
    }
    for (const error of errors) byPort.get(`${addressFamily(error.peer.address)} ${error.port}`)?.icmpError(error);
  }

  /** Ends every allocation and closes every socket. Idempotent. */
  close(): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#abort);
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
      this.#answerBinding(link, plain);
      return;
    }
    const result = decodeStun(data);
    if (!result.ok) {
      this.#context.counters.dropped.malformed++;
      link.reject();
      return;
    }
    const { message } = result;
    if (message.class === MessageClass.Request) this.#request(link, message);
    else if (message.class === MessageClass.Indication && message.method === Method.Send)
      this.#sendIndication(link, message);
  }

  async #open({ transport = 'udp', ...listen }: TurnListenerOptions): Promise<Endpoint> {
    const { network, clock } = this.#components;
    const { address, port = DEFAULT_PORTS[transport], tls } = listen;
    if (transport === 'udp') {
      const listener = new UdpListener(this);
      await listener.bind(network, { address, port });
      this.#udp.push(listener);
      this.#log.info('listens', { transport, at: formatEndpoint(listener.local) });
      return listener.local;
    }
    if (transport === 'tls' && tls === undefined) throw new TypeError('A TLS listener needs a certificate and a key.');
    const listener = new StreamListener(this, clock);
    await listener.bind(network, {
      address,
      port,
      tls: transport === 'tls' ? tls : undefined,
      limit: this.#connectionLimit,
      onError: (error) => this.#log.debug('a client could not connect', { error }),
    });
    this.#streams.push(listener);
    this.#log.info('listens', { transport, at: formatEndpoint(listener.local) });
    return listener.local;
  }

  readonly #abort = (): void => {
    void this.close();
  };

  async #close(): Promise<void> {
    await Promise.all([...this.#udp, ...this.#streams].map((listener) => listener.close()));
    await this.#table.close();
    this.#context.plain.close();
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

  #answerBinding(link: ClientLink, answer: Uint8Array): void {
    const { counters } = this.#context;
    if (!this.#bindings.allow(link.remote.address)) {
      counters.dropped.rate++;
      if (this.#table.of(link) === undefined) link.reject();
      return;
    }
    counters.bindings++;
    link.send(answer);
  }

  #request(link: ClientLink, request: StunMessage): void {
    const { counters } = this.#context;
    if (request.method === Method.Binding) {
      this.#answerBinding(link, this.#binding.answer(request, link.remote));
      return;
    }
    const held = this.#table.of(link);
    const allocation = held === 'pending' ? undefined : held;
    const { address } = link.remote;
    // Not even looked at beyond the limit, so that passwords cannot be tried faster; what is authenticated takes nothing from it.
    if (held === undefined && !this.#unauthenticated.allows(address)) {
      counters.dropped.rate++;
      link.reject();
      return;
    }
    if (held === undefined && this.#redirect(link, request)) {
      this.#unauthenticated.allow(address);
      return;
    }
    const result = this.#authenticator.authenticate(
      request,
      link.remote,
      allocation?.identity,
      this.#nonceScope(link, request),
    );
    if (!result.ok) {
      counters.unauthenticated++;
      if (this.#unauthenticated.allow(address)) link.send(result.response);
      else counters.dropped.rate++;
      return;
    }
    if (!this.#table.allowRequest(result.identity.user)) {
      counters.dropped.rate++;
      return;
    }
    this.#dispatch({ request, link, identity: result.identity }, allocation);
  }

  /**
   * A nonce is good for one transport and port: who has seen a request cannot repeat it from another one. A ConnectionBind
   * comes from a port of its own with the nonce of the control connection (RFC 6062 §4.3).
   */
  #nonceScope(link: ClientLink, request: StunMessage): string {
    const bind = request.method === Method.ConnectionBind ? request.get(attr.connectionId) : undefined;
    const { transport, remote } = this.#table.connections.get(bind ?? 0)?.relay.client ?? link;
    return ` ${transport} ${remote.port}`;
  }

  /**
   * Answers an unsigned Allocate with 300 while the server drains. It comes before the challenge, because browsers take
   * the nonce of this server to the other one and give up when that one does not know it.
   */
  #redirect(link: ClientLink, request: StunMessage): boolean {
    const { alternate, counters } = this.#context;
    const unsigned = !request.has(attr.messageIntegrity) && !request.has(attr.messageIntegritySha256);
    if (alternate === undefined || request.method !== Method.Allocate || !unsigned) return false;
    counters.refused[StunErrorCode.TryAlternate] = (counters.refused[StunErrorCode.TryAlternate] ?? 0) + 1;
    link.send(errorResponse(request, StunErrorCode.TryAlternate).add(attr.alternateServer, alternate).finish());
    return true;
  }

  #dispatch(authenticated: Authenticated, allocation: Allocation | undefined): void {
    const { request } = authenticated;
    const unknown = request.unknownRequired(KNOWN);
    if (unknown.length > 0) {
      const { UnknownAttribute } = StunErrorCode;
      this.#reply(
        authenticated,
        new Refusal(UnknownAttribute, (writer) => writer.add(attr.unknownAttributes, unknown)),
      );
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
      keepUntilExpiry(this.#context, allocation, authenticated.identity);
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
      case Method.ChannelBind: {
        const outcome = handleChannelBind(this.#context, authenticated, allocation!);
        if (outcome instanceof Refusal || !request.has(attr.plainRelay)) this.#reply(authenticated, outcome);
        else this.#later(authenticated, handlePlain(this.#context, authenticated, allocation!));
        return;
      }
      case Method.Connect:
        this.#later(authenticated, handleConnect(this.#context, authenticated, allocation!));
        return;
      case Method.ConnectionBind:
        this.#connectionBind(authenticated);
        return;
      default:
        this.#reply(authenticated, new Refusal(StunErrorCode.BadRequest));
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
      !sameUser(connection.relay.identity, identity)
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
    this.#context
      .logOf(allocation.identity.user)
      .info('allocation ended', { client: formatEndpoint(allocation.link.remote), why });
    allocation.close().catch((error: unknown) => this.#log.warn('a relay socket did not close', { error }));
  }
}
