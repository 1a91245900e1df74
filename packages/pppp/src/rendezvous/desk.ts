import type { Random } from '@towpath/core';
import { type Endpoint, isPort } from '@towpath/net';
import { CodecError } from '../codec/codec-error.ts';
import { ResultCode } from '../codec/codes.ts';
import { HEADER_BYTES } from '../codec/header.ts';
import type { Message, UnknownMessage } from '../codec/message.ts';
import { MAX_LISTED_RELAYS } from '../codec/relay-messages.ts';
import { ipv4ToNumber, SOCKET_ADDRESS_BYTES } from '../codec/socket-address.ts';
import type { Admission } from '../server/admission.ts';
import { punchCandidates } from './candidates.ts';
import type { Device, DeviceRegistry } from './device-registry.ts';
import type { RendezvousCounters, RendezvousOptions } from './options.ts';
import type { Peer } from './peer.ts';
import { sameSecret } from './secret.ts';

const RESULT_ANSWER_BYTES: number = HEADER_BYTES + 4;
const ONLINE_ANSWER_BYTES: number = HEADER_BYTES + 8;
const ADDRESS_ANSWER_BYTES: number = HEADER_BYTES + SOCKET_ADDRESS_BYTES;
const RLY_TO_BYTES: number = ADDRESS_ANSWER_BYTES + 4;
const LIST_ANSWER_BYTES: number = HEADER_BYTES + 4;

type Request<T extends Message['type']> = Extract<Message, { type: T }>;

/** Decides what each message is answered with, and who else is told. */
export class RendezvousDesk {
  readonly #random: Random;
  readonly #options: RendezvousOptions;
  readonly #admission: Admission;
  readonly #devices: DeviceRegistry;
  readonly #counters: RendezvousCounters;
  readonly #relayHosts: ReadonlySet<string>;

  constructor(
    random: Random,
    options: RendezvousOptions,
    admission: Admission,
    devices: DeviceRegistry,
    counters: RendezvousCounters,
  ) {
    this.#random = random;
    this.#options = options;
    this.#admission = admission;
    this.#devices = devices;
    this.#counters = counters;
    this.#relayHosts = new Set(options.relays?.map(relayHost));
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
    const secret = this.#options.deviceSecret?.(uid);
    const dsk = message.type === 'DEV_LGN_DSK' ? message.dsk : '';
    let result: number = ResultCode.OK;
    if (!this.#serves(uid)) result = ResultCode.PREFIX_NOT_SERVED;
    else if (secret !== undefined && !sameSecret(dsk, secret)) result = ResultCode.WRONG_KEY;
    if (result === ResultCode.OK) {
      if (secret !== undefined) peer.source.verified = true;
      const before = this.#devices.find(uid, now);
      if (before?.peer.isAt(peer)) this.#keepCredit(before.peer, peer);
      const mayTakeOver = this.#admission.isRegular(peer.source, now);
      if (this.#devices.login(uid, peer, { local, mayTakeOver }, now) === undefined) {
        this.#counters.loginsContested++;
        return;
      }
      this.#counters.logins++;
    } else {
      this.#counters.loginsRefused++;
    }
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
    const result = this.#failure(uid, device) ?? ResultCode.OK;
    const secondsSinceLogin = device === undefined ? 0 : Math.floor((now - device.lastLoginMs) / 1000);
    this.#answer(peer, { type: 'DEV_ONLINE_REQ_ACK', secondsSinceLogin, result }, ONLINE_ANSWER_BYTES);
  }

  #connect(message: Request<'P2P_REQ' | 'P2P_REQ_DSK'>, client: Peer, now: number): void {
    this.#counters.connectRequests++;
    const device = this.#admitted(message.uid, 'dsk' in message ? message.dsk : '', client, 'P2P_REQ_ACK', now);
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
      // The device would send to whatever address stands here.
      this.#counters.foreignRelays++;
      this.#answer(client, { type: 'RLY_REQ_ACK', result: ResultCode.RELAY_NOT_SERVED }, RESULT_ANSWER_BYTES);
      return;
    }
    const device = this.#admitted(message.uid, '', client, 'RLY_REQ_ACK', now);
    if (device === undefined) return;
    this.#answer(client, { type: 'RLY_TO', relay, magic }, RLY_TO_BYTES);
    if (this.#mayInvite(device, client, now)) {
      this.#invite(device, client, { type: 'RLY_TO', relay, magic }, RLY_TO_BYTES);
    }
  }

  /** Acknowledges a client's request for a device; returns the device when it may go on. */
  #admitted(
    uid: string,
    dsk: string,
    client: Peer,
    type: 'P2P_REQ_ACK' | 'RLY_REQ_ACK',
    now: number,
  ): Device | undefined {
    const device = this.#devices.find(uid, now);
    let failure = this.#failure(uid, device);
    // RLY_REQ has no room for a secret: what the client gave with LIST_REQ_DSK counts.
    const fits = type === 'P2P_REQ_ACK' ? this.#clientSecretFits(uid, dsk) : client.source.refusedUid !== uid;
    if (failure === undefined && !fits) failure = ResultCode.WRONG_KEY;
    if (failure === ResultCode.DEVICE_OFFLINE) this.#counters.connectsOffline++;
    else if (failure !== undefined) this.#counters.connectsRefused++;
    this.#answer(client, { type, result: failure ?? ResultCode.OK }, RESULT_ANSWER_BYTES);
    return failure === undefined ? device : undefined;
  }

  #list(message: Request<'LIST_REQ' | 'LIST_REQ1' | 'LIST_REQ_DSK'>, peer: Peer, now: number): void {
    this.#counters.listRequests++;
    // The list has no room for a result, and is no secret: RLY_REQ gets the refusal.
    if (message.type === 'LIST_REQ_DSK') {
      peer.source.refusedUid = this.#clientSecretFits(message.uid, message.dsk) ? undefined : message.uid;
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

  #failure(uid: string, device: Device | undefined): number | undefined {
    if (!this.#serves(uid)) return ResultCode.PREFIX_NOT_SERVED;
    return device === undefined ? ResultCode.DEVICE_OFFLINE : undefined;
  }

  #serves(uid: string): boolean {
    const { prefixes } = this.#options;
    return prefixes === undefined || prefixes.includes(uid.slice(0, uid.indexOf('-')));
  }

  #clientSecretFits(uid: string, dsk: string): boolean {
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

function relayHost({ address, port }: Endpoint): string {
  if (ipv4ToNumber(address) !== undefined && isPort(port)) return address;
  throw new CodecError(
    'address-invalid',
    `The relay ${address}:${port} cannot be named to clients: give its public IPv4 address and its base port.`,
  );
}

export function newCounters(): RendezvousCounters {
  return {
    datagrams: 0,
    malformed: 0,
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
    socketErrors: 0,
  };
}
