import type { Clock, Random, RateLimit, Timer } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import * as attr from '../../message/attributes.ts';
import { CHANNEL_HEADER_BYTES, channelOf, encodeChannelData } from '../../message/channel-data.ts';
import { MessageClass, Method, TRANSACTION_ID_BYTES } from '../../message/header.ts';
import { StunWriter } from '../../message/stun-writer.ts';
import type { IcmpError, PlaneAccount } from '@towpath/splice';
import type { Identity } from './authenticator.ts';
import type { ClientLink } from './client-link.ts';
import type { GroupQuotas, GroupRates } from './group-quotas.ts';
import {
  CHANNEL_LIFETIME_MS,
  MAX_CHANNELS,
  MAX_PERMISSIONS,
  PERMISSION_LIFETIME_MS,
  type TurnCounters,
} from './options.ts';
import type { PeerPolicy } from './peer-policy.ts';
import type { PlainPort } from './plain-port.ts';
import type { PlainPorts } from './plain-ports.ts';
import type { RelayPorts, RelaySocket } from './relay-ports.ts';
import type { TcpRelay } from './tcp-relay.ts';

/** A bound channel. */
interface Channel {
  readonly number: number;
  readonly peer: Endpoint;
  expiresAt: number;
  /** Carries the peer's data unframed. */
  plain: PlainPort | undefined;
  /** The port is being opened. */
  opening: Promise<PlainPort | undefined> | undefined;
}

/** A peer address with a permission. */
interface Peer {
  permittedUntil: number;
  /** By port; created with the first channel to this address. */
  channels: Map<number, Channel> | undefined;
}

/** What an allocation needs of its server. */
export interface AllocationContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: TurnCounters;
  readonly policy: PeerPolicy;
  readonly ports: RelayPorts;
  readonly plain: PlainPorts;
  /** Relayed bytes per user; undefined without a limit. */
  readonly bandwidth: { readonly limit: RateLimit; readonly burstBytes: number } | undefined;
  readonly groups: GroupQuotas;
  /** True when the port belongs to an allocation of this server. */
  isRelayed(peer: Endpoint): boolean;
}

export interface AllocationOptions {
  readonly link: ClientLink;
  readonly identity: Identity;
  /** Transaction id of the Allocate request, to recognise its repetitions. */
  readonly transactionId: Uint8Array;
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
  /** Runs out when the newest credentials that the client has shown expire. */
  credentialExpiry: Timer | undefined;
  /** When that is, ms since the Unix epoch; undefined for a fixed password. */
  credentialsUntilMs: number | undefined;
  /** Present for an allocation of TCP (RFC 6062). */
  tcp: TcpRelay | undefined;
  readonly #context: AllocationContext;
  readonly #stream: boolean;
  readonly #groupRates: GroupRates;
  #relay4: RelaySocket | undefined;
  #relay6: RelaySocket | undefined;
  readonly #peers = new Map<string, Peer>();
  readonly #channels = new Map<number, Channel>();
  #ended = false;

  constructor(context: AllocationContext, options: AllocationOptions) {
    this.#context = context;
    this.link = options.link;
    this.identity = options.identity;
    this.transactionId = options.transactionId;
    this.#stream = options.link.transport !== 'udp';
    this.#groupRates = context.groups.ratesOf(options.identity.user);
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
    for (const { peer, plain } of this.#channels.values()) {
      if (peer.address.includes(':') === (family === 6)) plain?.close();
    }
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
    if (peer !== undefined) {
      peer.permittedUntil = until;
      for (const { plain } of peer.channels?.values() ?? []) plain?.refresh();
    } else
      this.#peers.set(address, {
        permittedUntil: until,
        channels: undefined,
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
    const channel = byNumber ?? { number, peer, expiresAt: 0, plain: undefined, opening: undefined };
    channel.expiresAt = now + CHANNEL_LIFETIME_MS;
    this.#channels.set(number, channel);
    const entry = this.#peers.get(peer.address)!;
    entry.channels ??= new Map();
    entry.channels.set(peer.port, channel);
    return 'bound';
  }

  /**
   * Opens a port that carries the data of a bound channel unframed; returns the one that there is already.
   * @returns undefined when a limit is reached or no port is free
   * @throws NetError when binding fails.
   */
  async openPlain(number: number): Promise<PlainPort | undefined> {
    const channel = this.#alive(this.#channels.get(number), this.#context.clock.now());
    if (channel === undefined) return undefined;
    if (channel.plain !== undefined) return channel.plain;
    channel.opening ??= this.#openPlain(channel).finally(() => {
      channel.opening = undefined;
    });
    return channel.opening;
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
    this.#toPeer(data.subarray(CHANNEL_HEADER_BYTES, end), channel.peer);
  }

  /** The data of a Send indication. */
  fromClientSend(data: Uint8Array, to: Endpoint): void {
    const now = this.#context.clock.now();
    const peer = this.#peers.get(to.address);
    if (peer === undefined || peer.permittedUntil <= now) {
      this.#context.counters.dropped.notPermitted++;
      return;
    }
    this.#toPeer(data, to);
  }

  /** Tells the client of an error about what was sent to a peer (RFC 8656 §11.5), also where the peer has a channel. */
  icmpError({ peer, type, code, data }: IcmpError): void {
    const to = this.#context.ports.announced(peer);
    if (!this.permitted(to.address)) return;
    const message = this.#indication().add(attr.xorPeerAddress, to).add(attr.icmp, { type, code, data }).finish();
    if (this.link.send(message)) this.#context.counters.icmpErrors++;
    else this.#context.counters.dropped.backlog++;
  }

  /** Closes every socket of the allocation. */
  async close(): Promise<void> {
    this.expiry?.cancel();
    this.credentialExpiry?.cancel();
    this.#ended = true;
    for (const { plain } of this.#channels.values()) plain?.close();
    await Promise.all([...this.relays().map(({ socket }) => socket.close()), this.tcp?.close()]);
  }

  async #openPlain(channel: Channel): Promise<PlainPort | undefined> {
    const { peer } = channel;
    const relay = peer.address.includes(':') ? this.#relay6 : this.#relay4;
    if (relay === undefined) return undefined;
    const { plain } = this.#context;
    const port = await plain.open(
      {
        identity: this.identity,
        account: this.#kernelAccount(),
        relay,
        peer,
        channelUntilMs: () => channel.expiresAt,
        permittedUntilMs: () => this.#peers.get(peer.address)?.permittedUntil ?? 0,
        fromClient: (data) => this.#fromClientPlain(data, channel),
        onClosed: () => {
          channel.plain = undefined;
        },
      },
      this.link.remote.address.includes(':') ? 6 : 4,
    );
    // The allocation may have ended, or lost the family, meanwhile.
    if (port !== undefined && (this.#ended || !this.relays().includes(relay))) port.close();
    if (port === undefined || port.closed) return undefined;
    channel.plain = port;
    return port;
  }

  /**
   * What the kernel limits: the rate of the user, or that of a group where it is the smaller one. The kernel knows one
   * account for each session; the others are charged with what passed, which stops what passes in user space.
   */
  #kernelAccount(): PlaneAccount {
    const { bandwidth } = this.#context;
    const { user } = this.identity;
    const shared = this.#groupRates.tightest;
    const own = bandwidth === undefined ? undefined : Math.round(bandwidth.burstBytes);
    if (shared !== undefined && (own === undefined || shared.bytesPerSecond < own)) {
      const { id, bytesPerSecond } = shared;
      return { id, limits: { bytesPerSecond }, onUsage: (bytes) => this.#groupRates.spend(bytes) };
    }
    const onUsage = (bytes: number) => {
      bandwidth?.limit.spend(user, bytes);
      this.#groupRates.spend(bytes);
    };
    return { id: user, limits: own === undefined ? {} : { bytesPerSecond: own }, onUsage };
  }

  #fromClientPlain(data: Uint8Array, { peer, expiresAt, plain }: Channel): void {
    const { clock, counters, plain: ports } = this.#context;
    if (expiresAt <= clock.now() || !this.permitted(peer.address)) counters.dropped.notPermitted++;
    else if (plain !== undefined && !ports.mayPass(plain, data)) counters.dropped.rate++;
    else this.#toPeer(data, peer, headerBytesOf(peer));
  }

  /** Takes the bytes of a stream off the user's rate. Returns 0, or how long to wait before asking again, ms. */
  throttle(bytes: number): number {
    const { bandwidth } = this.#context;
    const cost = Math.min(bytes, bandwidth?.burstBytes ?? bytes);
    const { user } = this.identity;
    const waitMs = Math.max(this.#groupRates.waitMs(cost), bandwidth?.limit.waitMs(user, cost) ?? 0);
    if (waitMs > 0) return Math.max(1, waitMs);
    this.#groupRates.charge(cost);
    bandwidth?.limit.take(user, cost);
    return 0;
  }

  /** Takes a datagram off the user's rate; false when it is used up. */
  #charge(bytes: number): boolean {
    const { bandwidth } = this.#context;
    const { user } = this.identity;
    const fits = bandwidth === undefined || bandwidth.limit.waitMs(user, bytes) === 0;
    if (fits && this.#groupRates.charge(bytes)) {
      bandwidth?.limit.take(user, bytes);
      return true;
    }
    this.#context.counters.dropped.bandwidth++;
    return false;
  }

  /** @param headerBytes that count for the user's rate too */
  #toPeer(data: Uint8Array, to: Endpoint, headerBytes = 0): void {
    const { counters } = this.#context;
    const relay = to.address.includes(':') ? this.#relay6 : this.#relay4;
    const own = this.#context.policy.isOwn(to.address);
    if (relay === undefined || to.port === 0 || (own && !this.#context.isRelayed(to))) {
      counters.dropped.notPermitted++;
      return;
    }
    if (!this.#charge(data.length + headerBytes)) return;
    counters.packetsToPeers++;
    counters.bytesToPeers += data.length;
    relay.socket.send(data, this.#context.ports.bound(to));
  }

  #fromPeer(data: Uint8Array, source: Endpoint): void {
    const from = this.#context.ports.announced(source);
    const { clock, counters } = this.#context;
    const now = clock.now();
    const peer = this.#peers.get(from.address);
    if (peer === undefined || peer.permittedUntil <= now) {
      counters.dropped.notPermitted++;
      return;
    }
    const channel = this.#alive(peer.channels?.get(from.port), now);
    if (channel?.plain?.carries(data)) {
      if (!this.#context.plain.mayPass(channel.plain, data)) {
        counters.dropped.rate++;
        return;
      }
      if (!this.#charge(data.length + headerBytesOf(from))) return;
      channel.plain.send(data);
      counters.packetsToClients++;
      counters.bytesToClients += data.length;
      return;
    }
    if (!this.#charge(data.length)) return;
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
    return this.#indication().add(attr.xorPeerAddress, from).add(attr.data, data).finish();
  }

  #indication(): StunWriter {
    return new StunWriter(MessageClass.Indication, Method.Data, this.#context.random.bytes(TRANSACTION_ID_BYTES));
  }

  #alive(channel: Channel | undefined, now: number): Channel | undefined {
    return channel !== undefined && channel.expiresAt > now ? channel : undefined;
  }

  /** Forgets what has expired; only when a limit is met, so that it costs nothing per packet. */
  #sweep(): void {
    const now = this.#context.clock.now();
    for (const [number, channel] of this.#channels) {
      if (channel.expiresAt > now) continue;
      channel.plain?.close();
      this.#channels.delete(number);
    }
    for (const [address, peer] of this.#peers) {
      for (const [port, channel] of peer.channels ?? []) if (channel.expiresAt <= now) peer.channels!.delete(port);
      if (peer.permittedUntil <= now && !peer.channels?.size) this.#peers.delete(address);
    }
  }
}

/** IP and UDP headers, which count at plain ports because the kernel counts them. */
function headerBytesOf({ address }: Endpoint): number {
  return address.includes(':') ? 48 : 28;
}
