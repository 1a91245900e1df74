import {
  AbortedError,
  backoff,
  type Candidate,
  type Clock,
  errorMessage,
  type Log,
  type PathHealth,
  type Random,
  race,
  TowpathError,
  Wakeup,
} from '@towpath/core';
import { addressScope, datagramKind, type Endpoint, type Network, parseEndpoint } from '@towpath/net';
import { type PlainPath, StunDemultiplexer, type TransportProtocol, TurnAllocation } from '@towpath/stun';
import type { MeshRelay, RelayCredentials } from '../control-plane.ts';
import type { PlainEnds } from '../peer-path.ts';
import { type RelayKey, relayKey } from '../relays/relay-key.ts';
import { type DatagramReceiver, type PathSocket, type PathTransport, ReceiverTable } from './path-socket.ts';

export interface RelaySessionComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  socket: PathSocket;
}

export interface RelaySessionOptions {
  relay: MeshRelay;
  /** Tells this session from another one at the same relay. @default 0 */
  number?: number | undefined;
  /** The transport that it is limited to until {@link RelaySession.useAny}. @default any */
  only?: RelayTransports | undefined;
  credentials(signal: AbortSignal): Promise<RelayCredentials>;
  /** PEM of certificate authorities that the relay may have, besides the system's. */
  authorities?: string | undefined;
  /** A relayed address was granted, or is gone. */
  onChange(): void;
  /** {@link RelaySession.isSilent} has changed. */
  onSilence(): void;
}

/** Transports that a relay is asked over. */
export type RelayTransports = 'udp' | 'stream';

/** One way to a relay. */
interface RelayAddress {
  readonly host: string;
  readonly port: number;
  readonly transport: TransportProtocol;
}

const DEFAULT_PORT = 3_478;
const DEFAULT_TLS_PORT = 5_349;
const UDP_LIMIT_MS = 3_000;
const ALLOCATE_LIMIT_MS = 9_000;
/** TCP, then TLS, begin so much later than UDP, ms: they are for networks that UDP does not leave. */
const TCP_AFTER_MS = 400;
const TLS_AFTER_MS = 800;
const RETRY = { baseMs: 1_000, maxMs: 30_000 };
/** However many pairs ask for it, a relay is asked this often at most, ms; see {@link RelaySession.verify}. */
const VERIFY_SPACING_MS = 1_000;
/** Credentials are replaced when they are valid for this long only, ms. */
const RENEW_BEFORE_MS = 60_000;

/** Reads `turn:host:port?transport=udp` (RFC 7065); undefined when it is none, or no host's address. */
export function parseRelayUrl(url: string): RelayAddress | undefined {
  const match = /^(turns?):([^?]+)(?:\?transport=(udp|tcp))?$/.exec(url);
  if (match === null) return undefined;
  const [, scheme, authority = '', transport] = match;
  const tls = scheme === 'turns';
  const read = parseEndpoint(authority, tls ? DEFAULT_TLS_PORT : DEFAULT_PORT);
  if (!read.ok || (tls && transport === 'udp')) return undefined;
  const scope = addressScope(read.endpoint.address);
  if (scope === 'multicast' || scope === 'broadcast' || scope === 'unspecified') return undefined;
  const plain = transport === 'tcp' ? 'tcp' : 'udp';
  return { host: read.endpoint.address, port: read.endpoint.port, transport: tls ? 'tls' : plain };
}

/**
 * Looks up the address of a relay; undefined when it has none.
 * @throws TowpathError `no-answer` for a name that leads to no other host: whoever lists relays could make this node send to
 *   its own local services. As `Network.resolve`.
 */
export async function resolveRelay(network: Network, host: string, signal: AbortSignal): Promise<string | undefined> {
  const [address] = await network.resolve(host, { family: 4, signal });
  if (address === undefined || address === host || host === 'localhost') return address;
  if (!NOT_A_HOST.has(addressScope(address))) return address;
  throw new TowpathError('no-answer', `The name of the relay ${host} leads to ${address}, which is no other host.`);
}

export function transportsOf({ transport }: RelayAddress): RelayTransports {
  return transport === 'udp' ? 'udp' : 'stream';
}

/** Scopes of addresses that are no other host's. */
const NOT_A_HOST: ReadonlySet<string | undefined> = new Set(['loopback', 'unspecified', 'multicast', 'broadcast']);

/** A relayed address on one relay, asked for again whenever it is lost; all peers share it. */
export class RelaySession implements PathTransport, AsyncDisposable {
  readonly family = 4;
  readonly isPlain = false;
  readonly stun: StunDemultiplexer;
  readonly relayKey: RelayKey;
  readonly name: string;
  isReplaced = false;
  readonly #components: RelaySessionComponents;
  readonly #options: RelaySessionOptions;
  readonly #receivers = new ReceiverTable();
  readonly #closing = new AbortController();
  readonly #wakeup: Wakeup;
  readonly #running: Promise<void>;
  #allocation: TurnAllocation | undefined;
  #only: RelayTransports | undefined;
  #isSilent = false;
  /** Where the relay has granted the address. */
  #server: (RelayAddress & { readonly url: string }) | undefined;
  #carriedAtMs = Number.NEGATIVE_INFINITY;
  /** The relay is being asked for an address. */
  #asking: AbortController | undefined;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  /** When an attempt was last given up for a new one, because it may have begun while the relay was away. */
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(components: RelaySessionComponents, options: RelaySessionOptions) {
    this.#components = components;
    this.#options = options;
    const { relay, number = 0 } = options;
    this.relayKey = relayKey(relay.id);
    this.#only = options.only;
    // Without the transport: it may change while paths over the session go on.
    const [name = relay.id] = (relay.urls[0] ?? relay.id).split('?');
    this.name = number === 0 ? name : `${name}#${number}`;
    this.#wakeup = new Wakeup(components);
    this.stun = new StunDemultiplexer({ send: (data, to) => this.#allocation?.send(data, to) });
    this.#running = this.#run();
  }

  /** Where it is reached, with the transport in use; before that, where the relay is reached first. */
  get relay(): string {
    const { id, urls } = this.#options.relay;
    return this.#server?.url ?? urls[0] ?? id;
  }

  get local(): Endpoint {
    return this.relayed ?? { address: '0.0.0.0', port: 0 };
  }

  /** Undefined while there is no allocation. */
  get relayed(): Endpoint | undefined {
    return this.#allocation?.relayed[0];
  }

  /** The relay is being asked for an address. */
  get isAsking(): boolean {
    return this.#asking !== undefined;
  }

  /** There is an allocation, over TCP or TLS. */
  get isOverStream(): boolean {
    return this.#allocation !== undefined && !this.#isOverUdp;
  }

  /** The relay does not answer any more over UDP; it may still have the allocation. */
  get isSilent(): boolean {
    return this.#allocation !== undefined && this.#isSilent;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** When data of a peer was sent or received last, `Clock.now` ms. */
  get carriedAtMs(): number {
    return this.#carriedAtMs;
  }

  get #isOverUdp(): boolean {
    return this.#server?.transport === 'udp';
  }

  /** The path socket's address as the relay sees it; undefined over TCP. */
  get reflexive(): Endpoint | undefined {
    return this.#isOverUdp ? this.#allocation?.mapped : undefined;
  }

  /** The relay may be asked over any transport from now on. */
  useAny(): void {
    this.#only = undefined;
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    this.#carriedAtMs = this.#components.clock.now();
    this.#allocation?.send(datagram, to);
  }

  receiveFrom(remote: Endpoint, receiver: DatagramReceiver): Disposable {
    return this.#receivers.add(remote, receiver);
  }

  /** Lets the peer's address send to the relayed address. @throws StunError. */
  async prepare(remote: Endpoint, signal: AbortSignal): Promise<void> {
    await this.#allocation?.permit([remote.address], { signal });
  }

  /** Binds a channel alone. @throws StunError. */
  async bind(remote: Endpoint, signal: AbortSignal): Promise<void> {
    await this.#allocation?.bindChannel(remote, { signal });
  }

  /** Binds a channel, and a plain port where the relay offers one; until then Send indications carry the data. */
  openPlain(remote: Endpoint, onChange: (ends: PlainEnds | undefined) => void): void {
    const allocation = this.#allocation;
    if (allocation === undefined) return;
    const changed = ({ verified, local, remote: relay }: PlainPath) =>
      onChange(verified ? { local, remote: relay } : undefined);
    const opened = this.#isOverUdp
      ? allocation.openPlain(remote, { onChange: changed })
      : allocation.bindChannel(remote).then(() => undefined);
    opened.catch((error: unknown) => {
      if (allocation.alive) this.#components.log.debug(`No channel on ${this.relay}: ${errorMessage(error)}`);
    });
  }

  /** Asks anew at once: the network has changed. */
  restart(): void {
    void this.#allocation?.close();
    this.#allocation = undefined;
    this.#wakeup.wake();
  }

  /**
   * Finds out now whether the relay is there, because a pair may need it: asks it whether it still knows the relayed address, or
   * asks for one now instead of after the pause that has grown while it was away.
   */
  verify(): void {
    if (this.#allocation?.alive) {
      this.#allocation.verify();
      return;
    }
    const nowMs = this.#components.clock.now();
    if (nowMs - this.#askedAtMs < VERIFY_SPACING_MS) return;
    if (this.#asking !== undefined) {
      // The new attempt needs its time, too.
      if (nowMs - this.#renewedAtMs < ALLOCATE_LIMIT_MS) return;
      this.#renewedAtMs = nowMs;
      this.#asking.abort(new AbortedError('The relay is asked anew.'));
    }
    this.#wakeup.wake();
  }

  async close(): Promise<void> {
    this.#closing.abort(new AbortedError('The relay is not used any more.'));
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    const { random, log } = this.#components;
    const { signal } = this.#closing;
    let waits = backoff({ ...RETRY, random });
    while (!signal.aborted) {
      try {
        this.#asking = new AbortController();
        this.#askedAtMs = this.#components.clock.now();
        await this.#allocate(AbortSignal.any([signal, this.#asking.signal]));
        this.#asking = undefined;
        waits = backoff({ ...RETRY, random });
        this.#options.onChange();
        await this.#untilLost(signal);
      } catch (error) {
        if (!signal.aborted) log.debug(`No relayed address on ${this.relay}: ${errorMessage(error)}`);
      }
      this.#asking = undefined;
      await this.#allocation?.close();
      this.#allocation = undefined;
      if (signal.aborted) return;
      this.#options.onChange();
      await this.#wakeup.wait(waits.next().value ?? RETRY.maxMs, signal).catch(() => {});
    }
  }

  /** Resolves when the allocation is gone; credentials are replaced before they expire. */
  async #untilLost(signal: AbortSignal): Promise<void> {
    const allocation = this.#allocation;
    while (allocation?.alive && this.#allocation === allocation) {
      const leftMs = this.#expiresAtMs - this.#components.clock.wallTime() - RENEW_BEFORE_MS;
      await this.#wakeup.wait(Math.max(RETRY.baseMs, leftMs), signal);
      if (!allocation.alive || this.#allocation !== allocation || leftMs > 0) continue;
      const { username, credential, expiresAtMs } = await this.#options.credentials(signal);
      allocation.replaceCredentials({ username, password: credential });
      this.#expiresAtMs = expiresAtMs;
    }
  }

  #expiresAtMs = 0;

  async #allocate(signal: AbortSignal): Promise<void> {
    const { username, credential, expiresAtMs } = await this.#options.credentials(signal);
    this.#expiresAtMs = expiresAtMs;
    const servers = new Map<string, RelayAddress & { readonly url: string }>();
    for (const url of this.#options.relay.urls) {
      const server = parseRelayUrl(url);
      if (server === undefined || (this.#only ?? transportsOf(server)) !== transportsOf(server)) continue;
      servers.set(`${server.transport} ${server.host}:${server.port}`, { ...server, url });
    }
    const candidates = [...servers].map(([id, server]): Candidate<TurnAllocation> => {
      const kind = server.transport;
      return {
        id,
        kind,
        label: kind,
        limitMs: kind === 'udp' ? UDP_LIMIT_MS : ALLOCATE_LIMIT_MS,
        connect: (context) => this.#allocateOver(server, { username, password: credential }, context.signal),
      };
    });
    const kinds = { udp: { delayMs: 0 }, tcp: { delayMs: TCP_AFTER_MS }, tls: { delayMs: TLS_AFTER_MS } };
    const undo = (allocation: TurnAllocation) => allocation.close();
    const { result } = race(candidates, this.#components, { signal, kinds, undo, limitMs: ALLOCATE_LIMIT_MS });
    const outcome = await result;
    signal.throwIfAborted();
    if (!outcome.ok) {
      const reasons = outcome.report.attempts.map(({ label, error }) => `${label}: ${error?.message ?? 'no answer'}`);
      throw new TowpathError('relay-unreachable', `No relayed address was granted. ${reasons.join(' ')}`);
    }
    this.#allocation = outcome.path;
    this.#server = servers.get(outcome.winner.id);
    this.#isSilent = false;
  }

  async #allocateOver(
    server: RelayAddress,
    credentials: { username: string; password: string },
    signal: AbortSignal,
  ): Promise<TurnAllocation> {
    const { network, socket } = this.#components;
    const address = (await resolveRelay(network, server.host, signal)) ?? server.host;
    const handlers = {
      onData: (data: Uint8Array, from: Endpoint) => this.#receive(data, from),
      onLost: () => this.#wakeup.wake(),
      onHealth: (health: PathHealth) => this.#heardOf(health),
    };
    const options = { server: { address, port: server.port }, credentials, handlers, signal };
    if (server.transport === 'udp') return TurnAllocation.open({ ...this.#components, socket: socket.shared }, options);
    const { authorities: moreAuthorities } = this.#options;
    const tls = server.transport === 'tls' ? { serverName: server.host, moreAuthorities } : undefined;
    return TurnAllocation.connect(this.#components, { ...options, transport: server.transport, tls });
  }

  #heardOf(health: PathHealth): void {
    const isSilent = health === 'dead' && this.#isOverUdp;
    if (health === 'suspect' || isSilent === this.#isSilent) return;
    this.#isSilent = isSilent;
    this.#options.onSilence();
  }

  #receive(data: Uint8Array, from: Endpoint): void {
    const kind = datagramKind(data);
    if (kind === 'stun') this.stun.receive(data, from);
    else if (kind === 'wireguard') {
      this.#carriedAtMs = this.#components.clock.now();
      this.#receivers.deliver(data, from);
    } else this.#receivers.strays++;
  }
}
