import { backoff, errorCode, errorMessage, isAbort, retransmit } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { encodeMessage } from '../../codec/message.ts';
import type { Session } from '../../session/session.ts';
import { RelayCarrier } from './relay-carrier.ts';
import { type DeviceRelayComponents, DeviceTcpRelay } from './device-tcp-relay.ts';

/** Most invitations that are followed at the same time. */
const MAX_INVITATIONS = 32;

/**
 * RLY_PKT: four in quick succession, then one every 100 ms, for three seconds in all (docs/protocol/pppp.md,
 * "Connecting through a relay").
 */
const INTRODUCTIONS = { baseMs: 20, factor: 1.5, maxMs: 100, count: 33 } as const;

/** By then every RLY_RDY that answers an introduction has come, in ms. */
const ANSWERED_AFTER_MS = 1_000;

interface Invitation {
  readonly id: string;
  /** The relay's session port. */
  readonly key: string;
  readonly magic: number;
  readonly cipher: StreamCipher | undefined;
  readonly introduction: Uint8Array;
  /** Ends the invitation. */
  readonly abort: AbortController;
}

export interface DeviceRelayOptions {
  /** Local address to connect from over TCP. */
  localAddress: string | undefined;
}

/** The device's end of relays: follows invitations and accepts the resulting sessions. */
export class DeviceRelay {
  readonly #components: DeviceRelayComponents;
  readonly #options: DeviceRelayOptions;
  /** By session port and magic: several invitations to one session are one. */
  readonly #invitations: Map<string, Invitation> = new Map();
  /** Sessions over UDP, by session port. */
  readonly #sessions: Map<string, { magics: readonly number[]; session: Session }> = new Map();
  /** Connections to relays, by magic. */
  readonly #visits: Map<number, DeviceTcpRelay> = new Map();

  constructor(components: DeviceRelayComponents, options: DeviceRelayOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Follows an invitation by UDP, from the listen socket. */
  invite(relay: Endpoint, magic: number, cipher: StreamCipher | undefined): void {
    const key = formatEndpoint(relay);
    const id = `${key} ${magic}`;
    if (this.#invitations.has(id) || this.#sessions.get(key)?.magics.includes(magic)) return;
    if (this.#invitations.size >= MAX_INVITATIONS) return;
    const { uid } = this.#components.device;
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
    const visit = new DeviceTcpRelay(this.#components, {
      base,
      magic,
      cipher,
      localAddress: this.#options.localAddress,
      onEnd: () => this.#visits.delete(magic),
    });
    this.#visits.set(magic, visit);
  }

  /** The relay at `from` has connected this device with a client. */
  onReady(from: Endpoint): void {
    const key = formatEndpoint(from);
    // The message does not name the session; of several on one port the relay serves one.
    const invitations = [...this.#invitations.values()].filter((invitation) => invitation.key === key);
    if (invitations.length === 0) return;
    for (const { id, abort } of invitations) {
      abort.abort();
      this.#invitations.delete(id);
    }
    // The relay has ended the previous session on this port, otherwise it would not have accepted this one.
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
    const { device, clock, random, log } = this.#components;
    try {
      await retransmit({
        clock,
        schedule: backoff({ ...INTRODUCTIONS, random }),
        send: () => device.sendDatagram(introduction, relay),
        // RLY_RDY, or the end of the registration, aborts it.
        answer: new Promise<never>(() => {}),
        signal: abort.signal,
      });
    } catch (error) {
      if (errorCode(error) === 'timed-out') {
        this.#invitations.delete(id);
        log.debug(`Relay ${key} did not accept the introduction`);
      } else if (!isAbort(error)) log.warn('Invitation to a relay failed', { error: errorMessage(error) });
    }
  }

  #open(key: string, relay: Endpoint, invitations: readonly Invitation[]): void {
    const cipher = invitations.at(-1)?.cipher;
    const magics = invitations.map(({ magic }) => magic);
    const { device, clock } = this.#components;
    const probes = {
      introduce() {
        for (const { introduction } of invitations) device.sendDatagram(introduction, relay);
      },
    };
    const done = () => {
      if (this.#sessions.get(key)?.magics === magics) this.#sessions.delete(key);
    };
    const openedAt = clock.now();
    const carrier = new RelayCarrier(
      { inner: device.share(relay, 'relay', done), clock },
      {
        probes,
        onUnasked: () => {
          // When the answers to the introductions must have come, it is about another session.
          const isOther = clock.now() - openedAt > ANSWERED_AFTER_MS && this.#isInvitedTo(key);
          if (isOther) this.onReady(relay);
          return isOther;
        },
      },
    );
    const session = device.adopt(carrier, { cipher, shared: true });
    if (session === undefined) {
      // Session limit reached: the client need not wait.
      device.send({ type: 'CLOSE' }, relay, cipher);
      return;
    }
    this.#sessions.set(key, { magics, session });
    carrier.watch(session);
  }
}
