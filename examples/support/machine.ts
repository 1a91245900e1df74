import { type Clock, Events } from '@towpath/core';
import type { Endpoint, Network, UdpSocket } from '@towpath/net';
import type {
  EchoOptions,
  EchoServiceEvents,
  PeerChange,
  PeerNetwork,
  WireGuardDevice,
  WireGuardPeer,
} from '@towpath/mesh';

const REQUEST = 1;
const REPLY = 2;
const GOODBYE = 3;
const KEY_BYTES = 32;
const ID_AT = 5 + KEY_BYTES;
const NO_NOTE = new Uint8Array(0);

/**
 * Stands for `NetworkManager` and WireGuard, which need Linux and root: carries echoes between members, unencrypted, over
 * the data planes of the connections.
 */
export class ExampleMachine implements PeerNetwork {
  readonly splice = undefined;
  readonly mtuBytes = 1_420;
  readonly events: Events<EchoServiceEvents> = new Events();
  readonly #clock: Clock;
  readonly #publicKey: Uint8Array;
  readonly #peers = new Map<string, PeerChange>();
  readonly #pending = new Map<number, () => void>();
  #socket!: UdpSocket;
  #nextId = 1;

  private constructor(clock: Clock, publicKey: Uint8Array) {
    this.#clock = clock;
    this.#publicKey = publicKey;
  }

  static async open(network: Network, clock: Clock, publicKey: Uint8Array): Promise<ExampleMachine> {
    const machine = new ExampleMachine(clock, publicKey);
    const onMessage = (data: Uint8Array, from: Endpoint) => machine.#receive(data, from);
    machine.#socket = await network.bindUdp({ address: '127.0.0.1', onMessage });
    return machine;
  }

  readonly echo: PeerNetwork['echo'] = {
    events: this.events,
    ping: (address: string, { signal }: EchoOptions = {}) =>
      new Promise((resolve, reject) => {
        const id = this.#nextId++;
        const sentAtMs = this.#clock.now();
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
        this.#pending.set(id, () => resolve(this.#clock.now() - sentAtMs));
        this.#send(REQUEST, id, address);
      }),
    touch: (address) => this.#send(REQUEST, 0, address),
    sayGoodbye: (address) => this.#send(GOODBYE, 0, address),
  };

  get listenPort(): number {
    return this.#socket.local.port;
  }

  async addPeer(peer: PeerChange): Promise<void> {
    this.#peers.set(keyOf(peer.publicKey), peer);
  }

  async removePeer(publicKey: Uint8Array): Promise<void> {
    this.#peers.delete(keyOf(publicKey));
  }

  async setEndpoint(publicKey: Uint8Array, endpoint: Endpoint): Promise<void> {
    const peer = this.#peers.get(keyOf(publicKey));
    if (peer !== undefined) this.#peers.set(keyOf(publicKey), { ...peer, endpoint });
  }

  async peer(publicKey: Uint8Array): Promise<WireGuardPeer | undefined> {
    return (await this.read()).peers.find((peer) => keyOf(peer.publicKey) === keyOf(publicKey));
  }

  async read(): Promise<WireGuardDevice> {
    const peers = [...this.#peers.values()].map(({ publicKey, endpoint, allowedIps = [] }) => ({
      ...{ publicKey, endpoint, allowedIps, lastHandshakeMs: undefined },
      ...{ receivedBytes: 0, sentBytes: 0, persistentKeepaliveSeconds: 0 },
    }));
    return { listenPort: this.listenPort, peers } as WireGuardDevice;
  }

  async restartPeer(): Promise<void> {}
  async setPeerMtu(): Promise<void> {}
  async addRoute(): Promise<void> {}
  async removeRoute(): Promise<void> {}
  async setReceivers(): Promise<void> {}
  setNames(): ReadonlyMap<string, string> {
    return new Map();
  }

  async close(): Promise<void> {
    await this.#socket.close();
  }

  #send(type: number, id: number, address: string): void {
    const to = [...this.#peers.values()].find(({ allowedIps }) => allowedIps?.includes(`${address}/32`));
    if (to?.endpoint === undefined) return;
    const data = new Uint8Array(ID_AT + 4);
    // The first byte is that of WireGuard's data messages.
    data[0] = 4;
    data[4] = type;
    data.set(this.#publicKey, 5);
    new DataView(data.buffer).setUint32(ID_AT, id);
    this.#socket.send(data, to.endpoint);
  }

  #receive(data: Uint8Array, from: Endpoint): void {
    const peer = this.#peers.get(keyOf(data.subarray(5, ID_AT)));
    const address = peer?.allowedIps?.[0]?.slice(0, -3);
    if (peer === undefined || address === undefined) return;
    this.#peers.set(keyOf(peer.publicKey), { ...peer, endpoint: from });
    const id = new DataView(data.buffer, data.byteOffset).getUint32(ID_AT);
    if (data[4] === REQUEST) this.#send(REPLY, id, address);
    else if (data[4] === REPLY) this.#pending.get(id)?.();
    if (data[4] === GOODBYE) this.events.emit('goodbye', { address });
    else this.events.emit('heard', { address, note: NO_NOTE });
  }
}

function keyOf(publicKey: Uint8Array): string {
  return Buffer.from(publicKey).toString('hex');
}
