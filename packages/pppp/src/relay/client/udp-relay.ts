import type { Clock } from '@towpath/core';
import { type Endpoint, sameEndpoint, type UdpSocket } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { type AttemptPlan, type PacketFilter, UdpAttempt } from '../../client/udp-attempt.ts';
import { decodeMessage, encodeMessage, type Message } from '../../codec/message.ts';
import type { PpppError } from '../../pppp-error.ts';
import type { SessionCarrier } from '../../session/carrier.ts';
import type { PpppSession } from '../../session-types.ts';
import { RelayCarrier } from './relay-carrier.ts';
import type { RelayAttemptOptions } from './relay-options.ts';
import type { Reservation } from './relay-choice.ts';
import { type RelaySignalling, RelayNegotiation } from './relay-negotiation.ts';
import { ContestedNotice } from '../../rendezvous/client/contested-notice.ts';
import type { RemoteComponents } from '../../rendezvous/client/options.ts';
import { RendezvousServers } from '../../rendezvous/client/rendezvous-servers.ts';

/** One attempt to reach a device over a relay by UDP, on its own socket. */
export class UdpRelayAttempt implements AttemptPlan, RelaySignalling {
  readonly uid: string;
  readonly target: string;
  readonly family = 4;
  readonly ciphers: readonly (StreamCipher | undefined)[];
  readonly broadcast = false;
  readonly failEarly = false;
  readonly advice = '';
  readonly #clock: Clock;
  readonly #options: RelayAttemptOptions;
  readonly #attempt: UdpAttempt;
  readonly #servers: RendezvousServers;
  readonly #negotiation: RelayNegotiation;
  readonly #contested: ContestedNotice;

  constructor(components: RemoteComponents, options: RelayAttemptOptions) {
    const { clock, random, log } = components;
    const { uid, servers: addresses, relays, secret, serverLimitMs, onContested } = options;
    this.#clock = clock;
    this.uid = uid;
    this.target = `${uid} over a relay`;
    this.ciphers = [options.cipher];
    this.#options = options;
    this.#contested = new ContestedNotice({ log }, { uid, onContested });
    const servers = new RendezvousServers({ clock, random }, { uid, endpoints: addresses, patienceMs: serverLimitMs });
    this.#servers = servers;
    this.#negotiation = new RelayNegotiation(
      { clock, random, signalling: this },
      { uid, secret, servers, relays, readyFrom: 'session' },
    );
    this.#attempt = new UdpAttempt({ ...components, plan: this }, { ...options, pathKind: 'relay' });
  }

  run(): Promise<PpppSession> {
    return this.#attempt.run();
  }

  sendProbes(): void {
    this.#negotiation.tick(this.#clock.now());
  }

  pauseMs(): number {
    const now = this.#clock.now();
    return Math.max(1, this.#negotiation.nextAt(now) - now);
  }

  get servers(): RendezvousServers {
    return this.#servers;
  }

  trusts(): boolean {
    return true;
  }

  onMessage(message: Message, from: Endpoint): void {
    this.#options.onHeard?.();
    if (this.#negotiation.receive(message, from, this.#clock.now())) this.#attempt.wake();
  }

  onForeign(from: Endpoint): void {
    if (this.#negotiation.receiveForeign(from)) this.#attempt.wake();
  }

  timedOut(): PpppError {
    return this.#negotiation.timedOut(this.#clock.now());
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

  contested(server: Endpoint): void {
    this.#contested.tell(server);
  }

  fail(error: PpppError): void {
    this.#attempt.fail(error);
  }

  ready(reservation: Reservation): void {
    const { cipher } = this.#options;
    const { uid } = this;
    let carrier: RelayCarrier | undefined;
    const session = this.#attempt.succeed(uid, reservation.at, cipher, (own, socket) => {
      const made = overRelay({ uid, clock: this.#clock, cipher, reservation }, own, socket);
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

/** Remainder of the attempt: the session's path over the relay. */
function overRelay(route: Route, own: SessionCarrier, socket: UdpSocket): PacketFilter & { carrier: RelayCarrier } {
  const { uid, clock, cipher, reservation } = route;
  const { base, at, magic, rttMs } = reservation;
  const inCipher = (clear: Uint8Array) => (cipher === undefined ? clear : cipher.encipher(clear));
  const introduction = inCipher(encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'client' }));
  const hello = inCipher(encodeMessage({ type: 'RLY_HELLO' }));
  const probes = { introduce: () => socket.send(introduction, at), hello: () => socket.send(hello, base) };
  const carrier = new RelayCarrier({ inner: own, clock }, { probes, rttMs });
  return {
    carrier,
    intercepts(data, from) {
      if (sameEndpoint(from, at) || !sameEndpoint(from, base)) return false;
      const message = decodeMessage(cipher === undefined ? data : cipher.decipher(data));
      if (message.type === 'RLY_HELLO_ACK') carrier.onHello();
      return true;
    },
  };
}
