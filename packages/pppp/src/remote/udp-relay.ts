import { type Endpoint, sameEndpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { type AttemptPlan, UdpAttempt } from '../client/udp-attempt.ts';
import { decodeMessage, encodeMessage, type Message } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import type { PpppError } from '../pppp-error.ts';
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
  #joined: { base: Endpoint; at: Endpoint; carrier: RelayCarrier } | undefined;

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

  intercepts(data: Uint8Array, from: Endpoint): boolean {
    if (this.#joined === undefined) return false;
    const { base, at, carrier } = this.#joined;
    const { cipher } = this.#options;
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

  ready({ base, at, magic, rttMs }: Reservation): void {
    const { clock, cipher } = this.#options;
    const introduction = encodeMessage({ type: 'RLY_PKT', magic, uid: this.uid, side: 'client' });
    const hello = encodeMessage({ type: 'RLY_HELLO' });
    const session = this.#attempt.succeed(this.uid, at, cipher, (own) => {
      const probes = {
        introduce: () => this.#attempt.send(introduction, at, cipher),
        hello: () => this.#attempt.send(hello, base, cipher),
      };
      const carrier = new RelayCarrier(own, clock, probes, rttMs);
      this.#joined = { base, at, carrier };
      return carrier;
    });
    this.#joined?.carrier.watch(session);
  }
}
