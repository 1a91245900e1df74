import { type Clock, SparseMap, SparseSet, Tasks, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, isUnspecified } from '@towpath/net';
import type { ConnectivityChecks, StunDemultiplexer } from '@towpath/stun';
import { PathSocket, type PathTransport } from './path-socket.ts';

export interface PeerTransportsComponents {
  clock: Clock;
  checks: ConnectivityChecks;
  /** Path sockets and relayed addresses that all peers share, at this moment. */
  shared(): readonly PathTransport[];
}

export interface PeerTransportsOptions {
  /** Called for each datagram of WireGuard from an endpoint of the peer; see {@link transportId}. */
  onDatagram(datagram: Uint8Array, id: string, transport: PathTransport, remote: Endpoint): void;
  /** True while a path of this node uses the socket. */
  isUsed(socket: PathSocket): boolean;
}

/** A transport on which the checks of the peer are answered. */
interface Listening {
  transport: PathTransport;
  /** Undefined for the first one, on which the checks listen by themselves. */
  readonly registration: Disposable | undefined;
  /** When the peer was heard there last, `Clock.now` ms. */
  heardAtMs: number | undefined;
}

/** Endpoints of one peer that datagrams are taken from. */
const MAX_RECEIVERS = 64;
/** A socket of an attack on which the peer was not heard for this long is closed, ms: the peer may use it although we do not. */
const LINGER_MS = 30_000;

/** Names the 5-tuple of a path; unique among the paths of a peer. */
export function transportId(transport: PathTransport, remote: Endpoint): string {
  const { local, family } = transport;
  const socket = isUnspecified(local.address) ? `udp${family}:${local.port}` : `udp${family}:${formatEndpoint(local)}`;
  return `${transport.name ?? socket} ${formatEndpoint(remote)}`;
}

/** Tells which paths may fail together: the local uplink, and the remote address or the relay. */
export function transportEnds(transport: PathTransport, remote: Endpoint, isRelay: boolean): [string, string] {
  const { local, relay, family } = transport;
  if (relay !== undefined) return [`any${family}`, `relay ${local.address}`];
  const uplink = isUnspecified(local.address) ? `any${family}` : local.address;
  return [uplink, isRelay ? `relay ${remote.address}` : remote.address];
}

/**
 * What one peer is checked and heard on: the shared path sockets and relayed addresses, and sockets of its own that an
 * attack on hard NATs has opened. Each end chooses its path by itself, so datagrams are taken on every pair that was heard,
 * and sockets stay open while the peer uses them.
 */
export class PeerTransports {
  readonly #components: PeerTransportsComponents;
  readonly #options: PeerTransportsOptions;
  readonly #listening = new SparseMap<StunDemultiplexer, Listening>();
  readonly #own = new SparseSet<PathSocket>();
  readonly #receivers = new SparseMap<string, { stun: StunDemultiplexer; registration: Disposable }>();
  readonly #lingering = new SparseMap<PathSocket, Timer>();
  readonly #closing = new Tasks();

  /** @param first what the checks listen on already */
  constructor(components: PeerTransportsComponents, options: PeerTransportsOptions, first: PathTransport) {
    this.#components = components;
    this.#options = options;
    this.#listening.set(first.stun, { transport: first, registration: undefined, heardAtMs: undefined });
  }

  of(stun: StunDemultiplexer): PathTransport | undefined {
    return this.#listening.get(stun)?.transport;
  }

  /** True when nothing comes over a transport any more; a relayed address that is lost may be granted again. */
  isGone({ stun, relay, isClosed = relay === undefined }: PathTransport): boolean {
    return isClosed && this.of(stun) === undefined;
  }

  /** Answers checks on every shared transport that there is now. */
  update(): void {
    const current = new Set<StunDemultiplexer>([...this.#own].map(({ stun }) => stun));
    for (const transport of this.#components.shared()) {
      current.add(transport.stun);
      this.#listen(transport);
    }
    for (const stun of [...this.#listening.keys()]) if (!current.has(stun)) this.#leave(stun);
  }

  /** Answers checks on a socket of the peer's own, and closes it in the end. */
  adopt(socket: PathSocket): void {
    this.#own.add(socket);
    this.#listen(socket);
  }

  /** Closes a socket of the peer's own, once neither this node nor the peer uses it. */
  drop(transport: PathTransport): void {
    if (!(transport instanceof PathSocket) || !this.#own.has(transport) || this.#options.isUsed(transport)) return;
    const heardAtMs = this.#listening.get(transport.stun)?.heardAtMs;
    const restMs = heardAtMs === undefined ? 0 : heardAtMs + LINGER_MS - this.#components.clock.now();
    this.#lingering.get(transport)?.cancel();
    if (restMs > 0) {
      this.#lingering.set(
        transport,
        this.#components.clock.timer(restMs, () => this.drop(transport)),
      );
      return;
    }
    this.#lingering.delete(transport);
    this.#own.delete(transport);
    this.#leave(transport.stun);
    this.#close(transport);
  }

  /** Takes datagrams of WireGuard from an endpoint on which the peer was heard, from now on. */
  heard(transport: PathTransport, remote: Endpoint): void {
    const listening = this.#listening.get(transport.stun);
    if (listening !== undefined) listening.heardAtMs = this.#components.clock.now();
    const id = transportId(transport, remote);
    const known = this.#receivers.get(id);
    this.#receivers.delete(id);
    if (known !== undefined) {
      this.#receivers.set(id, known);
      return;
    }
    const [oldest] = this.#receivers.keys();
    if (this.#receivers.size >= MAX_RECEIVERS && oldest !== undefined) this.#forget(oldest);
    const registration = transport.receiveFrom(remote, (datagram) =>
      this.#options.onDatagram(datagram, id, transport, remote),
    );
    this.#receivers.set(id, { stun: transport.stun, registration });
  }

  async close(): Promise<void> {
    for (const timer of this.#lingering.values()) timer.cancel();
    for (const id of [...this.#receivers.keys()]) this.#forget(id);
    for (const stun of [...this.#listening.keys()]) this.#leave(stun);
    for (const socket of this.#own) this.#close(socket);
    await this.#closing.settled();
  }

  #listen(transport: PathTransport): void {
    const { stun } = transport;
    const known = this.#listening.get(stun);
    if (known !== undefined) known.transport = transport;
    else {
      const registration = this.#components.checks.listen(stun);
      this.#listening.set(stun, { transport, registration, heardAtMs: undefined });
    }
  }

  #leave(stun: StunDemultiplexer): void {
    this.#listening.get(stun)?.registration?.[Symbol.dispose]();
    this.#listening.delete(stun);
    for (const [id, receiver] of [...this.#receivers]) if (receiver.stun === stun) this.#forget(id);
  }

  #forget(id: string): void {
    this.#receivers.get(id)?.registration[Symbol.dispose]();
    this.#receivers.delete(id);
  }

  #close(socket: PathSocket): void {
    this.#closing.add(socket.close());
  }
}
