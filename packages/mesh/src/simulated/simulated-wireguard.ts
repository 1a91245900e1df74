import { type Clock, Events, type Random } from '@towpath/core';
import { type Endpoint, type Network, sameEndpoint, type UdpSocket } from '@towpath/net';
import type { PeerNetwork } from '../connection/peer-network.ts';
import type { EchoOptions, EchoServiceEvents } from '../health/echo-service.ts';
import type { PeerChange, WireGuardDevice, WireGuardPeer } from '../wireguard/device.ts';

/** First byte of a message; the rest of WireGuard's header is zero here. */
const INITIATION = 1;
const RESPONSE = 2;
const DATA = 4;
const REQUEST = 1;
const ANSWER = 2;
const GOODBYE = 3;
const HEADER_BYTES = 16;
/** Lengths of an initiation and a response, which path sockets know them by. */
const HANDSHAKE_BYTES: Readonly<Record<number, number>> = { [INITIATION]: 148, [RESPONSE]: 92 };
const DATA_BYTES = 48;
/** WireGuard repeats an initiation after this time. */
const REKEY_TIMEOUT_MS = 5_000;

interface Peer {
  readonly change: PeerChange;
  readonly address: string;
  endpoint: Endpoint | undefined;
  session: boolean;
  /** Since when an initiation is on its way. */
  initiatedAtMs: number;
  readonly waiting: Uint8Array[];
  receivedBytes: number;
  sentBytes: number;
}

export interface SimulatedWireGuardComponents {
  network: Network;
  clock: Clock;
  random: Random;
}

/**
 * Stands for `NetworkManager` and WireGuard, which need Linux and root. Connections see a handshake of one round trip before
 * the first packet, roaming to where the last packet came from, and echoes through the tunnel. Nothing is encrypted.
 */
export class SimulatedWireGuard implements PeerNetwork, AsyncDisposable {
  readonly mtuBytes = 1_420;
  readonly splice = undefined;
  readonly events: Events<EchoServiceEvents> = new Events();
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #peers = new Map<string, Peer>();
  readonly #pending = new Map<number, (rttMs: number) => void>();
  readonly #sessions = new Map<string, Peer>();
  #socket!: UdpSocket;

  /** @param options.address where it listens. @default loopback: the hops of connections send from there */
  static async open(
    components: SimulatedWireGuardComponents,
    { address = '127.0.0.1', port }: { address?: string; port?: number } = {},
  ): Promise<SimulatedWireGuard> {
    const tunnel = new SimulatedWireGuard(components);
    tunnel.#socket = await components.network.bindUdp({
      address,
      ...(port === undefined ? {} : { port }),
      onMessage: (data, from) => tunnel.#receive(data, from),
      onError() {},
    });
    return tunnel;
  }

  private constructor({ clock, random }: SimulatedWireGuardComponents) {
    this.#clock = clock;
    this.#random = random;
  }

  get listenPort(): number {
    return this.#socket.local.port;
  }

  readonly echo: PeerNetwork['echo'] = {
    events: this.events,
    ping: (address: string, { signal }: EchoOptions = {}) => this.#ping(address, signal),
    touch: (address) => void this.#send(address, REQUEST, this.#random.integer(0, 0xffff_ffff)),
    sayGoodbye: (address) => this.#send(address, GOODBYE, 0),
  };

  async addPeer(change: PeerChange): Promise<void> {
    const address = change.allowedIps?.[0]?.split('/')[0] ?? '';
    const { endpoint } = change;
    const none = { session: false, initiatedAtMs: -Infinity, receivedBytes: 0, sentBytes: 0 };
    const peer: Peer = { change, address, endpoint, ...none, waiting: [] };
    this.#peers.set(address, peer);
  }

  async removePeer(publicKey: Uint8Array): Promise<void> {
    const found = this.#byKey(publicKey);
    if (found === undefined) return;
    this.#peers.delete(found.address);
    for (const [from, peer] of this.#sessions) if (peer === found) this.#sessions.delete(from);
  }

  async restartPeer(publicKey: Uint8Array): Promise<void> {
    const peer = this.#byKey(publicKey);
    if (peer === undefined) return;
    peer.session = false;
    peer.initiatedAtMs = -Infinity;
  }

  async setEndpoint(publicKey: Uint8Array, endpoint: Endpoint): Promise<void> {
    const peer = this.#byKey(publicKey);
    if (peer !== undefined) peer.endpoint = endpoint;
  }

  async peer(publicKey: Uint8Array): Promise<WireGuardPeer | undefined> {
    const peer = this.#byKey(publicKey);
    return peer && reported(peer);
  }

  async read(): Promise<WireGuardDevice> {
    return { listenPort: this.listenPort, peers: [...this.#peers.values()].map(reported) };
  }

  async setPeerMtu(): Promise<void> {}
  async addRoute(): Promise<void> {}
  async removeRoute(): Promise<void> {}
  async setReceivers(): Promise<void> {}

  setNames(): ReadonlyMap<string, string> {
    return new Map();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#socket.close();
  }

  #ping(address: string, signal: AbortSignal | undefined): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const id = this.#random.integer(0, 0xffff_ffff);
      const sentAtMs = this.#clock.now();
      const onAbort = () => {
        this.#pending.delete(id);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(id, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve(this.#clock.now() - sentAtMs);
      });
      this.#send(address, REQUEST, id);
    });
  }

  #send(address: string, what: number, id: number): void {
    const peer = this.#peers.get(address);
    if (peer === undefined) return;
    const data = new Uint8Array(DATA_BYTES);
    data[0] = DATA;
    data[HEADER_BYTES] = what;
    new DataView(data.buffer).setUint32(HEADER_BYTES + 4, id);
    if (peer.session) this.#leave(peer, data);
    else {
      peer.waiting.push(data);
      this.#initiate(peer);
    }
  }

  #initiate(peer: Peer): void {
    const nowMs = this.#clock.now();
    if (nowMs - peer.initiatedAtMs < REKEY_TIMEOUT_MS) return;
    peer.initiatedAtMs = nowMs;
    this.#leave(peer, messageOf(INITIATION));
  }

  #leave(peer: Peer, data: Uint8Array): void {
    if (peer.endpoint === undefined) return;
    peer.sentBytes += data.length;
    this.#socket.send(data, peer.endpoint);
  }

  #receive(data: Uint8Array, from: Endpoint): void {
    const peer = this.#from(from);
    if (peer === undefined) return;
    peer.endpoint = from;
    peer.receivedBytes += data.length;
    if (data[0] === INITIATION) {
      this.#leave(peer, messageOf(RESPONSE));
      return;
    }
    peer.session = true;
    for (const waiting of peer.waiting.splice(0)) this.#leave(peer, waiting);
    if (data[0] !== DATA) return;
    const id = new DataView(data.buffer, data.byteOffset).getUint32(HEADER_BYTES + 4);
    if (data[HEADER_BYTES] === GOODBYE) {
      this.events.emit('goodbye', { address: peer.address });
      return;
    }
    this.events.emit('heard', { address: peer.address, note: new Uint8Array(0) });
    if (data[HEADER_BYTES] === REQUEST) this.#send(peer.address, ANSWER, id);
    else {
      this.#pending.get(id)?.(0);
      this.#pending.delete(id);
    }
  }

  /** Peers are told apart by where they come from: each hop has a port of its own. */
  #from({ address, port }: Endpoint): Peer | undefined {
    const key = `${address} ${port}`;
    let found = this.#sessions.get(key);
    if (found === undefined || this.#peers.get(found.address) !== found) {
      found = [...this.#peers.values()].find(({ endpoint }) => endpoint && sameEndpoint(endpoint, { address, port }));
      if (found !== undefined) this.#sessions.set(key, found);
    }
    return found;
  }

  #byKey(publicKey: Uint8Array): Peer | undefined {
    const wanted = Buffer.from(publicKey);
    return [...this.#peers.values()].find(({ change }) => wanted.equals(change.publicKey));
  }
}

function messageOf(type: number): Uint8Array {
  const data = new Uint8Array(HANDSHAKE_BYTES[type] ?? 0);
  data[0] = type;
  return data;
}

function reported({ change, endpoint, receivedBytes, sentBytes }: Peer): WireGuardPeer {
  const { publicKey, allowedIps = [] } = change;
  const counters = { lastHandshakeMs: undefined, receivedBytes, sentBytes, persistentKeepaliveSeconds: 0 };
  return { publicKey, endpoint, allowedIps, ...counters };
}
