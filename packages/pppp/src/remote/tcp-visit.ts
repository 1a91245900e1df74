import type { Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { decodeMessage, encodeMessage } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import type { Session } from '../session/session.ts';
import type { DeviceRelayOptions } from './device-relay.ts';
import { LetGoCarrier } from './let-go-carrier.ts';
import { RelayCarrier } from './relay-carrier.ts';
import { TcpCarrier, TcpLine } from './tcp-line.ts';

/** How long a relay may take to let us in, in ms. */
const LIMIT_MS = 5_000;

const HELLO: Uint8Array = encodeMessage({ type: 'RLY_HELLO' });

/** A device's connection to a relay: it introduces itself there, and takes in the session that comes of it. */
export class TcpVisit {
  readonly #options: DeviceRelayOptions;
  readonly #cipher: StreamCipher | undefined;
  readonly #introduction: Uint8Array;
  readonly #line: TcpLine;
  readonly #limit: Timer;
  readonly #onEnd: () => void;
  #joined: { session: Session; carrier: RelayCarrier } | undefined;

  /** @param onEnd called when nothing of it is left */
  constructor(
    options: DeviceRelayOptions,
    base: Endpoint,
    magic: number,
    cipher: StreamCipher | undefined,
    onEnd: () => void,
  ) {
    const { device, network, clock, localAddress } = options;
    this.#options = options;
    this.#cipher = cipher;
    this.#onEnd = onEnd;
    this.#introduction = encodeMessage({ type: 'RLY_PKT', magic, uid: device.uid, side: 'device' });
    this.#limit = clock.timer(LIMIT_MS, () => this.giveUp());
    this.#line = new TcpLine({
      network,
      clock,
      to: base,
      ...(localAddress === undefined ? {} : { localAddress }),
      cipher,
      onDatagram: (datagram) => this.#onDatagram(datagram),
      onLost: (error) => this.#onLost(error),
    });
    this.#line.send(this.#introduction);
  }

  /** There is a session. */
  get isJoined(): boolean {
    return this.#joined !== undefined;
  }

  /** Ends it, unless there is a session. */
  giveUp(): void {
    if (this.isJoined) return;
    this.#limit.cancel();
    this.#line.destroy();
    this.#onEnd();
  }

  #onDatagram(datagram: Uint8Array): void {
    const cipher = this.#cipher;
    if (this.#joined === undefined) {
      const message = decodeMessage(cipher === undefined ? datagram : cipher.decipher(datagram));
      if (message.type === 'RLY_RDY' && message.uid === this.#options.device.uid) this.#join();
      return;
    }
    const { session, carrier } = this.#joined;
    const type = cipher === undefined ? datagram[1] : cipher.peek(datagram, 1);
    if (type === MessageType.RLY_RDY) carrier.onReady();
    else if (type === MessageType.RLY_HELLO_ACK) carrier.onHello();
    else session.receive(datagram, this.#line.to);
  }

  #join(): void {
    const { device, clock } = this.#options;
    const line = this.#line;
    const probes = { introduce: () => line.send(this.#introduction), hello: () => line.send(HELLO) };
    const inner = new LetGoCarrier(new TcpCarrier(line), this.#onEnd);
    const carrier = new RelayCarrier(inner, clock, probes, undefined);
    const session = device.adopt(carrier, this.#cipher);
    if (session === undefined) {
      this.giveUp();
      return;
    }
    this.#limit.cancel();
    this.#joined = { session, carrier };
    carrier.watch(session);
  }

  #onLost(error: Error): void {
    const { log } = this.#options;
    log.debug(`TCP to the relay ${formatEndpoint(this.#line.to)} is lost`, { error: error.message });
    this.#limit.cancel();
    if (this.#joined === undefined) this.#onEnd();
    else this.#joined.session.abandon('carrier-failed', false);
  }
}
