import { type Clock, deadline, type Random, type Timer } from '@towpath/core';
import { localConnection } from './local-connection.ts';
import type { Identity } from './authenticator.ts';
import type { ClientLink } from './client-link.ts';
import type { Endpoint, Network, TcpConnection, TcpHandlers, TcpListener } from '@towpath/net';

/**
 * How long a peer's connection waits for the client's ConnectionBind (RFC 6062 §5.2, §5.3), and a Connect for the peer.
 */
export const TCP_BIND_TIMEOUT_MS = 30_000;

/** One side may be this far behind before the other is slowed down, in bytes. */
const HIGH_WATER_BYTES = 1 << 18;

/** A pair is closed when one side falls behind by this many bytes although the other was paused. */
const MAX_BACKLOG_BYTES = 1 << 23;

/** Connections of one TCP allocation that may live at a time. */
const MAX_CONNECTIONS = 64;

/** One end of a relayed stream: the client's data connection, or the connection to the peer. */
export interface StreamEnd {
  write(data: Uint8Array): unknown;
  readonly bufferedBytes: number;
  setPaused(paused: boolean): void;
  close(): unknown;
}

/** Why an end is not read from. */
const Reason = { Unbound: 1, Backlog: 2, Rate: 4 } as const;
type Reason = (typeof Reason)[keyof typeof Reason];

/** Pauses an end while there is any reason to. */
class Valve {
  readonly #end: StreamEnd;
  #reasons = 0;

  constructor(end: StreamEnd) {
    this.#end = end;
  }

  shut(reason: Reason): void {
    if (this.#reasons === 0) this.#end.setPaused(true);
    this.#reasons |= reason;
  }

  open(reason: Reason): void {
    if (this.#reasons === 0) return;
    this.#reasons &= ~reason;
    if (this.#reasons === 0) this.#end.setPaused(false);
  }
}

/** An end with what keeps it from being read. */
interface Side {
  readonly end: StreamEnd;
  readonly valve: Valve;
  rate: Timer | undefined;
  /** Read and passed on, but not taken off the user's rate yet. */
  unpaidBytes: number;
}

/** One TCP connection to a peer, and the client's data connection once bound to it. */
export class PeerConnection {
  readonly id: number;
  readonly peer: Endpoint;
  readonly relay: TcpRelay;
  /** Ends the wait for the other side. */
  timeout: Timer | undefined;
  #client: Side | undefined;
  #remote: Side | undefined;
  #destroy: () => void = () => {};
  /** What the peer sent before it could be stopped from sending. */
  readonly #held: Uint8Array[] = [];

  constructor(id: number, peer: Endpoint, relay: TcpRelay) {
    this.id = id;
    this.peer = peer;
    this.relay = relay;
  }

  /** True when the peer is connected and no client has taken it over. */
  get waiting(): boolean {
    return this.#remote !== undefined && this.#client === undefined;
  }

  /** The peer is connected; its connection is read once the client's is there. */
  connected(connection: TcpConnection): void {
    this.#remote = sideOf(connection);
    this.#remote.valve.shut(Reason.Unbound);
    this.#destroy = () => connection.destroy();
  }

  /** Joins the client's connection to the peer's. */
  bind(client: StreamEnd): void {
    this.timeout?.cancel();
    this.#client = sideOf(client);
    for (const data of this.#held.splice(0)) client.write(data);
    this.#remote?.valve.open(Reason.Unbound);
  }

  fromClient(data: Uint8Array): void {
    if (this.#client !== undefined && this.#remote !== undefined) this.#pass(data, this.#client, this.#remote);
  }

  fromPeer(data: Uint8Array): void {
    if (this.#client === undefined) this.#held.push(data);
    else if (this.#remote !== undefined) this.#pass(data, this.#remote, this.#client);
  }

  /** The client has taken what was written: the peer may go on. */
  clientDrained(): void {
    this.#remote?.valve.open(Reason.Backlog);
  }

  /** The peer has taken what was written: the client may go on. */
  peerDrained(): void {
    this.#client?.valve.open(Reason.Backlog);
  }

  /** One side has ended: the other gets what is on the way, then ends too. */
  end(): void {
    this.timeout?.cancel();
    this.#client?.rate?.cancel();
    this.#remote?.rate?.cancel();
    this.relay.forget(this);
    this.#client?.end.close();
    this.#remote?.end.close();
  }

  destroy(): void {
    this.end();
    this.#destroy();
  }

  #pass(data: Uint8Array, from: Side, to: Side): void {
    to.end.write(data);
    const backlog = to.end.bufferedBytes;
    if (backlog > MAX_BACKLOG_BYTES) this.destroy();
    else if (backlog > HIGH_WATER_BYTES) from.valve.shut(Reason.Backlog);
    from.unpaidBytes += data.length;
    this.#charge(from);
  }

  /** Takes what was read off the rate; the side is not read from until the rate allows it. */
  #charge(from: Side): void {
    from.rate?.cancel();
    const waitMs = this.relay.throttle(from.unpaidBytes);
    if (waitMs === 0) {
      from.unpaidBytes = 0;
      from.valve.open(Reason.Rate);
      return;
    }
    from.valve.shut(Reason.Rate);
    from.rate = this.relay.timer(waitMs, () => this.#charge(from));
  }
}

function sideOf(end: StreamEnd): Side {
  return { end, valve: new Valve(end), rate: undefined, unpaidBytes: 0 };
}

export interface TcpRelayContext {
  /** Whose allocation this is: only this user may bind its connections. */
  readonly identity: Identity;
  readonly client: Pick<ClientLink, 'transport' | 'remote'>;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  /** Connections of all allocations that wait for, or have, their client, by CONNECTION-ID. */
  readonly connections: Map<number, PeerConnection>;
  /** True when the allocation has a permission for the address. */
  permitted(address: string): boolean;
  /** Takes bytes off the user's rate. Returns 0, or how long to wait before asking again, ms. */
  throttle(bytes: number): number;
  /** Tells the client of a peer that has connected (ConnectionAttempt, RFC 6062 §5.3). */
  attempted(connection: PeerConnection): void;
}

/** The TCP side of an allocation: peers connect to its listener, or are connected to (RFC 6062 §5). */
export class TcpRelay {
  readonly family: 4 | 6;
  readonly announced: Endpoint;
  readonly #context: TcpRelayContext;
  readonly #listener: TcpListener;
  readonly #address: string;
  readonly #mine = new Set<PeerConnection>();
  readonly #abort = new AbortController();

  /** @param address where connections to peers leave from. */
  constructor(context: TcpRelayContext, listener: TcpListener, announced: Endpoint, address: string) {
    this.#context = context;
    this.#listener = listener;
    this.announced = announced;
    this.#address = address;
    this.family = announced.address.includes(':') ? 6 : 4;
  }

  /** A peer has connected to the relayed address. */
  accept(connection: TcpConnection): TcpHandlers {
    const { clock, attempted, permitted } = this.#context;
    const full = this.#mine.size >= MAX_CONNECTIONS;
    if (full || this.#abort.signal.aborted || !permitted(connection.remote.address) || this.#find(connection.remote)) {
      connection.destroy();
      return { onData() {} };
    }
    const peer = this.#register(connection.remote);
    peer.connected(connection);
    peer.timeout = clock.timer(TCP_BIND_TIMEOUT_MS, () => peer.destroy());
    attempted(peer);
    return handlersOf(peer);
  }

  /**
   * Connects to a peer. The connection does not leave from the relayed port: with the listener on it,
   * the system does not let it. Peers that check permissions look at the address alone.
   */
  async connect(to: Endpoint): Promise<PeerConnection | 'exists' | 'failed' | 'full'> {
    if (this.#find(to)) return 'exists';
    if (this.#mine.size >= MAX_CONNECTIONS) return 'full';
    const peer = this.#register(to);
    const limit = deadline(this.#context.clock, TCP_BIND_TIMEOUT_MS);
    peer.timeout = limit;
    try {
      const connection = await this.#context.network.connectTcp(to, {
        localAddress: this.#address,
        signal: AbortSignal.any([limit.signal, this.#abort.signal]),
        ...handlersOf(peer),
      });
      peer.connected(connection);
    } catch {
      // 447 for every reason, so that clients cannot scan the networks of this server.
      peer.end();
      return 'failed';
    }
    limit.cancel();
    peer.timeout = this.#context.clock.timer(TCP_BIND_TIMEOUT_MS, () => peer.destroy());
    return peer;
  }

  /** {@link connect} to the relayed address of another allocation of this server. */
  connectLocally(to: TcpRelay): PeerConnection | 'exists' | 'failed' | 'full' {
    if (this.#find(to.announced)) return 'exists';
    if (this.#mine.size >= MAX_CONNECTIONS) return 'full';
    const peer = this.#register(to.announced);
    const [near, far] = localConnection(this.announced, to.announced);
    near.attach(handlersOf(peer));
    peer.connected(near);
    peer.timeout = this.#context.clock.timer(TCP_BIND_TIMEOUT_MS, () => peer.destroy());
    far.attach(to.accept(far));
    // The other side has closed it when it has no permission for us.
    return this.#mine.has(peer) ? peer : 'failed';
  }

  /** The control connection. */
  get client(): Pick<ClientLink, 'transport' | 'remote'> {
    return this.#context.client;
  }

  get identity(): Identity {
    return this.#context.identity;
  }

  throttle(bytes: number): number {
    return this.#context.throttle(bytes);
  }

  timer(delayMs: number, callback: () => void): Timer {
    return this.#context.clock.timer(delayMs, callback);
  }

  forget(peer: PeerConnection): void {
    this.#mine.delete(peer);
    this.#context.connections.delete(peer.id);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    for (const peer of [...this.#mine]) peer.destroy();
    await this.#listener.close();
  }

  #register(peer: Endpoint): PeerConnection {
    const { random, connections } = this.#context;
    let id = random.integer(1, 0x7fffffff);
    while (connections.has(id)) id = random.integer(1, 0x7fffffff);
    const connection = new PeerConnection(id, peer, this);
    connections.set(id, connection);
    this.#mine.add(connection);
    return connection;
  }

  #find({ address, port }: Endpoint): boolean {
    return [...this.#mine].some(({ peer }) => peer.address === address && peer.port === port);
  }
}

function handlersOf(peer: PeerConnection): TcpHandlers {
  return {
    onData: (data) => peer.fromPeer(data),
    onDrain: () => peer.peerDrained(),
    onClose: () => peer.end(),
  };
}
