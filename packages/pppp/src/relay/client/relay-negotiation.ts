import type { Clock, Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import { ResultCode } from '../../codec/codes.ts';
import { encodeMessage, type Message } from '../../codec/message.ts';
import { PaidInFullBytes } from '../../codec/padding.ts';
import { PpppError } from '../../pppp-error.ts';
import { isPunchable } from '../../rendezvous/client/addresses.ts';
import { Relay, type Reservation } from './relay-choice.ts';
import type { Server, RendezvousServers } from '../../rendezvous/client/rendezvous-servers.ts';

/** Base port of a Towpath relay: tried at every server's address at once, before the lists of relays arrive. */
export const RELAY_PORT = 32_110;

/** Most relays that are considered: two full lists (docs/protocol/pppp.md, "Relay messages"). */
const MAX_RELAYS = 16;

/** Relays that are asked for a session port at the same time; the first to answer is used. */
const ASKED_AT_ONCE = 3;

/**
 * A relay over which the device has not come by then is joined by the next one, in ms: as many round trips, within
 * bounds.
 */
const NEXT_RELAY_ROUND_TRIPS = 6;
const NEXT_RELAY_MS = { min: 200, max: 1500 } as const;

/** Further session ports that are asked of relays over which the device has not come, when there is no other relay. */
const MAX_RENEWALS = 3;

/** Transport of the negotiation to servers and relays. Datagrams are in the clear. */
export interface RelaySignalling {
  toServer(server: Endpoint, datagram: Uint8Array): void;
  toRelay(base: Endpoint, datagram: Uint8Array): void;
  /** To a session port, or its equivalent over TCP. */
  toSession(reservation: Reservation, datagram: Uint8Array): void;
  /** The relay has connected this client with the device. */
  ready(reservation: Reservation): void;
  /** The server reports that several devices claim the UID. */
  contested(server: Endpoint): void;
  fail(error: PpppError): void;
}

export interface RelayNegotiationComponents {
  clock: Clock;
  random: Random;
  signalling: RelaySignalling;
}

export interface RelayNegotiationOptions {
  uid: string;
  secret: string | undefined;
  servers: RendezvousServers;
  /** Base ports; undefined: the servers are asked. */
  relays: readonly Endpoint[] | undefined;
  /** Where RLY_RDY comes from: the session port over UDP, the base port over TCP. */
  readyFrom: 'session' | 'base';
}

/**
 * The negotiation of a client with servers and relays, until a relay has connected it with the device
 * (docs/protocol/pppp.md, "Connecting through a relay"), over any carrier. Requests are sent as early as possible: to the
 * usual relay port while the list is requested, for a session port together with the first HELLO, and RLY_PKT while the
 * device is being invited.
 */
export class RelayNegotiation {
  readonly #options: RelayNegotiationOptions;
  readonly #signalling: RelaySignalling;
  readonly #random: Random;
  readonly #relays: Relay[] = [];
  readonly #refusedBy: Map<Relay, Set<Server>> = new Map();
  #renewals = 0;
  #over = false;

  constructor({ clock, random, signalling }: RelayNegotiationComponents, options: RelayNegotiationOptions) {
    this.#options = options;
    this.#signalling = signalling;
    this.#random = random;
    const now = clock.now();
    for (const relay of options.relays ?? []) this.#add(relay, false, now);
    if (options.relays !== undefined) return;
    for (const { endpoint } of options.servers.servers) this.#add({ ...endpoint, port: RELAY_PORT }, true, now);
  }

  /** When {@link tick} is due. */
  nextAt(now: number): number {
    const { servers } = this.#options;
    let next = servers.nextAt(now);
    for (const relay of this.#relays) {
      if (relay.state === 'asked') next = Math.min(next, relay.dueAtMs);
      next = Math.min(next, relay.introduceAt);
      if (relay.activeSince !== undefined && this.#overdueAt(relay) > now)
        next = Math.min(next, this.#overdueAt(relay));
    }
    return next;
  }

  /** Says what is due. */
  tick(now: number): void {
    if (this.#over) return;
    const failure = this.#failure(now);
    if (failure !== undefined) {
      this.#over = true;
      this.#signalling.fail(failure);
      return;
    }
    this.#askRelays(now);
    this.#activate(now);
    for (const server of this.#options.servers.servers) if (server.dueAtMs <= now) this.#askServer(server, now);
    for (const relay of this.#relays) if (relay.introduceAt <= now) this.#introduce(relay, now);
  }

  /** Takes a message. Returns true when {@link tick} should follow at once. */
  receive(message: Message, from: Endpoint, now: number): boolean {
    if (this.#over) return false;
    const { servers } = this.#options;
    const server = servers.answering(message, from);
    if (server === undefined && this.receiveForeign(from)) return true;
    const first = server?.heard(now) ?? false;
    const relay = this.#relays.findLast(({ endpoint }) => sameEndpoint(endpoint, from));
    switch (message.type) {
      case 'LIST_REQ_ACK':
        if (server === undefined) return false;
        server.listed = true;
        if (this.#options.relays !== undefined) return false;
        for (const base of message.relays) if (isPunchable(base, server.endpoint)) this.#add(base, false, now);
        return true;
      case 'RLY_HELLO_ACK':
        return relay?.heard(now) ?? false;
      case 'RLY_PORT_ACK':
        return relay !== undefined && this.#reserved(relay, message.magic, message.port, now);
      case 'RLY_REQ_ACK':
        if (server === undefined) return false;
        if (message.contested) this.#signalling.contested(server.endpoint);
        this.#onResult(server, message.result);
        return true;
      case 'RLY_RDY':
        if (message.uid === this.#options.uid) this.#onReady(from);
        return false;
      default:
        return first;
    }
  }

  /** Takes what is no PPPP message. Returns true when {@link tick} should follow at once. */
  receiveForeign(from: Endpoint): boolean {
    return !this.#over && this.#options.servers.heardForeign(from);
  }

  /** The relay cannot be reached over this transport. */
  relayFailed(base: Endpoint): void {
    for (const relay of this.#relays) if (sameEndpoint(relay.endpoint, base)) relay.drop('silent');
  }

  /** Returns the error at the time limit. */
  timedOut(now: number): PpppError {
    const { servers, uid } = this.#options;
    if (!servers.servers.some(({ answered }) => answered)) return servers.noServer();
    const active = this.#relays.find(({ activeSince }) => activeSince !== undefined);
    if (active === undefined) return this.#failure(now) ?? this.#relaysSilent();
    return new PpppError(
      'no-answer',
      `${uid} was invited to the relay ${formatEndpoint(active.endpoint)} but did not join it. Next: check that it is online and that its network allows packets to the relay.`,
      { target: uid },
    );
  }

  #add(base: Endpoint, guessed: boolean, now: number): void {
    const known = this.#relays.find(({ endpoint }) => sameEndpoint(endpoint, base));
    if (known !== undefined) known.guessed &&= guessed;
    else if (this.#relays.length < MAX_RELAYS) this.#relays.push(this.#newRelay({ ...base }, guessed, now));
  }

  #newRelay(endpoint: Endpoint, guessed: boolean, now: number): Relay {
    return new Relay({ random: this.#random }, { endpoint, startAtMs: now, guessed });
  }

  #overdueAt(relay: Relay): number {
    const { servers } = this.#options;
    const slowest = Math.max(relay.rtt.smoothedMs ?? 0, ...servers.servers.map(({ rtt }) => rtt.smoothedMs ?? 0));
    const waitMs = Math.min(NEXT_RELAY_MS.max, Math.max(NEXT_RELAY_MS.min, NEXT_RELAY_ROUND_TRIPS * slowest));
    return (relay.activeSince ?? 0) + waitMs;
  }

  /** Whether another relay is needed: none is in use, or all in use have timed out. */
  #wantsAnother(now: number): boolean {
    return this.#relays.every((relay) => relay.activeSince === undefined || this.#overdueAt(relay) <= now);
  }

  #askRelays(now: number): void {
    for (const relay of this.#relays) {
      if (relay.isTired && relay.dueAtMs <= now) relay.drop('silent');
    }
    if (!this.#wantsAnother(now)) return;
    this.#renew(now);
    let room = ASKED_AT_ONCE;
    for (const relay of this.#relays) {
      if (relay.state !== 'idle' && relay.state !== 'asked') continue;
      // Relays that no server listed, and dead ones, do not count against the limit.
      if (!relay.guessed && !relay.isLate && room-- <= 0) continue;
      if (relay.state === 'idle') relay.restart(now);
      relay.state = 'asked';
      if (relay.dueAtMs <= now) this.#askRelay(relay, now);
    }
  }

  /**
   * A device has but one session on a session port: it may not have come because it has one there. That holds for one
   * that comes over UDP to a client on TCP as well.
   */
  #renew(now: number): void {
    if (this.#renewals === MAX_RENEWALS) return;
    if (this.#relays.some(({ isHopeful, activeSince }) => isHopeful && activeSince === undefined)) return;
    const relay = this.#relays.find(({ activeSince }) => activeSince !== undefined);
    if (relay === undefined) return;
    this.#renewals++;
    this.#relays.push(this.#newRelay(relay.endpoint, false, now));
  }

  #askRelay(relay: Relay, now: number): void {
    const { endpoint } = relay;
    if (!relay.answered) this.#signalling.toRelay(endpoint, encodeMessage({ type: 'RLY_HELLO' }));
    // Other relays know the form without UID only.
    const uid = relay.padded ? this.#options.uid : undefined;
    this.#signalling.toRelay(endpoint, encodeMessage({ type: 'RLY_PORT', uid }));
    relay.sent(now);
  }

  #reserved(relay: Relay, magic: number, port: number, now: number): boolean {
    relay.heard(now);
    if (relay.state !== 'asked' || port === 0) return false;
    relay.reserve(magic, port);
    return true;
  }

  /** Puts the next reserved relay to use, if one is wanted. */
  #activate(now: number): void {
    if (!this.#wantsAnother(now)) return;
    const relay = this.#relays.find(({ state, activeSince }) => state === 'reserved' && activeSince === undefined);
    if (relay === undefined) return;
    if (this.#options.readyFrom === 'base') this.#leave(relay.endpoint);
    relay.activate(now);
    for (const server of this.#options.servers.servers) {
      server.result = undefined;
      server.restart(now);
    }
  }

  /** Over TCP the connection is the session: a relay is not waited at for two of them. */
  #leave(base: Endpoint): void {
    for (const relay of this.#relays) {
      if (relay.activeSince !== undefined && sameEndpoint(relay.endpoint, base)) relay.drop('refused');
    }
  }

  #introduce(relay: Relay, now: number): void {
    const { reservation } = relay;
    if (reservation === undefined) return;
    const { uid } = this.#options;
    const { magic } = reservation;
    this.#signalling.toSession(reservation, encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'client' }));
    relay.introduced(now);
  }

  #askServer(server: Server, now: number): void {
    const { uid, secret } = this.#options;
    const { endpoint, padded } = server;
    // Where RLY_REQ carries the secret, the server need not have seen it before; some servers know LIST_REQ_DSK alone.
    const showsSecret = secret !== undefined && !padded;
    const wantsList = this.#options.relays === undefined && this.#wantsAnother(now);
    if (!server.listed && (wantsList || showsSecret)) {
      const request: Message =
        secret === undefined ? { type: 'LIST_REQ1', uid } : { type: 'LIST_REQ_DSK', uid, dsk: secret };
      if (!server.answered)
        this.#signalling.toServer(endpoint, encodeMessage({ type: 'HELLO' }, PaidInFullBytes.HELLO));
      this.#signalling.toServer(endpoint, encodeMessage(request, padded ? PaidInFullBytes.LIST_REQ : 0));
    }
    for (const { reservation, activeSince } of this.#relays) {
      if (reservation === undefined || activeSince === undefined) continue;
      const dsk = secret === undefined || (showsSecret && server.listed) ? {} : { dsk: secret };
      const request: Message = { type: 'RLY_REQ', uid, relay: reservation.at, magic: reservation.magic, ...dsk };
      this.#signalling.toServer(endpoint, encodeMessage(request, padded ? PaidInFullBytes.RLY_REQ : 0));
    }
    server.sent(now);
  }

  #onResult(server: Server, result: number): void {
    if (result !== ResultCode.RELAY_NOT_SERVED) {
      server.result = result;
      return;
    }
    // The message does not name the relay: the latest one is assumed, which usually is the only one.
    const relay = this.#relays.findLast(({ activeSince }) => activeSince !== undefined);
    if (relay === undefined) return;
    const refused = this.#refusedBy.get(relay) ?? new Set();
    this.#refusedBy.set(relay, refused.add(server));
    const { servers } = this.#options.servers;
    if (servers.every((each) => refused.has(each) || !each.answered)) relay.drop('refused');
  }

  #onReady(from: Endpoint): void {
    for (const { reservation } of this.#relays) {
      if (reservation === undefined) continue;
      if (!sameEndpoint(from, this.#options.readyFrom === 'session' ? reservation.at : reservation.base)) continue;
      this.#over = true;
      this.#signalling.ready(reservation);
      return;
    }
  }

  #failure(now: number): PpppError | undefined {
    const { servers, relays } = this.#options;
    const silent = servers.unreachable(now);
    if (silent !== undefined) return silent;
    const refusal = servers.refusal(now);
    if (refusal !== undefined) return refusal;
    if (this.#relays.some(({ isHopeful }) => isHopeful)) return undefined;
    const listed = relays !== undefined || servers.servers.every((each) => each.listed || servers.isLost(each, now));
    if (!listed) return undefined;
    return this.#relays.some(({ state, guessed }) => state === 'silent' && !guessed)
      ? this.#relaysSilent()
      : this.#noRelay();
  }

  #relaysSilent(): PpppError {
    const { uid } = this.#options;
    const names = this.#relays.filter(({ guessed }) => !guessed).map(({ endpoint }) => formatEndpoint(endpoint));
    return new PpppError(
      'relay-unreachable',
      `No answer from any relay (${names.join(', ')}). It is down or full, or a firewall blocks it.`,
      { target: uid },
    );
  }

  #noRelay(): PpppError {
    const { uid, secret } = this.#options;
    const why = secret === undefined ? '' : ', or the secret is wrong';
    return new PpppError(
      'no-relay',
      `The servers name no relay for ${uid}, or refuse those that were named: they have none${why}. Set one up, or name servers that have one.`,
      { target: uid },
    );
  }
}
