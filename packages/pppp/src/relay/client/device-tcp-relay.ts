import { type Clock, type Deadline, deadline, type Log, type Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { decodeMessage, encodeMessage } from '../../codec/message.ts';
import type { PpppDevice } from '../../device/pppp-device.ts';
import type { Session } from '../../session/session.ts';
import { RelayCarrier } from './relay-carrier.ts';
import { TcpCarrier, FramedConnection } from '../../tcp/framed-connection.ts';

export interface DeviceRelayComponents {
  device: PpppDevice;
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
}

export interface DeviceTcpRelayOptions {
  /** Base port of the relay. */
  base: Endpoint;
  magic: number;
  cipher: StreamCipher | undefined;
  localAddress: string | undefined;
  /** Called when everything is released. */
  onEnd(): void;
}

/** Time limit for a relay's RLY_RDY, ms. */
const LIMIT_MS = 5_000;

const HELLO: Uint8Array = encodeMessage({ type: 'RLY_HELLO' });

/** A device's connection to a relay: it introduces itself, and accepts the resulting session. */
export class DeviceTcpRelay {
  readonly #components: DeviceRelayComponents;
  readonly #cipher: StreamCipher | undefined;
  readonly #introduction: Uint8Array;
  readonly #connection: FramedConnection;
  readonly #limit: Deadline;
  readonly #onEnd: () => void;
  #joined: Session | undefined;

  constructor(components: DeviceRelayComponents, options: DeviceTcpRelayOptions) {
    const { device, clock } = components;
    const { base, magic, cipher, localAddress } = options;
    this.#components = components;
    this.#cipher = cipher;
    this.#onEnd = options.onEnd;
    this.#introduction = encodeMessage({ type: 'RLY_PKT', magic, uid: device.uid, side: 'device' });
    this.#limit = deadline(clock, LIMIT_MS);
    this.#limit.signal.addEventListener('abort', () => this.giveUp(), { once: true });
    this.#connection = new FramedConnection(components, {
      to: base,
      localAddress,
      cipher,
      onDatagram: (datagram) => this.#onDatagram(datagram),
      onLost: (error) => this.#onLost(error),
    });
    this.#connection.send(this.#introduction);
  }

  /** The session exists. */
  get isJoined(): boolean {
    return this.#joined !== undefined;
  }

  /** Ends it, unless there is a session. */
  giveUp(): void {
    if (this.isJoined) return;
    this.#limit.cancel();
    this.#connection.destroy();
    this.#onEnd();
  }

  #onDatagram(datagram: Uint8Array): void {
    const cipher = this.#cipher;
    if (this.#joined === undefined) {
      const message = decodeMessage(cipher === undefined ? datagram : cipher.decipher(datagram));
      if (message.type === 'RLY_RDY' && message.uid === this.#components.device.uid) this.#join();
      return;
    }
    this.#joined.receive(datagram, this.#connection.to);
  }

  #join(): void {
    const { device, clock } = this.#components;
    const connection = this.#connection;
    const probes = { introduce: () => connection.send(this.#introduction), hello: () => connection.send(HELLO) };
    const inner = new TcpCarrier(connection, this.#onEnd);
    const carrier = new RelayCarrier({ inner, clock }, { probes });
    const session = device.adopt(carrier, { cipher: this.#cipher, shared: false });
    if (session === undefined) {
      this.giveUp();
      return;
    }
    this.#limit.cancel();
    this.#joined = session;
    carrier.watch(session);
  }

  #onLost(error: Error): void {
    const { log } = this.#components;
    log.debug(`TCP connection to the relay ${formatEndpoint(this.#connection.to)} lost`, { error: error.message });
    this.#limit.cancel();
    if (this.#joined === undefined) this.#onEnd();
    else this.#joined.abandon('carrier-failed', false);
  }
}
