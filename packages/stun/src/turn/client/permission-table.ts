import type { Endpoint } from '@towpath/net';
import { MAX_CHANNEL, MIN_CHANNEL } from '../../message/channel-data.ts';

/** A permission lives five minutes (RFC 8656 §9); refreshing after four leaves a minute for retransmissions. */
export const PERMISSION_REFRESH_MS = 240_000;

/** A renewal has an answer or is given up within this time (RFC 8489 §6.2.1: 39.5 s). */
const RENEWAL_MS = 40_000;

/** A channel number may not be bound to another peer before this has passed (RFC 8656 §12). */
const CHANNEL_REST_MS = 900_000;

export interface ChannelEntry {
  readonly number: number;
  readonly peer: Endpoint;
  /** When the binding must be renewed; a renewal renews the permission too. */
  refreshAt: number;
  /** Confirmed by the server. */
  bound: boolean;
}

/** What a client keeps about the peers of its allocation: permissions, channels, and when each is to be renewed. */
export class PermissionTable {
  /** By address: when the permission must be renewed. */
  readonly #permissions = new Map<string, number>();
  readonly #byNumber = new Map<number, ChannelEntry>();
  readonly #byPeer = new Map<string, Map<number, ChannelEntry>>();
  /** Numbers given up, with the time from which they may be used again. */
  readonly #resting = new Map<number, number>();
  #next = MIN_CHANNEL;

  /** Permissions that the server has granted, renewed at `now` or later. */
  granted(addresses: readonly string[], now: number): void {
    for (const address of addresses) this.#permissions.set(address, now + PERMISSION_REFRESH_MS);
  }

  hasPermission(address: string): boolean {
    return this.#permissions.has(address);
  }

  revoked(address: string): void {
    this.#permissions.delete(address);
  }

  /** Addresses whose permission is due; each is due again after {@link RENEWAL_MS} at the earliest; a channel renews its own. */
  duePermissions(now: number): string[] {
    const due = [...this.#permissions].filter(([address, at]) => at <= now && !this.#byPeer.has(address));
    for (const [address] of due) this.#permissions.set(address, now + RENEWAL_MS);
    return due.map(([address]) => address);
  }

  /** Channels that are due; each is due again after {@link RENEWAL_MS} at the earliest. */
  dueChannels(now: number): ChannelEntry[] {
    const due = [...this.#byNumber.values()].filter(({ bound, refreshAt }) => bound && refreshAt <= now);
    for (const entry of due) entry.refreshAt = now + RENEWAL_MS;
    return due;
  }

  /** The channel of a peer, bound or being bound. */
  channelOf({ address, port }: Endpoint): ChannelEntry | undefined {
    return this.#byPeer.get(address)?.get(port);
  }

  /** The peer of a bound channel. */
  peerOf(number: number): Endpoint | undefined {
    return this.#byNumber.get(number)?.peer;
  }

  /** Takes a free channel number for a peer; undefined when all 4,096 are taken. */
  openChannel(peer: Endpoint, now: number): ChannelEntry | undefined {
    const number = this.#freeNumber(now);
    if (number === undefined) return undefined;
    const entry: ChannelEntry = { number, peer, refreshAt: 0, bound: false };
    this.#byNumber.set(number, entry);
    const ports = this.#byPeer.get(peer.address) ?? new Map<number, ChannelEntry>();
    this.#byPeer.set(peer.address, ports);
    ports.set(peer.port, entry);
    return entry;
  }

  /** The server has confirmed a channel. */
  channelBound(entry: ChannelEntry, now: number): void {
    entry.bound = true;
    entry.refreshAt = now + PERMISSION_REFRESH_MS;
    this.granted([entry.peer.address], now);
  }

  /** The server has refused a channel. */
  dropChannel({ number, peer }: ChannelEntry, now: number): void {
    this.#byNumber.delete(number);
    this.#resting.set(number, now + CHANNEL_REST_MS);
    const ports = this.#byPeer.get(peer.address);
    ports?.delete(peer.port);
    if (ports?.size === 0) this.#byPeer.delete(peer.address);
  }

  #freeNumber(now: number): number | undefined {
    for (let tries = MIN_CHANNEL; tries <= MAX_CHANNEL; tries++) {
      const number = this.#next;
      this.#next = number === MAX_CHANNEL ? MIN_CHANNEL : number + 1;
      if (!this.#byNumber.has(number) && (this.#resting.get(number) ?? 0) <= now) return number;
    }
    return undefined;
  }
}
