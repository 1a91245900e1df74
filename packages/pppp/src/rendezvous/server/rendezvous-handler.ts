import type { PathKind, Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, isPort } from '@towpath/net';
import { CodecError } from '../../codec/codec-error.ts';
import { ResultCode } from '../../codec/codes.ts';
import { HEADER_BYTES } from '../../codec/header.ts';
import type { Message, UnknownMessage } from '../../codec/message.ts';
import { MAX_LISTED_RELAYS } from '../../codec/relay-messages.ts';
import { ipv4ToNumber, SOCKET_ADDRESS_BYTES } from '../../codec/socket-address.ts';
import type { Admission } from '../../server/admission.ts';
import type { Journal } from '../../server/journal.ts';
import { RecentMap } from '../../server/recent-map.ts';
import { punchCandidates } from './candidates.ts';
import type { Device, DeviceRegistry } from './device-registry.ts';
import type { RendezvousCounters, RendezvousEvents, RendezvousOptions } from './options.ts';
import type { Peer } from './peer.ts';
import { sameSecret } from './secret.ts';

const RESULT_ANSWER_BYTES: number = HEADER_BYTES + 4;
const ONLINE_ANSWER_BYTES: number = HEADER_BYTES + 8;
const ADDRESS_ANSWER_BYTES: number = HEADER_BYTES + SOCKET_ADDRESS_BYTES;
const RLY_TO_BYTES: number = ADDRESS_ANSWER_BYTES + 4;
const LIST_ANSWER_BYTES: number = HEADER_BYTES + 4;

/** A secret that was shown with LIST_REQ_DSK counts so long for the requests that follow from the same address and port. */
const SHOWN_SECRET_MS = 60_000;

/** A client's request for the same device counts as a repetition for so long, and for so many clients, twice over. */
const REPETITION_MS = 15_000;
const MAX_ASKED = 4_096;

/** What a {@link RendezvousHandler} works with. */
export interface HandlerComponents {
  random: Random;
  admission: Admission;
  devices: DeviceRegistry;
  counters: RendezvousCounters;
  journal: Journal<RendezvousEvents>;
  /** The hosts that RLY_REQ may name. */
  relayHosts: ReadonlySet<string>;
}

type Request<T extends Message['type']> = Extract<Message, { type: T }>;

/** Answers each message, and notifies the other side where needed. */
export class RendezvousHandler {
  readonly #random: Random;
  readonly #options: RendezvousOptions;
  readonly #admission: Admission;
  readonly #devices: DeviceRegistry;
  readonly #counters: RendezvousCounters;
  readonly #journal: Journal<RendezvousEvents>;
  readonly #relayHosts: ReadonlySet<string>;
  /** When clients asked for devices last. */
  readonly #asked: RecentMap<string, number> = new RecentMap(MAX_ASKED);

  constructor(components: HandlerComponents, options: RendezvousOptions) {
    this.#random = components.random;
    this.#options = options;
    this.#admission = components.admission;
    this.#devices = components.devices;
    this.#counters = components.counters;
    this.#journal = components.journal;
    this.#relayHosts = components.relayHosts;
  }

  serve(message: Message | UnknownMessage, peer: Peer, now: number): void {
    switch (message.type) {
      case 'HELLO':
        this.#hello(peer, now);
        break;
      case 'DEV_LGN':
      case 'DEV_LGN_DSK':
        this.#login(message, peer, now);
        break;
      case 'DEV_LGN_CRC':
      case 'DEV_LGN_KEY':
        this.#counters.loginsUnreadable++;
        break;
      case 'DEV_ONLINE_REQ':
        this.#online(message.uid, peer, now);
        break;
      case 'P2P_REQ':
      case 'P2P_REQ_DSK':
        this.#connect(message, peer, now);
        break;
      case 'LIST_REQ':
      case 'LIST_REQ1':
      case 'LIST_REQ_DSK':
        this.#list(message, peer, now);
        break;
      case 'RLY_REQ':
        this.#relay(message, peer, now);
        break;
      case 'REPORT_SESSION_READY':
        if (message.handle >= 0) this.#counters.reportsOk++;
        else this.#counters.reportsFailed++;
        break;
      default:
        this.#counters.ignored++;
    }
  }

  #hello(peer: Peer, now: number): void {
    this.#counters.hellos++;
    if (!this.#admission.chargeOrGrant(peer.source, peer.ip, ADDRESS_ANSWER_BYTES, now)) return;
    peer.send({ type: 'HELLO_ACK', address: peer.endpoint });
  }

  #login(message: Request<'DEV_LGN' | 'DEV_LGN_DSK'>, peer: Peer, now: number): void {
    const { uid, local } = message;
    const { source } = peer;
    const secret = this.#options.deviceSecret?.(uid);
    const dsk = message.type === 'DEV_LGN_DSK' ? message.dsk : '';
    let result: number = ResultCode.OK;
    if (!this.#serves(uid)) result = ResultCode.PREFIX_NOT_SERVED;
    else if (secret !== undefined && !sameSecret(dsk, secret)) result = ResultCode.WRONG_KEY;
    if (result !== ResultCode.OK) {
      this.#counters.loginsRefused++;
      this.#journal.report('login-refused', { uid, endpoint: peer.endpoint, result });
      // The device that is online at this address would take the refusal of a forged login for its own.
      if (this.#devices.deviceAt(source, now) === undefined) this.#answerLogin(peer, result);
      return;
    }
    const proven = secret !== undefined;
    if (proven) source.verified = true;
    const before = this.#devices.find(uid, now);
    if (before?.peer.isAt(peer)) this.#keepCredit(before.peer, peer);
    const continuity = message.type === 'DEV_LGN' ? hexOf(message.continuity) : undefined;
    const regular = this.#admission.isRegular(source, now);
    const outcome = this.#devices.login({ uid, peer, local, continuity, proven, regular }, now);
    if (outcome.type === 'uid-held' || outcome.type === 'address-held') {
      this.#counters.loginsContested++;
      // A single packet may be forged: it is neither reported nor answered.
      if (outcome.type === 'uid-held' && regular) this.#onContested(outcome.device, peer);
      return;
    }
    this.#counters.logins++;
    const { endpoint, over } = peer;
    if (outcome.type === 'new') this.#journal.report('online', { uid, endpoint, over });
    if (outcome.type === 'moved') this.#journal.report('moved', { uid, endpoint, from: outcome.from.endpoint, over });
    this.#answerLogin(peer, ResultCode.OK);
  }

  #onContested({ uid, peer: { endpoint } }: Device, claimant: Peer): void {
    this.#journal.report('contested', { uid, endpoint, claimant: claimant.endpoint });
    // From the address of another device this, too, would be taken for an answer to that device's own login.
    if (claimant.source.uid === undefined) this.#answerLogin(claimant, ResultCode.UID_IN_USE);
  }

  #answerLogin(peer: Peer, result: number): void {
    this.#answer(peer, { type: 'DEV_LGN_ACK', result }, RESULT_ANSWER_BYTES);
  }

  /** The source may have been forgotten in a flood; its device keeps what it had paid for. */
  #keepCredit(before: Peer, after: Peer): void {
    if (before.source === after.source) return;
    after.source.creditBytes += before.source.creditBytes;
    before.source.creditBytes = 0;
  }

  #online(uid: string, peer: Peer, now: number): void {
    const device = this.#devices.find(uid, now);
    // There is no room for a secret: what the client gave with LIST_REQ_DSK counts.
    const result = this.#failure(uid, device, this.#mayAsk(uid, undefined, peer, now)) ?? ResultCode.OK;
    const told = device !== undefined && result === ResultCode.OK;
    const secondsSinceLogin = told ? Math.floor((now - device.lastLoginMs) / 1000) : 0;
    this.#answer(peer, { type: 'DEV_ONLINE_REQ_ACK', secondsSinceLogin, result }, ONLINE_ANSWER_BYTES);
  }

  #connect(message: Request<'P2P_REQ' | 'P2P_REQ_DSK'>, client: Peer, now: number): void {
    this.#counters.connectRequests++;
    const device = this.#admitted(message, 'P2P_REQ_ACK', client, now);
    if (device === undefined) return;
    for (const address of punchCandidates(device.peer, device.local, client)) {
      this.#answer(client, { type: 'PUNCH_TO', address }, ADDRESS_ANSWER_BYTES);
    }
    if (!this.#mayInvite(device, client, now)) return;
    for (const address of punchCandidates(client, message.local, device.peer)) {
      this.#invite(device, client, { type: 'PUNCH_TO', address }, ADDRESS_ANSWER_BYTES);
    }
  }

  #relay(message: Request<'RLY_REQ'>, client: Peer, now: number): void {
    this.#counters.relayRequests++;
    const { relay, magic } = message;
    if (relay === undefined || relay.port === 0 || !this.#relayHosts.has(relay.address)) {
      // The device would send to any address given here.
      this.#counters.foreignRelays++;
      this.#answer(client, { type: 'RLY_REQ_ACK', result: ResultCode.RELAY_NOT_SERVED }, RESULT_ANSWER_BYTES);
      return;
    }
    const device = this.#admitted(message, 'RLY_REQ_ACK', client, now);
    if (device === undefined) return;
    this.#answer(client, { type: 'RLY_TO', relay, magic }, RLY_TO_BYTES);
    if (this.#mayInvite(device, client, now)) {
      this.#invite(device, client, { type: 'RLY_TO', relay, magic }, RLY_TO_BYTES);
    }
  }

  /** Acknowledges a client's request for a device; returns the device when the request is granted. */
  #admitted(
    { uid, dsk }: { uid: string; dsk?: string },
    type: 'P2P_REQ_ACK' | 'RLY_REQ_ACK',
    client: Peer,
    now: number,
  ): Device | undefined {
    const device = this.#devices.find(uid, now);
    const failure = this.#failure(uid, device, this.#mayAsk(uid, dsk, client, now));
    if (failure === ResultCode.DEVICE_OFFLINE) this.#counters.connectsOffline++;
    else if (failure !== undefined) this.#counters.connectsRefused++;
    const result = failure ?? ResultCode.OK;
    const contested = failure === undefined && (device?.contestedUntilMs ?? 0) > now;
    this.#reportRequest(uid, client, type === 'P2P_REQ_ACK' ? 'p2p' : 'relay', result, now);
    this.#answer(client, { type, result, ...(contested ? { contested } : {}) }, RESULT_ANSWER_BYTES);
    return failure === undefined ? device : undefined;
  }

  /** Reports a client's request once, not with each of its repetitions. */
  #reportRequest(uid: string, client: Peer, pathKind: PathKind, result: number, now: number): void {
    const key = `${uid} ${formatEndpoint(client.endpoint)} ${pathKind} ${result}`;
    const before = this.#asked.get(key);
    if (before !== undefined && now - before < REPETITION_MS) return;
    this.#asked.set(key, now);
    this.#journal.report('asked', { uid, client: client.endpoint, pathKind, result });
  }

  #list(message: Request<'LIST_REQ' | 'LIST_REQ1' | 'LIST_REQ_DSK'>, peer: Peer, now: number): void {
    this.#counters.listRequests++;
    // The list has no room for a result, and is no secret: RLY_REQ gets the refusal.
    if (message.type === 'LIST_REQ_DSK') {
      const { uid, dsk } = message;
      peer.source.secret = { uid, fits: this.#secretFits(uid, dsk), atMs: now };
    }
    const relays = this.#someRelays();
    const { verified, creditBytes } = peer.source;
    const affordable = Math.floor((creditBytes - LIST_ANSWER_BYTES) / SOCKET_ADDRESS_BYTES);
    const count = verified ? relays.length : Math.max(1, Math.min(relays.length, affordable));
    const named = relays.slice(0, count);
    const bytes = LIST_ANSWER_BYTES + SOCKET_ADDRESS_BYTES * named.length;
    if (!this.#admission.chargeOrGrant(peer.source, peer.ip, bytes, now)) return;
    peer.send({ type: 'LIST_REQ_ACK', relays: named });
  }

  /** From a random start, so that clients which take the first one spread over all. */
  #someRelays(): Endpoint[] {
    const relays = this.#options.relays ?? [];
    const start = relays.length > 1 ? this.#random.integer(0, relays.length - 1) : 0;
    return [...relays.slice(start), ...relays.slice(0, start)].slice(0, MAX_LISTED_RELAYS);
  }

  /** Only clients that may connect to a device learn whether it is online. */
  #failure(uid: string, device: Device | undefined, mayAsk: boolean): number | undefined {
    if (!this.#serves(uid)) return ResultCode.PREFIX_NOT_SERVED;
    if (!mayAsk) return ResultCode.WRONG_KEY;
    return device === undefined ? ResultCode.DEVICE_OFFLINE : undefined;
  }

  #serves(uid: string): boolean {
    const { prefixes } = this.#options;
    return prefixes === undefined || prefixes.includes(uid.slice(0, uid.indexOf('-')));
  }

  /**
   * Whether a client may request a device; the same for every path kind.
   * @param dsk the secret in the request; without one, what the client has shown with LIST_REQ_DSK counts
   */
  #mayAsk(uid: string, dsk: string | undefined, { source }: Peer, now: number): boolean {
    if (dsk !== undefined && dsk !== '') return this.#secretFits(uid, dsk);
    const shown = source.secret;
    if (shown?.uid === uid && now - shown.atMs <= SHOWN_SECRET_MS) return shown.fits;
    return this.#secretFits(uid, '');
  }

  /** @param dsk empty: none was given */
  #secretFits(uid: string, dsk: string): boolean {
    const secret = this.#options.deviceSecret?.(uid);
    if (secret === undefined) return true;
    if (dsk === '') return !this.#options.clientsNeedSecret;
    return sameSecret(dsk, secret);
  }

  #mayInvite(device: Device, client: Peer, now: number): boolean {
    if (this.#devices.mayInvite(device, this.#admission.isRegular(client.source, now), now)) {
      this.#counters.invitations++;
      return true;
    }
    this.#counters.invitationsLimited++;
    return false;
  }

  /** What the device's own logins do not pay for any more, the client that wants it pays. */
  #invite(device: Device, client: Peer, message: Message, bytes: number): void {
    const payer = this.#admission.canPay(device.peer.source, bytes) ? device.peer : client;
    if (this.#admission.charge(payer.source, bytes)) device.peer.send(message);
  }

  #answer(peer: Peer, message: Message, bytes: number): void {
    if (this.#admission.charge(peer.source, bytes)) peer.send(message);
  }
}

function hexOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('hex');
}

/**
 * The addresses of the relays.
 * @throws CodecError `address-invalid` for one that is not an IPv4 endpoint
 */
export function relayHostsOf(relays: readonly Endpoint[] = []): Set<string> {
  return new Set(relays.map(relayHost));
}

function relayHost({ address, port }: Endpoint): string {
  if (ipv4ToNumber(address) !== undefined && isPort(port)) return address;
  throw new CodecError(
    'address-invalid',
    `The relay ${address}:${port} cannot be named to clients: give its public IPv4 address and its base port.`,
  );
}

export function newCounters(): RendezvousCounters {
  return {
    ignored: 0,
    hellos: 0,
    logins: 0,
    loginsRefused: 0,
    loginsContested: 0,
    loginsUnreadable: 0,
    connectRequests: 0,
    connectsOffline: 0,
    connectsRefused: 0,
    listRequests: 0,
    relayRequests: 0,
    foreignRelays: 0,
    invitations: 0,
    invitationsLimited: 0,
    reportsOk: 0,
    reportsFailed: 0,
  };
}
