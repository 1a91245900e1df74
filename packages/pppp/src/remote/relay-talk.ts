import type { Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import { ResultCode } from '../codec/codes.ts';
import { encodeMessage, type Message } from '../codec/message.ts';
import { PaidInFullBytes } from '../codec/padding.ts';
import { PpppError } from '../pppp-error.ts';
import { isPunchable } from './addresses.ts';
import { Relay, type Reservation } from './relay-choice.ts';
import type { Server, ServerPanel } from './server-panel.ts';

/** Where a Towpath relay listens: tried at every server's address at once, before the lists of relays are there. */
export const RELAY_PORT = 32_110;

/** Relays that are considered at most: two full lists (spec §5.5). */
const MAX_RELAYS = 16;

/** Relays that are asked for a session port at the same time; the first to answer serves. */
const ASKED_AT_ONCE = 3;

/** A relay over which the device has not come by then is joined by the next one, in ms: as many round trips, within bounds. */
const NEXT_RELAY_ROUND_TRIPS = 6;
const NEXT_RELAY_MS = { min: 200, max: 1500 } as const;

/** Further session ports that are asked of relays over which the device has not come, when there is no other relay. */
const MAX_RENEWALS = 3;

/** How the talk reaches servers and relays. Datagrams are in the clear. */
export interface RelayLine {
  toServer(server: Endpoint, datagram: Uint8Array): void;
  toRelay(base: Endpoint, datagram: Uint8Array): void;
  /** To a session port, or what stands for it. */
  toSession(reservation: Reservation, datagram: Uint8Array): void;
  /** The relay has joined us with the device. */
  ready(reservation: Reservation): void;
  fail(error: PpppError): void;
}

export interface RelayTalkOptions {
  uid: string;
  secret: string | undefined;
  panel: ServerPanel;
  /** Base ports; undefined: the servers are asked. */
  relays: readonly Endpoint[] | undefined;
  random: Random;
  /** Where RLY_RDY comes from: the session port over UDP, the base port over TCP. */
  readyFrom: 'session' | 'base';
}

/**
 * What a client says to servers and relays until one of these has joined it with the device (spec §6.4), over any carrier.
 * Everything that need not wait is said at once: the usual relay port is tried while the list is on its way, a session port
 * is asked for together with the first greeting, and we introduce ourselves while the device is being invited.
 */
export class RelayTalk {
  readonly #options: RelayTalkOptions;
  readonly #line: RelayLine;
  readonly #relays: Relay[] = [];
  readonly #refusedBy: Map<Relay, Set<Server>> = new Map();
  #renewals = 0;
  #over = false;

  constructor(options: RelayTalkOptions, line: RelayLine, now: number) {
    this.#options = options;
    this.#line = line;
    for (const relay of options.relays ?? []) this.#add(relay, false, now);
    if (options.relays !== undefined) return;
    for (const { endpoint } of options.panel.servers) this.#add({ ...endpoint, port: RELAY_PORT }, true, now);
  }

  /** When {@link tick} is due. */
  nextAt(now: number): number {
    const { panel } = this.#options;
    let next = panel.nextAt(now);
    for (const relay of this.#relays) {
      if (relay.state === 'asked') next = Math.min(next, relay.nextAt);
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
      this.#line.fail(failure);
      return;
    }
    this.#askRelays(now);
    this.#activate(now);
    for (const server of this.#options.panel.servers) if (server.nextAt <= now) this.#askServer(server, now);
    for (const relay of this.#relays) if (relay.introduceAt <= now) this.#introduce(relay, now);
  }

  /** Takes a message. Returns true when {@link tick} should follow at once. */
  receive(message: Message, from: Endpoint, now: number): boolean {
    if (this.#over) return false;
    const { panel } = this.#options;
    const server = panel.find(from);
    const first = server?.answered(now) ?? false;
    const relay = this.#relays.findLast(({ endpoint }) => sameEndpoint(endpoint, from));
    switch (message.type) {
      case 'LIST_REQ_ACK':
        if (server === undefined) return false;
        server.listed = true;
        for (const base of message.relays) if (isPunchable(base, server.endpoint)) this.#add(base, false, now);
        return true;
      case 'RLY_HELLO_ACK':
        return relay?.answered(now) ?? false;
      case 'RLY_PORT_ACK':
        return relay !== undefined && this.#reserved(relay, message.magic, message.port, now);
      case 'RLY_REQ_ACK':
        if (server === undefined) return false;
        this.#onResult(server, message.result);
        return true;
      case 'RLY_RDY':
        if (message.uid === this.#options.uid) this.#onReady(from);
        return false;
      default:
        return first;
    }
  }

  /** The relay cannot be reached over this carrier. */
  relayFailed(base: Endpoint): void {
    for (const relay of this.#relays) if (sameEndpoint(relay.endpoint, base)) relay.drop('silent');
  }

  /** The error when the time is over. */
  timedOut(now: number): PpppError {
    const { panel, uid } = this.#options;
    if (!panel.servers.some(({ heard }) => heard)) return panel.silence();
    const active = this.#relays.find(({ activeSince }) => activeSince !== undefined);
    if (active === undefined) return this.#failure(now) ?? this.#relaysSilent();
    return new PpppError(
      'no-answer',
      `${uid} was invited to the relay ${formatEndpoint(active.endpoint)} and did not come. Check that it is online and may send there.`,
      { target: uid },
    );
  }

  #add(base: Endpoint, guessed: boolean, now: number): void {
    const known = this.#relays.find(({ endpoint }) => sameEndpoint(endpoint, base));
    if (known !== undefined) known.guessed &&= guessed;
    else if (this.#relays.length < MAX_RELAYS)
      this.#relays.push(new Relay({ ...base }, this.#options.random, now, guessed));
  }

  #overdueAt(relay: Relay): number {
    const { panel } = this.#options;
    const slowest = Math.max(relay.rtt.smoothedMs ?? 0, ...panel.servers.map(({ rtt }) => rtt.smoothedMs ?? 0));
    const patience = Math.min(NEXT_RELAY_MS.max, Math.max(NEXT_RELAY_MS.min, NEXT_RELAY_ROUND_TRIPS * slowest));
    return (relay.activeSince ?? 0) + patience;
  }

  /** Whether one more relay is wanted: none is in use, or all that are have had their time. */
  #wantsAnother(now: number): boolean {
    return this.#relays.every((relay) => relay.activeSince === undefined || this.#overdueAt(relay) <= now);
  }

  #askRelays(now: number): void {
    for (const relay of this.#relays) {
      if (relay.isTired && relay.nextAt <= now) relay.drop('silent');
    }
    if (!this.#wantsAnother(now)) return;
    this.#renew(now);
    let room = ASKED_AT_ONCE;
    for (const relay of this.#relays) {
      if (relay.state !== 'idle' && relay.state !== 'asked') continue;
      // Guesses take no room from relays that the servers name, nor do those that seem dead.
      if (!relay.guessed && !relay.isDoubtful && room-- <= 0) continue;
      if (relay.state === 'idle') relay.restart(now);
      relay.state = 'asked';
      if (relay.nextAt <= now) this.#askRelay(relay, now);
    }
  }

  /**
   * A device has but one session on a session port: it may not have come because it has one there. That holds for one that
   * comes over UDP to a client on TCP as well.
   */
  #renew(now: number): void {
    if (this.#renewals === MAX_RENEWALS) return;
    if (this.#relays.some(({ isHopeful, activeSince }) => isHopeful && activeSince === undefined)) return;
    const relay = this.#relays.find(({ activeSince }) => activeSince !== undefined);
    if (relay === undefined) return;
    this.#renewals++;
    this.#relays.push(new Relay(relay.endpoint, this.#options.random, now, false));
  }

  #askRelay(relay: Relay, now: number): void {
    const { endpoint } = relay;
    if (!relay.heard) this.#line.toRelay(endpoint, encodeMessage({ type: 'RLY_HELLO' }));
    // The bare form is what other relays know.
    const uid = relay.padded ? this.#options.uid : undefined;
    this.#line.toRelay(endpoint, encodeMessage({ type: 'RLY_PORT', uid }));
    relay.asked(now);
  }

  #reserved(relay: Relay, magic: number, port: number, now: number): boolean {
    relay.answered(now);
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
    for (const server of this.#options.panel.servers) {
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
    this.#line.toSession(reservation, encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'client' }));
    relay.introduced(now);
  }

  #askServer(server: Server, now: number): void {
    const { uid, secret } = this.#options;
    const { endpoint, padded } = server;
    if (this.#options.relays === undefined && !server.listed && this.#wantsAnother(now)) {
      const request: Message =
        secret === undefined ? { type: 'LIST_REQ1', uid } : { type: 'LIST_REQ_DSK', uid, dsk: secret };
      if (!server.heard) this.#line.toServer(endpoint, encodeMessage({ type: 'HELLO' }, PaidInFullBytes.HELLO));
      this.#line.toServer(endpoint, encodeMessage(request, padded ? PaidInFullBytes.LIST_REQ : 0));
    }
    for (const { reservation, activeSince } of this.#relays) {
      if (reservation === undefined || activeSince === undefined) continue;
      const request: Message = { type: 'RLY_REQ', uid, relay: reservation.at, magic: reservation.magic };
      this.#line.toServer(endpoint, encodeMessage(request, padded ? PaidInFullBytes.RLY_REQ : 0));
    }
    server.asked(now);
  }

  #onResult(server: Server, result: number): void {
    if (result !== ResultCode.RELAY_NOT_SERVED) {
      server.result = result;
      return;
    }
    // Which relay is meant is not said: the youngest, which is mostly the only one.
    const relay = this.#relays.findLast(({ activeSince }) => activeSince !== undefined);
    if (relay === undefined) return;
    const refused = this.#refusedBy.get(relay) ?? new Set();
    this.#refusedBy.set(relay, refused.add(server));
    const { servers } = this.#options.panel;
    if (servers.every((each) => refused.has(each) || !each.heard)) relay.drop('refused');
  }

  #onReady(from: Endpoint): void {
    for (const { reservation } of this.#relays) {
      if (reservation === undefined) continue;
      if (!sameEndpoint(from, this.#options.readyFrom === 'session' ? reservation.at : reservation.base)) continue;
      this.#over = true;
      this.#line.ready(reservation);
      return;
    }
  }

  #failure(now: number): PpppError | undefined {
    const { panel, relays } = this.#options;
    const silent = panel.unreachable(now);
    if (silent !== undefined) return silent;
    const refusal = panel.refusal(now);
    if (refusal !== undefined) return refusal;
    if (this.#relays.some(({ isHopeful }) => isHopeful)) return undefined;
    const listed = relays !== undefined || panel.servers.every((each) => each.listed || panel.isSilent(each, now));
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
      `No answer from any relay (${names.join(', ')}). It may be down or full, or a firewall keeps this host from it.`,
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
