import type { Clock, Log, Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import type { PlaneAccount, RelayPlane, SessionCounters } from '@towpath/splice';
import { beginsLikeStun } from '../../message/header.ts';
import type { Identity } from './authenticator.ts';
import type { TurnCounters } from './options.ts';
import type { PeerPolicy } from './peer-policy.ts';
import type { RelayPorts, RelaySocket } from './relay-ports.ts';

/** The allocation of a plain port, as far as the port uses it. */
export interface PlainOwner {
  readonly identity: Identity;
  readonly account: PlaneAccount;
  /** The allocation's socket that the peer sends to. */
  readonly relay: RelaySocket;
  readonly peer: Endpoint;
  /** When the channel ends, and the peer's permission. */
  channelUntilMs(): number;
  permittedUntilMs(): number;
  /** A datagram of the verified client for the peer. */
  fromClient(data: Uint8Array): void;
  /** The port has closed. */
  onClosed(): void;
}

/** What plain ports use of the server. */
export interface PlainServer {
  readonly clock: Clock;
  readonly log: Log;
  logOf(user: string): Log;
  readonly counters: TurnCounters;
  readonly ports: RelayPorts;
  readonly policy: PeerPolicy;
  /** The kernel, where it can forward. */
  readonly plane: RelayPlane | undefined;
}

/** What a plain port reports. */
export interface PlainContext extends PlainServer {
  onStun(port: PlainPort, data: Uint8Array, from: Endpoint): void;
  onMoved(port: PlainPort, inKernel: boolean): void;
  onClosed(port: PlainPort): void;
}

/** A client that was not heard for this long at a plain port has to be verified again. */
export const PLAIN_VERIFIED_MS = 120_000;

/**
 * One port for the datagrams between a client and one peer, unframed (docs/protocol/turn-plain.md). The client's address
 * is verified before anything is forwarded; then the kernel forwards where it can, and this port where not.
 */
export class PlainPort {
  readonly owner: PlainOwner;
  readonly #context: PlainContext;
  readonly #socket: RelaySocket;
  #client: Endpoint | undefined;
  #verifiedUntilMs = 0;
  /** The client whose session is placed in the kernel. */
  #placed: Endpoint | undefined;
  #timer: Timer | undefined;
  #closed = false;

  /** Works after the first {@link refresh}. */
  constructor(context: PlainContext, owner: PlainOwner, socket: RelaySocket) {
    this.#context = context;
    this.owner = owner;
    this.#socket = socket;
    socket.onMessage = (data, from) => this.#receive(data, from);
  }

  /** Where the client sends to. */
  get announced(): Endpoint {
    return this.#socket.announced;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** True when client and peer have one address: it may be that of another relay, which has both. */
  get mayCircle(): boolean {
    return this.#client?.address === this.owner.peer.address;
  }

  get verified(): boolean {
    return this.#client !== undefined && this.#verifiedUntilMs > this.#context.clock.now();
  }

  /** True when a datagram of the peer goes to the client from this port, and not over the channel. */
  carries(data: Uint8Array): boolean {
    return this.verified && this.#channelAlive() && !beginsLikeStun(data);
  }

  /** Sends a datagram of the peer to the client. */
  send(data: Uint8Array): void {
    if (this.#client !== undefined) this.#socket.socket.send(data, this.#client);
  }

  sendAnswer(data: Uint8Array, to: Endpoint): void {
    this.#socket.socket.send(data, to);
  }

  /** The client's address was verified; it replaces one that was verified before. */
  verify(client: Endpoint): void {
    if (this.#closed) return;
    this.#client = client;
    this.#verifiedUntilMs = this.#context.clock.now() + PLAIN_VERIFIED_MS;
    this.refresh();
  }

  /** Permission or channel have changed, or time has passed. */
  refresh(): void {
    if (this.#closed) return;
    const now = this.#context.clock.now();
    const channelUntilMs = this.owner.channelUntilMs();
    if (channelUntilMs <= now) {
      this.close();
      return;
    }
    const permittedUntilMs = this.owner.permittedUntilMs();
    const allowed = this.#client !== undefined && this.#verifiedUntilMs > now && permittedUntilMs > now;
    this.#placeOrRemove(allowed ? this.#client : undefined);
    const next = [channelUntilMs, permittedUntilMs, this.#verifiedUntilMs].filter((ms) => ms > now);
    this.#timer?.cancel();
    this.#timer = this.#context.clock.timer(Math.min(...next) - now, () => this.refresh());
  }

  /** Ends forwarding at once and gives the port back. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#placeOrRemove(undefined);
    this.#context.onClosed(this);
    this.owner.onClosed();
    this.#socket.socket
      .close()
      .catch((error: unknown) => this.#context.log.warn('a plain port did not close', { error }));
  }

  get #id(): string {
    return formatEndpoint(this.#socket.socket.local);
  }

  #channelAlive(): boolean {
    return !this.#closed && this.owner.channelUntilMs() > this.#context.clock.now();
  }

  #receive(data: Uint8Array, from: Endpoint): void {
    if (this.#closed) return;
    if (beginsLikeStun(data)) {
      this.#context.onStun(this, data, from);
      return;
    }
    if (this.#client === undefined || !this.verified || !sameEndpoint(this.#client, from)) {
      this.#context.counters.dropped.notPermitted++;
      return;
    }
    this.owner.fromClient(data);
  }

  #placeOrRemove(client: Endpoint | undefined): void {
    const { plane, ports, policy } = this.#context;
    if (plane === undefined) return;
    const { relay, peer, account } = this.owner;
    const families = [client?.address, peer.address, this.announced.address].map((text) => text?.includes(':'));
    // What this host sends to itself does not come in by a device.
    const possible = client !== undefined && new Set(families).size === 1;
    const wanted = possible && !policy.isOwn(peer.address) && !policy.isOwn(client.address) ? client : undefined;
    const placed = this.#placed;
    if (wanted === placed || (wanted !== undefined && placed !== undefined && sameEndpoint(wanted, placed))) return;
    this.#placed = wanted;
    if (wanted === undefined) {
      plane.remove(this.#id);
      return;
    }
    plane.place(this.#id, {
      a: { remote: wanted, local: this.#socket.socket.local },
      b: { remote: ports.bound(peer), local: relay.socket.local },
      account,
      onMoved: (inKernel) => this.#context.onMoved(this, inKernel),
      onCounted: (counters) => this.#counted(counters),
    });
  }

  #counted(counters: SessionCounters): void {
    const { packetsFromA: packetsToPeer, bytesFromA: bytesToPeer } = counters;
    const { packetsFromB: packetsToClient, bytesFromB: bytesToClient } = counters;
    const fields = {
      peer: formatEndpoint(this.owner.peer),
      packetsToPeer,
      bytesToPeer,
      packetsToClient,
      bytesToClient,
    };
    this.#context.logOf(this.owner.identity.user).info('relayed in the kernel', fields);
  }
}
