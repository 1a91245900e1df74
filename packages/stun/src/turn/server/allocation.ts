import type { Clock, Random, Timer } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import * as attr from '../../message/attributes.ts';
import { CHANNEL_HEADER_BYTES, channelOf, encodeChannelData } from '../../message/channel-data.ts';
import { MessageClass, Method, TRANSACTION_ID_BYTES } from '../../message/header.ts';
import { StunWriter } from '../../message/stun-writer.ts';
import type { Identity } from './authenticator.ts';
import type { ClientLink } from './client-link.ts';
import {
  CHANNEL_LIFETIME_MS,
  MAX_CHANNELS,
  MAX_PERMISSIONS,
  PERMISSION_LIFETIME_MS,
  type TurnCounters,
} from './options.ts';
import type { PeerPolicy } from './peer-policy.ts';
import type { RelaySocket } from './relay-ports.ts';
import type { TcpRelay } from './tcp-relay.ts';
import type { TokenBucket } from './token-bucket.ts';

/** A bound channel. */
interface Channel {
  readonly number: number;
  readonly peer: Endpoint;
  expiresAt: number;
}

/** A peer address with a permission. */
interface Peer {
  permittedUntil: number;
  /** By port; created with the first channel to this address. */
  channels: Map<number, Channel> | undefined;
  /** One of the server's own addresses: only relayed ports may be sent to. */
  readonly own: boolean;
}

/** What an allocation needs of its server. */
export interface AllocationContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: TurnCounters;
  readonly policy: PeerPolicy;
  /** True when the port belongs to an allocation of this server. */
  isRelayed(peer: Endpoint): boolean;
}

export interface AllocationInit {
  readonly link: ClientLink;
  readonly identity: Identity;
  /** Transaction id of the Allocate request, to recognise its repetitions. */
  readonly transactionId: Uint8Array;
  /** Limits the user's bandwidth; undefined without a limit. */
  readonly bandwidth: TokenBucket | undefined;
}

/** One client's relayed addresses, permissions and channels, and the path of its data (RFC 8656 §3). */
export class Allocation {
  readonly link: ClientLink;
  readonly identity: Identity;
  readonly transactionId: Uint8Array;
  /** The success response, sent again when the request is repeated (RFC 8656 §7.2). */
  response: Uint8Array | undefined;
  /** Runs out when the client does not refresh. */
  expiry: Timer | undefined;
  /** Present for an allocation of TCP (RFC 6062). */
  tcp: TcpRelay | undefined;
  readonly #context: AllocationContext;
  readonly #bandwidth: TokenBucket | undefined;
  readonly #stream: boolean;
  #relay4: RelaySocket | undefined;
  #relay6: RelaySocket | undefined;
  readonly #peers = new Map<string, Peer>();
  readonly #channels = new Map<number, Channel>();

  constructor(context: AllocationContext, init: AllocationInit) {
    this.#context = context;
    this.link = init.link;
    this.identity = init.identity;
    this.transactionId = init.transactionId;
    this.#bandwidth = init.bandwidth;
    this.#stream = init.link.transport !== 'udp';
  }

  /** Takes over a relay socket. */
  attach(relay: RelaySocket): void {
    if (relay.family === 4) this.#relay4 = relay;
    else this.#relay6 = relay;
    relay.onMessage = (data, from) => this.#fromPeer(data, from);
  }

  relays(): RelaySocket[] {
    return [this.#relay4, this.#relay6].filter((relay) => relay !== undefined);
  }

  hasFamily(family: 4 | 6): boolean {
    if (this.tcp !== undefined) return this.tcp.family === family;
    return (family === 4 ? this.#relay4 : this.#relay6) !== undefined;
  }

  /** Gives up one family of a dual allocation. */
  async drop(family: 4 | 6): Promise<void> {
    const relay = family === 4 ? this.#relay4 : this.#relay6;
    if (family === 4) this.#relay4 = undefined;
    else this.#relay6 = undefined;
    await relay?.socket.close();
  }

  /** True when a permission can be installed without going over the limit. */
  roomFor(addresses: readonly string[]): boolean {
    if (this.#peers.size + addresses.length > MAX_PERMISSIONS) this.#sweep();
    const fresh = addresses.filter((address) => !this.#peers.has(address));
    return this.#peers.size + fresh.length <= MAX_PERMISSIONS;
  }

  /** Installs or refreshes a permission (RFC 8656 §10). */
  permit(address: string): void {
    const until = this.#context.clock.now() + PERMISSION_LIFETIME_MS;
    const peer = this.#peers.get(address);
    if (peer !== undefined) peer.permittedUntil = until;
    else
      this.#peers.set(address, {
        permittedUntil: until,
        channels: undefined,
        own: this.#context.policy.isOwn(address),
      });
  }

  permitted(address: string): boolean {
    return (this.#peers.get(address)?.permittedUntil ?? 0) > this.#context.clock.now();
  }

  /**
   * Binds or refreshes a channel (RFC 8656 §12.2).
   * @returns `conflict` when number or peer are bound to another, `full` at the limit.
   */
  bindChannel(number: number, peer: Endpoint): 'bound' | 'conflict' | 'full' {
    const now = this.#context.clock.now();
    const byNumber = this.#alive(this.#channels.get(number), now);
    const byPeer = this.#alive(this.#peers.get(peer.address)?.channels?.get(peer.port), now);
    if (byNumber !== byPeer) return 'conflict';
    if (byNumber === undefined && this.#channels.size >= MAX_CHANNELS) this.#sweep();
    if ((byNumber === undefined && this.#channels.size >= MAX_CHANNELS) || !this.roomFor([peer.address])) return 'full';
    this.permit(peer.address);
    const channel = byNumber ?? { number, peer, expiresAt: 0 };
    channel.expiresAt = now + CHANNEL_LIFETIME_MS;
    this.#channels.set(number, channel);
    const entry = this.#peers.get(peer.address)!;
    entry.channels ??= new Map();
    entry.channels.set(peer.port, channel);
    return 'bound';
  }

  /** ChannelData from the client, header included. */
  fromClientChannel(data: Uint8Array): void {
    const { counters, clock } = this.#context;
    const channel = this.#channels.get(channelOf(data));
    const end = CHANNEL_HEADER_BYTES + ((data[2]! << 8) | data[3]!);
    if (end > data.length) {
      counters.dropped.malformed++;
      return;
    }
    const now = clock.now();
    if (channel === undefined || channel.expiresAt <= now) {
      counters.dropped.notPermitted++;
      return;
    }
    this.#toPeer(data.subarray(CHANNEL_HEADER_BYTES, end), channel.peer, now);
  }

  /** The data of a Send indication. */
  fromClientSend(data: Uint8Array, to: Endpoint): void {
    const now = this.#context.clock.now();
    const peer = this.#peers.get(to.address);
    if (peer === undefined || peer.permittedUntil <= now) {
      this.#context.counters.dropped.notPermitted++;
      return;
    }
    this.#toPeer(data, to, now);
  }

  /** Closes every socket of the allocation. */
  async close(): Promise<void> {
    this.expiry?.cancel();
    await Promise.all([...this.relays().map(({ socket }) => socket.close()), this.tcp?.close()]);
  }

  /** Takes the bytes of a stream off the user's rate; returns how long the stream must wait, ms. */
  throttle(bytes: number, now: number): number {
    return this.#bandwidth?.owe(bytes, now) ?? 0;
  }

  /** Takes a datagram off the user's rate; false when it is used up. */
  #charge(bytes: number, now: number): boolean {
    if (this.#bandwidth === undefined || this.#bandwidth.take(bytes, now)) return true;
    this.#context.counters.dropped.bandwidth++;
    return false;
  }

  #toPeer(data: Uint8Array, to: Endpoint, now: number): void {
    const { counters } = this.#context;
    const relay = to.address.includes(':') ? this.#relay6 : this.#relay4;
    const own = this.#peers.get(to.address)?.own;
    if (relay === undefined || to.port === 0 || (own !== false && !this.#context.isRelayed(to))) {
      counters.dropped.notPermitted++;
      return;
    }
    if (!this.#charge(data.length, now)) return;
    counters.packetsToPeers++;
    counters.bytesToPeers += data.length;
    relay.socket.send(data, to);
  }

  #fromPeer(data: Uint8Array, from: Endpoint): void {
    const { clock, counters } = this.#context;
    const now = clock.now();
    const peer = this.#peers.get(from.address);
    if (peer === undefined || peer.permittedUntil <= now) {
      counters.dropped.notPermitted++;
      return;
    }
    if (!this.#charge(data.length, now)) return;
    const channel = this.#alive(peer.channels?.get(from.port), now);
    const message =
      channel === undefined ? this.#dataIndication(data, from) : encodeChannelData(channel.number, data, this.#stream);
    if (!this.link.send(message)) {
      counters.dropped.backlog++;
      return;
    }
    counters.packetsToClients++;
    counters.bytesToClients += data.length;
  }

  #dataIndication(data: Uint8Array, from: Endpoint): Uint8Array {
    return new StunWriter(MessageClass.Indication, Method.Data, this.#context.random.bytes(TRANSACTION_ID_BYTES))
      .add(attr.xorPeerAddress, from)
      .add(attr.data, data)
      .finish();
  }

  #alive(channel: Channel | undefined, now: number): Channel | undefined {
    return channel !== undefined && channel.expiresAt > now ? channel : undefined;
  }

  /** Forgets what has expired; only when a limit is met, so that it costs nothing per packet. */
  #sweep(): void {
    const now = this.#context.clock.now();
    for (const [number, channel] of this.#channels) if (channel.expiresAt <= now) this.#channels.delete(number);
    for (const [address, peer] of this.#peers) {
      for (const [port, channel] of peer.channels ?? []) if (channel.expiresAt <= now) peer.channels!.delete(port);
      if (peer.permittedUntil <= now && !peer.channels?.size) this.#peers.delete(address);
    }
  }
}
