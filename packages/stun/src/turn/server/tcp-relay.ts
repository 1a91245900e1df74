import type { Clock, Random, Timer } from '@towpath/core';
import type { Endpoint, Network, TcpConnection, TcpHandlers, TcpListener } from '@towpath/net';

/** How long a peer's connection waits for the client's ConnectionBind (RFC 6062 §5.2, §5.3), and a Connect for the peer. */
export const TCP_BIND_TIMEOUT_MS = 30_000;

/** What a peer may send before the client has taken the connection over, in bytes. */
const MAX_UNBOUND_BYTES = 1 << 16;

/** How far one side may fall behind the other before the pair is cut, in bytes. */
const MAX_BACKLOG_BYTES = 1 << 22;

/** Connections of one TCP allocation that may live at a time. */
const MAX_CONNECTIONS = 64;

/** The raw side of a client's data connection. */
export interface DataConnection {
  write(data: Uint8Array): void;
  readonly bufferedBytes: number;
  close(): void;
}

/** One TCP connection to a peer, and the client's data connection once bound to it. */
export class PeerConnection {
  readonly id: number;
  readonly peer: Endpoint;
  readonly relay: TcpRelay;
  client: DataConnection | undefined;
  connection: TcpConnection | undefined;
  timeout: Timer | undefined;
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(id: number, peer: Endpoint, relay: TcpRelay) {
    this.id = id;
    this.peer = peer;
    this.relay = relay;
  }

  /** Joins the client's connection to the peer's; what the peer sent meanwhile goes first. */
  bind(client: DataConnection): void {
    this.timeout?.cancel();
    this.client = client;
    for (const data of this.#held.splice(0)) client.write(data);
  }

  /** Bytes from the client. */
  fromClient(data: Uint8Array): void {
    if (!this.relay.charge(data.length)) {
      this.destroy();
      return;
    }
    this.connection?.write(data);
    if ((this.connection?.bufferedBytes ?? 0) > MAX_BACKLOG_BYTES) this.destroy();
  }

  /** Bytes from the peer. */
  fromPeer(data: Uint8Array): void {
    if (!this.relay.charge(data.length)) {
      this.destroy();
      return;
    }
    if (this.client !== undefined) {
      this.client.write(data);
      if (this.client.bufferedBytes > MAX_BACKLOG_BYTES) this.destroy();
      return;
    }
    this.#heldBytes += data.length;
    if (this.#heldBytes > MAX_UNBOUND_BYTES) this.destroy();
    else this.#held.push(data);
  }

  /** One side has ended: the other gets what is on the way, then ends too. */
  end(): void {
    this.timeout?.cancel();
    this.relay.forget(this);
    this.client?.close();
    void this.connection?.close();
  }

  destroy(): void {
    this.end();
    this.connection?.destroy();
  }
}

export interface TcpRelayContext {
  /** Whose allocation this is: only this user may bind its connections. */
  readonly username: string;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  /** Connections of all allocations that wait for, or have, their client, by CONNECTION-ID. */
  readonly connections: Map<number, PeerConnection>;
  /** True when the allocation has a permission for the address. */
  permitted(address: string): boolean;
  /** Takes bytes off the user's rate; false cuts the connection, because a stream cannot lose bytes. */
  charge(bytes: number): boolean;
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
    peer.connection = connection;
    peer.timeout = clock.timer(TCP_BIND_TIMEOUT_MS, () => peer.destroy());
    attempted(peer);
    return { onData: (data) => peer.fromPeer(data), onClose: () => peer.end() };
  }

  /**
   * Connects to a peer. The connection does not leave from the relayed port: with the listener on it,
   * the system does not let it. Peers that check permissions look at the address alone.
   */
  async connect(to: Endpoint): Promise<PeerConnection | 'exists' | 'failed' | 'full'> {
    if (this.#find(to)) return 'exists';
    if (this.#mine.size >= MAX_CONNECTIONS) return 'full';
    const peer = this.#register(to);
    const giveUp = new AbortController();
    peer.timeout = this.#context.clock.timer(TCP_BIND_TIMEOUT_MS, () => giveUp.abort());
    try {
      peer.connection = await this.#context.network.connectTcp(to, {
        localAddress: this.#address,
        signal: AbortSignal.any([giveUp.signal, this.#abort.signal]),
        onData: (data) => peer.fromPeer(data),
        onClose: () => peer.end(),
      });
    } catch {
      // Whatever the reason, the client is told 447; which one it was is not for it to know.
      peer.end();
      return 'failed';
    }
    peer.timeout.cancel();
    peer.timeout = this.#context.clock.timer(TCP_BIND_TIMEOUT_MS, () => peer.destroy());
    return peer;
  }

  get username(): string {
    return this.#context.username;
  }

  charge(bytes: number): boolean {
    return this.#context.charge(bytes);
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
