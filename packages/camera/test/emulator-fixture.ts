import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint, Network, UdpSocket } from '@towpath/net';
import { type SimulatedHost, SimulatedInternet } from '@towpath/net/simulated';
import type { StreamCipher } from '@towpath/pppp';
import { decodeMessage, encodeMessage, type Message } from '@towpath/pppp/codec';
import { encodeRequestText } from '../src/artemis/cipher.ts';
import { encodeFrame, MessageType } from '../src/artemis/frame.ts';
import { CameraClient } from '../src/client/camera-client.ts';
import { RaceConnector, type RaceConnectorOptions } from '../src/connect/race-connector.ts';
import { CameraEmulator } from '../src/emulator/camera-emulator.ts';
import type { CameraEmulatorOptions } from '../src/emulator/emulator-options.ts';
import { paddedPictures } from '../src/emulator/media/picture-source.ts';
import { SharedPortNetwork } from '../src/emulator/network/shared-port-network.ts';
import { LOGIN } from './emulator-session-support.ts';

export const CAMERA_ADDRESS = '192.168.43.1';
export const LISTEN: Endpoint = { address: CAMERA_ADDRESS, port: 40611 };
export const UID = 'LBCS-000000-CCCJJ';

/** Keeps the pictures of all tests of a file, so that each is made once. */
const pictures = paddedPictures({ photoBytes: 60_000, thumbnailBytes: 20_000 });

/** A camera's hotspot on a virtual clock: one host for cameras, any number for clients. */
export class Hotspot {
  readonly clock: VirtualClock = new VirtualClock();
  readonly random: SeededRandom = new SeededRandom(1);
  readonly internet: SimulatedInternet = new SimulatedInternet({ clock: this.clock, random: this.random });
  readonly #lan = this.internet.lan({ subnet: '192.168.43.0/24' });
  readonly #cameraHost: SimulatedHost = this.#lan.host({ address: CAMERA_ADDRESS });
  readonly #shared = new SharedPortNetwork(this.#cameraHost.network, 32108);
  readonly #open: AsyncDisposable[] = [];

  /** A camera that has started. Cameras share the host and the search port. */
  async camera(init: CameraEmulatorOptions = {}): Promise<CameraEmulator> {
    const { clock, random } = this;
    const camera = new CameraEmulator({ network: this.#shared, clock, random }, { pictures, ...init });
    await camera.start();
    this.#open.push(camera);
    return camera;
  }

  /** Another host of the hotspot. */
  network(): Network {
    return this.#lan.host().network;
  }

  /** The camera's own host, for whoever wants to take its ports away. */
  get cameraNetwork(): Network {
    return this.#cameraHost.network;
  }

  /** A client that has not connected yet. */
  client(options: Partial<RaceConnectorOptions> = {}): CameraClient {
    const { clock, random } = this;
    const connector = new RaceConnector(
      { network: this.network(), clock, random },
      { target: CAMERA_ADDRESS, ...options },
    );
    const client = new CameraClient({ connector, clock, random });
    this.#open.push(client);
    return client;
  }

  /** A client that has logged in. */
  async connected(options: Partial<RaceConnectorOptions> = {}): Promise<CameraClient> {
    const client = this.client(options);
    await this.run(client.connectWithRetries());
    return client;
  }

  /** A client that speaks datagrams, with habits of its own. */
  async raw(network: Network = this.network(), port = 0): Promise<RawClient> {
    const raw = await RawClient.open(this, network, port);
    this.#open.push(raw);
    return raw;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.runUntil(promise);
  }

  /** Closes everything and returns what is still open or waiting afterwards. */
  async end(): Promise<{ sockets: number; timers: number }> {
    for (const open of this.#open.reverse()) await this.run(Promise.resolve(open[Symbol.asyncDispose]()));
    await this.clock.advance(100);
    return { sockets: this.internet.openSockets, timers: this.clock.pendingTimers };
  }
}

/** A socket with a foreign client's freedom: it sends what it likes and keeps what it hears. */
export class RawClient implements AsyncDisposable {
  readonly #hotspot: Hotspot;
  readonly heard: { message: ReturnType<typeof decodeMessage>; from: Endpoint; bytes: number }[] = [];
  /** Enciphers what it sends and deciphers what it hears. */
  cipher: StreamCipher | undefined;
  /** Acknowledges every DRW that it hears. */
  acknowledges = true;
  /** Which indices it acknowledges on a DRW, of those of its channel that it has heard so far. None: it says nothing. */
  ackHabit: (heard: readonly number[]) => readonly number[] = (heard) => heard.slice(-1);
  /** Answers every ALIVE. */
  alive = true;
  #socket!: UdpSocket;
  #nextIndex = 0;

  private constructor(hotspot: Hotspot) {
    this.#hotspot = hotspot;
  }

  static async open(hotspot: Hotspot, network: Network, port: number): Promise<RawClient> {
    const raw = new RawClient(hotspot);
    raw.#socket = await network.bindUdp({ port, broadcast: true, onMessage: (data, from) => raw.#hear(data, from) });
    return raw;
  }

  get local(): Endpoint {
    return this.#socket.local;
  }

  send(message: Message, to: Endpoint = LISTEN): void {
    this.sendBytes(encodeMessage(message), to);
  }

  sendBytes(clear: Uint8Array, to: Endpoint = LISTEN): void {
    this.#socket.send(this.cipher === undefined ? clear : this.cipher.encipher(clear), to);
  }

  /** Sends one command as the next DRW of channel 0. */
  request(fields: object, seq = 1): void {
    const data = encodeFrame(MessageType.request, seq, encodeRequestText(JSON.stringify(fields)));
    this.send({ type: 'DRW', channel: 0, index: this.#nextIndex++, data });
  }

  /** Punches, is heard, and logs in. */
  async login(): Promise<void> {
    this.send({ type: 'PUNCH_PKT', uid: UID });
    await this.#hotspot.clock.advance(30);
    this.request(LOGIN);
    await this.#hotspot.clock.advance(100);
  }

  /** What was heard of a type. */
  of<Name extends Message['type']>(type: Name): Extract<Message, { type: Name }>[] {
    return this.heard.flatMap(({ message }) =>
      message.type === type ? [message as Extract<Message, { type: Name }>] : [],
    );
  }

  close(): Promise<void> {
    return this.#socket.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #hear(data: Uint8Array, from: Endpoint): void {
    const message = decodeMessage(this.cipher === undefined ? data : this.cipher.decipher(data));
    this.heard.push({ message, from, bytes: data.length });
    if (message.type === 'DRW' && this.acknowledges) {
      const { channel } = message;
      const heard = this.of('DRW').filter((drw) => drw.channel === channel);
      const indices = this.ackHabit(heard.map(({ index }) => index));
      if (indices.length > 0) this.send({ type: 'DRW_ACK', channel, indices: [...indices] }, from);
    }
    if (message.type === 'ALIVE' && this.alive) this.send({ type: 'ALIVE_ACK' }, from);
  }
}

/** Everything that an iterator gives. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
