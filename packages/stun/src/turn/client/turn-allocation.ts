import {
  AbortedError,
  abortable,
  deadlineInterval,
  errorCode,
  isAbort,
  type Log,
  type PathHealth,
  Renewal,
  silentLog,
} from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, type TcpConnection, type TcpHandlers } from '@towpath/net';
import type { LongTermCredentials } from '../../client/long-term-auth.ts';
import { requestWithAuth } from '../../client/stun-client.ts';
import { StunError } from '../../client/stun-error.ts';
import type { StunRequest, StunResponse } from '../../client/stun-transactions.ts';
import * as attr from '../../message/attributes.ts';
import { channelOf, channelPayload, encodeChannelData, isChannelData } from '../../message/channel-data.ts';
import { StunErrorCode } from '../../message/error-codes.ts';
import { MessageClass, Method, TRANSACTION_ID_BYTES } from '../../message/header.ts';
import { decodeStun, type StunMessage } from '../../message/stun-message.ts';
import { StunWriter } from '../../message/stun-writer.ts';
import type { TurnAllocationParts } from './allocation-parts.ts';
import { type PlainPath, type PlainPathHandlers, PlainPaths, type SharedSocket } from './plain-paths.ts';
import { type ChannelEntry, PermissionTable } from './permission-table.ts';
import { ServerWatch } from './server-watch.ts';
import {
  allocate,
  allocateOn,
  type AllocateOptions,
  type OwnTransportOptions,
  type TurnClientComponents,
} from './turn-client.ts';

/** Interval at which permissions and channels are checked for what is due, ms. */
const UPKEEP_MS = 30_000;

/** A relayed address on a TURN server, kept alive until closed (RFC 8656). */
export class TurnAllocation implements AsyncDisposable {
  readonly server: Endpoint;
  /** The relayed addresses that peers send to, one per family. */
  readonly relayed: readonly Endpoint[];
  /** Our own address as the server sees it. */
  readonly mapped: Endpoint;
  readonly #parts: TurnAllocationParts;
  readonly #log: Log;
  readonly #peers = new PermissionTable();
  readonly #permitting = new Map<string, Promise<void>>();
  readonly #binding = new Map<ChannelEntry, Promise<void>>();
  readonly #plain: PlainPaths | undefined;
  readonly #ended = new AbortController();
  readonly #refresh: Renewal;
  readonly #watch: ServerWatch;
  #closing: Promise<void> | undefined;

  private constructor(parts: TurnAllocationParts) {
    this.#parts = parts;
    this.#log = (parts.log ?? silentLog).child('TURN');
    this.server = parts.server;
    this.relayed = parts.grant.relayed;
    this.mapped = parts.grant.mapped;
    const { clock, random, grant, plain } = parts;
    this.#plain =
      plain &&
      new PlainPaths({ clock, random, log: this.#log, ...plain, onData: (data, peer) => this.#deliver(data, peer) });
    this.#refresh = new Renewal(
      { clock, random, log: this.#log },
      {
        name: `the relayed address ${formatEndpoint(this.relayed[0]!)}`,
        grantedMs: grant.lifetimeMs,
        renew: (signal) => this.#renewAllocation({ signal }),
        onExpired: (cause) => this.lose(this.#lostError('it could not be refreshed in time', cause)),
      },
    );
    this.#watch = new ServerWatch(
      { clock },
      {
        keepAliveMs: parts.keepAliveMs,
        // A Refresh: a restarted server answers it with 437, while it would answer a Binding request as before.
        probe: async (signal) => {
          await this.#renewAllocation({ signal, maxSends: 1 });
        },
        onHealth: (health) => this.#onHealth(health),
      },
    );
    deadlineInterval({
      clock,
      intervalMs: UPKEEP_MS,
      signal: this.#ended.signal,
      onTick: () => {
        this.#upkeep().catch((error: unknown) => this.#log.error('upkeep of an allocation failed', { error }));
      },
    });
  }

  /**
   * Requests a relayed address over a UDP socket that carries other traffic too. TURN's messages and ChannelData from
   * the server are routed to the allocation until it ends (RFC 7983); Binding requests and answers stay with the socket's
   * other users. A client has one allocation per socket and server: an old one that is still there is released first.
   * @throws as {@link connect}.
   */
  static open(
    components: TurnClientComponents & { socket: SharedSocket },
    options: AllocateOptions,
  ): Promise<TurnAllocation> {
    return allocateOn(components, options, (parts) => new TurnAllocation(parts));
  }

  /**
   * Requests a relayed address over a socket or connection of its own (RFC 8656 §7).
   * Follows redirects to other servers, and takes another port when the old one is still known there.
   * @throws StunError `stun-refused` (486 quota, 403, 508 …), `stun-unauthenticated`, `stun-timed-out`;
   *   NetError; the signal's reason.
   */
  static connect(
    components: TurnClientComponents & { network: Network },
    options: AllocateOptions & OwnTransportOptions,
  ): Promise<TurnAllocation> {
    return allocate(components, options, (parts) => new TurnAllocation(parts));
  }

  /** True until closed or lost. */
  get alive(): boolean {
    return !this.#ended.signal.aborted;
  }

  /**
   * Lets peers at these addresses send to us, and keeps it so (RFC 8656 §9).
   * @throws StunError `stun-refused` (403: the server does not relay there), `stun-timed-out`, `turn-allocation-lost`.
   */
  async permit(addresses: readonly string[], options: { signal?: AbortSignal } = {}): Promise<void> {
    const fresh = addresses.filter((address) => !this.#peers.hasPermission(address) && !this.#permitting.has(address));
    if (fresh.length > 0) {
      const requested = this.#requestPermission(fresh).finally(() => {
        for (const address of fresh) this.#permitting.delete(address);
      });
      for (const address of fresh) this.#permitting.set(address, requested);
    }
    options.signal?.throwIfAborted();
    await abortable(Promise.all(addresses.map((address) => this.#permitting.get(address))), options.signal);
  }

  /**
   * Binds a channel to a peer, which makes sending to it cheaper (RFC 8656 §12), and keeps it bound.
   * @throws StunError as {@link permit}; `stun-refused` when no channel number is free.
   */
  async bindChannel(peer: Endpoint, options: { signal?: AbortSignal } = {}): Promise<void> {
    const known = this.#peers.channelOf(peer);
    if (known?.bound) return;
    const entry = known ?? this.#peers.openChannel(peer, this.#parts.clock.now());
    if (entry === undefined)
      throw new StunError('stun-refused', 'Every TURN channel number is in use; close allocations that are idle.');
    const bound = this.#binding.get(entry) ?? this.#bind(entry).finally(() => this.#binding.delete(entry));
    this.#binding.set(entry, bound);
    options.signal?.throwIfAborted();
    await abortable(bound, options.signal);
  }

  /**
   * Binds a channel and asks the relay for a port that carries this peer's data unframed: docs/protocol/turn-plain.md.
   * {@link send} uses it as soon as the relay has verified our address, and the channel whenever it cannot be used.
   * @returns undefined when the relay does not offer it, or is not reached from a shared UDP socket, see {@link open}
   * @throws StunError as {@link bindChannel}.
   */
  async openPlain(
    peer: Endpoint,
    { signal, ...handlers }: PlainPathHandlers & { signal?: AbortSignal | undefined } = {},
  ): Promise<PlainPath | undefined> {
    if (this.#plain === undefined) return undefined;
    this.#plain.want(peer, handlers);
    const known = this.#peers.channelOf(peer);
    if (known?.bound) await this.#bind(known);
    else await this.bindChannel(peer, signal === undefined ? {} : { signal });
    return this.#plain.of(peer);
  }

  /** Sends a datagram to a peer that has a permission: plain, over its channel, or in a Send indication. */
  send(data: Uint8Array, peer: Endpoint): void {
    if (!this.alive) return;
    const { random, stream } = this.#parts;
    this.#watch.sent();
    if (this.#plain?.send(data, peer)) return;
    const channel = this.#peers.channelOf(peer);
    if (channel?.bound) {
      this.#parts.send(encodeChannelData(channel.number, data, stream));
      return;
    }
    const indication = new StunWriter(MessageClass.Indication, Method.Send, random.bytes(TRANSACTION_ID_BYTES))
      .add(attr.xorPeerAddress, peer)
      .add(attr.data, data);
    this.#parts.send(indication.finish());
  }

  /**
   * Connects to a peer over TCP from the relayed address of a TCP allocation (RFC 6062 §4.3).
   * @throws StunError `stun-refused` (446 connected already, 447 the peer cannot be reached, 403), `stun-closed`.
   */
  async connectTcp(
    peer: Endpoint,
    handlers: TcpHandlers,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<TcpConnection> {
    const { message } = await this.request({
      method: Method.Connect,
      signal: options.signal,
      write: (writer) => writer.add(attr.xorPeerAddress, peer),
    });
    const connectionId = message.get(attr.connectionId);
    if (connectionId === undefined) {
      throw new StunError(
        'stun-bad-response',
        `${formatEndpoint(this.server)} connected, but did not say under which number.`,
      );
    }
    return this.acceptTcp(connectionId, peer, handlers, options);
  }

  /**
   * Takes over the connection of a peer that {@link TurnHandlers.onConnection} told of (RFC 6062 §4.4).
   * @throws StunError `stun-refused` when it is too late.
   */
  acceptTcp(
    connectionId: number,
    peer: Endpoint,
    handlers: TcpHandlers,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<TcpConnection> {
    const { openData, auth } = this.#parts;
    if (openData === undefined) {
      throw new StunError('stun-refused', 'TCP through a relay needs TCP or TLS to the server (RFC 6062 §4.1).');
    }
    const signal =
      options.signal === undefined ? this.#ended.signal : AbortSignal.any([this.#ended.signal, options.signal]);
    return openData({ connectionId, peer, handlers, auth, signal });
  }

  /**
   * Signs with other credentials of the same user from now on, and shows them to the server at once. Time-limited
   * credentials must be replaced before they expire: a server refuses expired ones, and Towpath's then ends the allocation.
   */
  replaceCredentials(credentials: LongTermCredentials): void {
    this.#parts.auth.replace(credentials);
    this.#plain?.replaceCredentials(credentials);
    if (!this.alive) return;
    this.#renewAllocation({}).catch((error: unknown) => {
      if (!isAbort(error)) this.#log.warn('new credentials were not shown yet', { code: errorCode(error) });
    });
  }

  /**
   * Takes what came from the server. Returns false when it does not belong to this allocation, so that the owner of a
   * shared socket can pass it on.
   */
  handle(frame: Uint8Array, from: Endpoint): boolean {
    if (isChannelData(frame)) {
      const peer = this.#peers.peerOf(channelOf(frame));
      const data = channelPayload(frame);
      if (peer !== undefined && data !== undefined && this.alive) this.#deliver(data, peer);
      return peer !== undefined;
    }
    const result = decodeStun(frame);
    return result.ok && this.handleMessage(result.message, from);
  }

  /** {@link handle} for a message that was decoded already. */
  handleMessage(message: StunMessage, from: Endpoint): boolean {
    if (this.#parts.transactions.handle(message, from)) return true;
    if (message.class !== MessageClass.Indication || !this.alive) return false;
    const peer = message.get(attr.xorPeerAddress);
    if (peer === undefined) return false;
    if (message.method === Method.Data) {
      const data = message.get(attr.data);
      const icmp = message.get(attr.icmp);
      if (data !== undefined) this.#deliver(data, peer);
      else if (icmp !== undefined) this.#parts.handlers.onIcmpError?.(peer, icmp);
      return true;
    }
    const connectionId = message.get(attr.connectionId);
    if (message.method !== Method.ConnectionAttempt || connectionId === undefined) return false;
    this.#parts.handlers.onConnection?.(connectionId, peer);
    return true;
  }

  /**
   * Sends a request of this allocation, signed.
   * @throws StunError; `turn-allocation-lost` when the server does not know the allocation any more.
   */
  async request(request: StunRequest): Promise<StunResponse> {
    const { transactions, auth } = this.#parts;
    const signal =
      request.signal === undefined ? this.#ended.signal : AbortSignal.any([this.#ended.signal, request.signal]);
    try {
      return await requestWithAuth(transactions, auth, this.server, { ...request, signal });
    } catch (error) {
      if (!(error instanceof StunError) || error.response?.code !== StunErrorCode.AllocationMismatch) throw error;
      const lost = this.#lostError('the server does not know it any more', error);
      this.lose(lost);
      throw lost;
    }
  }

  /** Asks the server now whether it knows the allocation. Where it does not, `onLost` is called. */
  verify(): void {
    if (this.alive) this.#watch.verify();
  }

  /** Ends the allocation because the server has lost it, and calls `onLost`. */
  lose(error: StunError): void {
    if (!this.alive) return;
    this.#log.warn('allocation lost', { server: formatEndpoint(this.server), code: error.code });
    this.#finish(error);
    this.#parts.handlers.onLost?.(error);
  }

  /** Releases the allocation on the server (without waiting for its answer for long) and gives the socket back. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const wasAlive = this.alive;
    this.#finish(new AbortedError('The TURN allocation was closed.'));
    const { transactions, auth } = this.#parts;
    if (wasAlive) {
      const release: StunRequest = {
        method: Method.Refresh,
        write: (writer) => writer.add(attr.lifetime, 0),
        ...RELEASE,
      };
      try {
        await requestWithAuth(transactions, auth, this.server, release);
      } catch (error) {
        // The server removes the allocation when its lifetime is over.
        this.#log.debug('the allocation was not released', { code: errorCode(error) });
      }
    }
    transactions.close();
    await this.#parts.release();
  }

  #finish(reason: Error): void {
    this.#watch.stop();
    this.#plain?.close();
    this.#ended.abort(reason);
    void this.#refresh.stop();
    if (reason instanceof StunError) {
      this.#parts.transactions.close(reason);
      this.#parts.release().catch((error: unknown) => this.#log.warn('the socket did not close', { error }));
    }
  }

  async #requestPermission(addresses: readonly string[]): Promise<void> {
    await this.request({
      method: Method.CreatePermission,
      write: (writer) => {
        for (const address of addresses) writer.add(attr.xorPeerAddress, { address, port: 0 });
      },
    });
    this.#peers.granted(addresses, this.#parts.clock.now());
  }

  async #bind(entry: ChannelEntry): Promise<void> {
    try {
      const plain = this.#plain?.wants(entry.peer) === true;
      const { message } = await this.request({
        method: Method.ChannelBind,
        write: (writer) => {
          writer.add(attr.channelNumber, entry.number).add(attr.xorPeerAddress, entry.peer);
          if (plain) writer.add(attr.plainRelay, true);
        },
      });
      this.#peers.channelBound(entry, this.#parts.clock.now());
      if (plain && this.alive) this.#plain?.granted(entry.peer, message.get(attr.xorPlainAddress));
    } catch (error) {
      // A renewal that got no answer changes nothing: the channel stays bound, and due.
      const refused = errorCode(error) === 'stun-refused';
      if (refused || !entry.bound) {
        this.#peers.dropChannel(entry, this.#parts.clock.now());
        this.#plain?.lost(entry.peer);
      }
      throw error;
    }
  }

  #deliver(data: Uint8Array, peer: Endpoint): void {
    this.#watch.heard();
    this.#parts.handlers.onData(data, peer);
  }

  /** Refreshes once and returns the lifetime that was granted, ms. */
  async #renewAllocation(options: Omit<StunRequest, 'method'>): Promise<number> {
    try {
      const { message } = await this.request({
        ...options,
        method: Method.Refresh,
        write: (writer) => writer.add(attr.lifetime, Math.ceil(this.#parts.grant.lifetimeMs / 1000)),
      });
      return (message.get(attr.lifetime) ?? 0) * 1000;
    } catch (error) {
      if (errorCode(error) === 'stun-unauthenticated') {
        this.lose(this.#lostError('its server no longer accepts the credentials', error));
      }
      throw error;
    }
  }

  #onHealth(health: PathHealth): void {
    if (!this.alive) return;
    this.#log.debug('health of the relay', { server: formatEndpoint(this.server), health });
    this.#parts.handlers.onHealth?.(health);
    if (health !== 'dead' || !this.alive || !this.#parts.stream) return;
    this.lose(this.#lostError('its server does not answer over this connection'));
  }

  async #upkeep(): Promise<void> {
    const now = this.#parts.clock.now();
    const due = this.#peers.duePermissions(now);
    const renewals = this.#peers.dueChannels(now).map((entry) => this.#renew(() => this.#bind(entry)));
    if (due.length > 0)
      renewals.push(
        this.#renew(
          () => this.#requestPermission(due),
          () => due.map((address) => this.#peers.revoked(address)),
        ),
      );
    await Promise.all(renewals);
  }

  /** One renewal. What the server refuses is removed; what got no answer stays due. */
  async #renew(ask: () => Promise<void>, refused?: () => void): Promise<void> {
    try {
      await ask();
    } catch (error) {
      if (!this.alive || isAbort(error)) return;
      this.#log.warn('a permission or channel was not renewed', { code: errorCode(error) });
      if (errorCode(error) === 'stun-refused') refused?.();
    }
  }

  #lostError(why: string, cause?: unknown): StunError {
    const target = formatEndpoint(this.server);
    return new StunError('turn-allocation-lost', `The relay address on ${target} is gone: ${why}. Allocate again.`, {
      target,
      cause,
    });
  }
}

/** Closing must not take long: three transmissions, 1.4 s in all. */
const RELEASE = { rtoMs: 200, maxSends: 3, lastWaitFactor: 4, reliableTimeoutMs: 1_400 } as const;
