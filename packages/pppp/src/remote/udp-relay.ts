import type { Clock } from '@towpath/core';
import { type Endpoint, sameEndpoint, type UdpSocket } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { type AttemptPlan, type Detour, UdpAttempt } from '../client/udp-attempt.ts';
import { decodeMessage, encodeMessage, type Message } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import type { PpppError } from '../pppp-error.ts';
import type { SessionCarrier } from '../session/carrier.ts';
import type { PpppSession } from '../session-types.ts';
import { RelayCarrier } from './relay-carrier.ts';
import type { RelayAttemptOptions } from './relay-options.ts';
import type { Reservation } from './relay-choice.ts';
import { type RelayLine, RelayTalk } from './relay-talk.ts';
import { ServerPanel } from './server-panel.ts';

/** One attempt to reach a device over a relay by UDP, on a socket of its own. */
export class UdpRelayAttempt implements AttemptPlan, RelayLine {
  readonly uid: string;
  readonly target: string;
  readonly family = 4;
  readonly ciphers: readonly (StreamCipher | undefined)[];
  readonly broadcast = false;
  readonly failEarly = false;
  readonly advice = '';
  readonly #options: RelayAttemptOptions;
  readonly #attempt: UdpAttempt;
  readonly #talk: RelayTalk;

  constructor(options: RelayAttemptOptions) {
    const { uid, clock, random, servers, relays, secret, serverPatienceMs } = options;
    this.uid = uid;
    this.target = `${uid} over a relay`;
    this.ciphers = [options.cipher];
    this.#options = options;
    const now = clock.now();
    const panel = new ServerPanel(uid, servers, random, now, serverPatienceMs);
    this.#talk = new RelayTalk({ uid, secret, panel, relays, random, readyFrom: 'session' }, this, now);
    this.#attempt = new UdpAttempt({ ...options, mode: 'relay' }, this);
  }

  run(): Promise<PpppSession> {
    return this.#attempt.run();
  }

  knock(): void {
    this.#talk.tick(this.#options.clock.now());
  }

  pauseMs(): number {
    const now = this.#options.clock.now();
    return Math.max(1, this.#talk.nextAt(now) - now);
  }

  trusts(): boolean {
    return true;
  }

  onMessage(message: Message, from: Endpoint): void {
    this.#options.onHeard?.();
    if (this.#talk.receive(message, from, this.#options.clock.now())) this.#attempt.hurry();
  }

  timedOut(): PpppError {
    return this.#talk.timedOut(this.#options.clock.now());
  }

  toServer(server: Endpoint, datagram: Uint8Array): void {
    this.#attempt.send(datagram, server, this.#options.cipher);
  }

  toRelay(base: Endpoint, datagram: Uint8Array): void {
    this.#attempt.send(datagram, base, this.#options.cipher);
  }

  toSession({ at }: Reservation, datagram: Uint8Array): void {
    this.#attempt.approach(datagram, at, this.#options.cipher);
  }

  fail(error: PpppError): void {
    this.#attempt.fail(error);
  }

  ready(reservation: Reservation): void {
    const { clock, cipher } = this.#options;
    const { uid } = this;
    let carrier: RelayCarrier | undefined;
    const session = this.#attempt.succeed(uid, reservation.at, cipher, (own, socket) => {
      const made = overRelay({ uid, clock, cipher, reservation }, own, socket);
      carrier = made.carrier;
      return made;
    });
    carrier?.watch(session);
  }
}

interface Route {
  readonly uid: string;
  readonly clock: Clock;
  readonly cipher: StreamCipher | undefined;
  readonly reservation: Reservation;
}

/** What stays of the attempt: the session's way over the relay. */
function overRelay(route: Route, own: SessionCarrier, socket: UdpSocket): Detour & { carrier: RelayCarrier } {
  const { uid, clock, cipher, reservation } = route;
  const { base, at, magic, rttMs } = reservation;
  const inCipher = (clear: Uint8Array) => (cipher === undefined ? clear : cipher.encipher(clear));
  const introduction = inCipher(encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'client' }));
  const hello = inCipher(encodeMessage({ type: 'RLY_HELLO' }));
  const probes = { introduce: () => socket.send(introduction, at), hello: () => socket.send(hello, base) };
  const carrier = new RelayCarrier(own, clock, probes, rttMs);
  return {
    carrier,
    intercepts(data, from) {
      if (sameEndpoint(from, at)) {
        // Before the decoder, which would cost every packet of the session.
        if ((cipher === undefined ? data[1] : cipher.peek(data, 1)) !== MessageType.RLY_RDY) return false;
        carrier.onReady();
        return true;
      }
      if (!sameEndpoint(from, base)) return false;
      const message = decodeMessage(cipher === undefined ? data : cipher.decipher(data));
      if (message.type === 'RLY_HELLO_ACK') carrier.onHello();
      return true;
    },
  };
}
