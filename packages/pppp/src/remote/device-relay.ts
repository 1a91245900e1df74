import { backoff, type Clock, errorMessage, isAbort, type Log, type Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { encodeMessage } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import type { PpppDevice } from '../device/pppp-device.ts';
import type { SessionCarrier } from '../session/carrier.ts';
import type { Session } from '../session/session.ts';
import { LetGoCarrier } from './let-go-carrier.ts';
import { RelayCarrier } from './relay-carrier.ts';
import { TcpVisit } from './tcp-visit.ts';

/** Invitations that are being followed at a time. */
const MAX_INVITATIONS = 32;

/** RLY_PKT: four in quick succession, then one every 100 ms, for three seconds in all (spec §6.4). */
const INTRODUCTIONS = { baseMs: 20, factor: 1.5, maxMs: 100, count: 33 } as const;

/** By then every RLY_RDY that answers an introduction has come, in ms. */
const ANSWERED_AFTER_MS = 1_000;

export interface DeviceRelayOptions {
  device: PpppDevice;
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  localAddress: string | undefined;
}

interface Invitation {
  readonly id: string;
  /** The relay's session port. */
  readonly key: string;
  readonly magic: number;
  readonly cipher: StreamCipher | undefined;
  readonly introduction: Uint8Array;
  /** Ends what is done for it. */
  readonly abort: AbortController;
}

/** A device's end of relays: it goes where it is invited to, and takes in the sessions that come of it. */
export class DeviceRelay {
  readonly #options: DeviceRelayOptions;
  /** By session port and magic: several invitations to one session are one. */
  readonly #invitations: Map<string, Invitation> = new Map();
  /** Sessions over UDP, by session port. */
  readonly #sessions: Map<string, { magics: readonly number[]; session: Session }> = new Map();
  /** Connections to relays, by magic. */
  readonly #visits: Map<number, TcpVisit> = new Map();

  constructor(options: DeviceRelayOptions) {
    this.#options = options;
  }

  /** Follows an invitation by UDP, from the listen socket. */
  invite(relay: Endpoint, magic: number, cipher: StreamCipher | undefined): void {
    const key = formatEndpoint(relay);
    const id = `${key} ${magic}`;
    if (this.#invitations.has(id) || this.#sessions.get(key)?.magics.includes(magic)) return;
    if (this.#invitations.size >= MAX_INVITATIONS) return;
    const { uid } = this.#options.device;
    const clear = encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'device' });
    const introduction = cipher === undefined ? clear : cipher.encipher(clear);
    const invitation = { id, key, magic, cipher, introduction, abort: new AbortController() };
    this.#invitations.set(id, invitation);
    void this.#introduce({ ...relay }, invitation);
  }

  /** Follows an invitation by TCP, to a base port of the relay. */
  inviteOverTcp(base: Endpoint, magic: number, cipher: StreamCipher | undefined): void {
    const waiting = [...this.#visits.values()].filter(({ isJoined }) => !isJoined);
    if (this.#visits.has(magic) || waiting.length >= MAX_INVITATIONS) return;
    const visit = new TcpVisit(this.#options, base, magic, cipher, () => this.#visits.delete(magic));
    this.#visits.set(magic, visit);
  }

  /** The relay at `from` has joined us with a client. */
  onReady(from: Endpoint): void {
    const key = formatEndpoint(from);
    // It does not say which: of several on one port, it serves one.
    const invitations = [...this.#invitations.values()].filter((invitation) => invitation.key === key);
    if (invitations.length === 0) return;
    for (const { id, abort } of invitations) {
      abort.abort();
      this.#invitations.delete(id);
    }
    // The relay has ended the session before on this port, or it would not have let us in again.
    this.#sessions.get(key)?.session.abandon('closed-by-peer', false);
    this.#open(key, { ...from }, invitations);
  }

  /** Ends invitations and the connections that have no session. Sessions belong to the device. */
  close(): void {
    for (const { abort } of this.#invitations.values()) abort.abort();
    this.#invitations.clear();
    for (const visit of this.#visits.values()) visit.giveUp();
  }

  #isInvitedTo(key: string): boolean {
    for (const invitation of this.#invitations.values()) if (invitation.key === key) return true;
    return false;
  }

  async #introduce(relay: Endpoint, { id, key, introduction, abort }: Invitation): Promise<void> {
    const { device, clock, random, log } = this.#options;
    try {
      for (const pauseMs of backoff({ ...INTRODUCTIONS, random })) {
        device.sendDatagram(introduction, relay);
        await clock.sleep(pauseMs, abort.signal);
      }
      this.#invitations.delete(id);
      log.debug(`the relay ${key} has not let us in`);
    } catch (error) {
      if (!isAbort(error)) log.warn('an invitation to a relay failed', { error: errorMessage(error) });
    }
  }

  #open(key: string, relay: Endpoint, invitations: readonly Invitation[]): void {
    const cipher = invitations.at(-1)?.cipher;
    const magics = invitations.map(({ magic }) => magic);
    const { device, clock } = this.#options;
    const inner: SessionCarrier = {
      mode: 'relay',
      local: device.listen,
      peer: relay,
      send: (datagram) => device.sendDatagram(datagram, relay),
      close: () => Promise.resolve(),
    };
    const probes = {
      introduce() {
        for (const { introduction } of invitations) device.sendDatagram(introduction, relay);
      },
    };
    const done = () => {
      if (this.#sessions.get(key)?.magics === magics) this.#sessions.delete(key);
    };
    const carrier = new RelayCarrier(new LetGoCarrier(inner, done), clock, probes, undefined);
    const openedAt = clock.now();
    const session = device.adopt(carrier, cipher, (type) => {
      if (type !== MessageType.RLY_RDY) return false;
      // Without a question, and when the answers to the introductions must have come, it is about another session.
      const isOld = clock.now() - openedAt > ANSWERED_AFTER_MS;
      if (isOld && !carrier.isAsking && this.#isInvitedTo(key)) this.onReady(relay);
      else carrier.onReady();
      return true;
    });
    if (session === undefined) {
      // No room: the client need not wait for what will not come.
      device.send({ type: 'CLOSE' }, relay, cipher);
      return;
    }
    this.#sessions.set(key, { magics, session });
    carrier.watch(session);
  }
}
