import { type Clock, type Random, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { type Endpoint, type Network, sameEndpoint, type UdpSocket } from '@towpath/net';
import { SimulatedInternet } from '@towpath/net/simulated';
import { DataPlane } from '../../src/hop/data-plane.ts';
import type { SpliceControl, SpliceEntry } from '../../src/hop/splice-control.ts';
import type { PeerPath } from '../../src/peer-path.ts';
import type { WireGuardPeer } from '../../src/wireguard/device.ts';

const KEY = new Uint8Array(32).fill(1);
const WIREGUARD_PORT = 51_820;

/** What the kernel and WireGuard do, as far as moves between hop and splice are concerned. */
export class ModelNode {
  readonly real: Endpoint;
  readonly listenPort: number = WIREGUARD_PORT;
  plane!: DataPlane;
  other!: ModelNode;
  /** Sequence numbers of the packets that arrived. */
  readonly received: Map<number, number> = new Map();
  /** Packets that left from WireGuard's own port: lost at any NAT. */
  stray = 0;
  splicedOut = 0;
  splicedIn = 0;
  outbound = false;
  inbound = false;
  /** Nothing that the splice should carry leaves. */
  spliceBroken = false;
  available = true;
  oneWayMs = 10;
  readonly #clock: Clock;
  readonly #lost = new Set<() => void>();
  #endpoint: Endpoint | undefined;
  #socket!: UdpSocket;

  constructor(clock: Clock, real: Endpoint) {
    this.#clock = clock;
    this.real = real;
  }

  async start(network: Network, random: Random, withSplice: boolean): Promise<void> {
    this.#socket = await network.bindUdp({
      address: '127.0.0.1',
      port: WIREGUARD_PORT,
      onMessage: (data, from) => this.#toWireGuard(data, from),
    });
    this.plane = await DataPlane.open(
      { network, clock: this.#clock, random, wireGuard: this, splice: withSplice ? this.#splice() : undefined },
      { publicKey: KEY, sendEcho: () => this.send(-1) },
    );
    this.#endpoint = this.plane.hopEndpoint;
  }

  get endpoint(): Endpoint | undefined {
    return this.#endpoint;
  }

  async setEndpoint(_key: Uint8Array, endpoint: Endpoint): Promise<void> {
    this.#endpoint = endpoint;
  }

  async peer(): Promise<WireGuardPeer> {
    return {
      publicKey: KEY,
      endpoint: this.#endpoint,
      allowedIps: [],
      lastHandshakeMs: 1,
      receivedBytes: 0,
      sentBytes: 0,
      persistentKeepaliveSeconds: 0,
    };
  }

  path(id: string, isPlain = true): PeerPath {
    return {
      id,
      kind: 'p2p',
      family: 4,
      local: this.real,
      remote: this.other.real,
      relay: undefined,
      isPlain,
      send: (data) => this.#leave(data),
    };
  }

  /** WireGuard sends a packet: −1 is an echo, which the other side answers with −2. */
  send(sequence: number): void {
    const data = new Uint8Array(new Int32Array([sequence]).buffer);
    if (this.#endpoint === undefined) return;
    if (sameEndpoint(this.#endpoint, this.plane.hopEndpoint)) {
      this.#socket.send(data, this.#endpoint);
      return;
    }
    if (!this.outbound || this.spliceBroken) {
      this.stray++;
      return;
    }
    this.splicedOut++;
    this.#leave(data);
  }

  /** Somebody flushes the ruleset. */
  flush(): void {
    this.outbound = false;
    this.inbound = false;
    for (const listener of [...this.#lost]) listener();
  }

  #leave(data: Uint8Array): void {
    const { other } = this;
    this.#clock.timer(this.oneWayMs, () => other.#arrive(data));
  }

  #arrive(data: Uint8Array): void {
    if (!this.inbound) {
      this.plane.deliver(data);
      return;
    }
    this.splicedIn++;
    this.#toWireGuard(data, this.other.real);
  }

  #toWireGuard(data: Uint8Array, from: Endpoint): void {
    this.#endpoint = from;
    const sequence = new Int32Array(data.slice().buffer)[0]!;
    if (sequence === -1) this.send(-2);
    else if (sequence >= 0) this.received.set(sequence, (this.received.get(sequence) ?? 0) + 1);
  }

  #splice(): SpliceControl {
    const node = this;
    const switched = (change: () => void) => async () => {
      await node.#clock.sleep(3);
      change();
    };
    const entry: SpliceEntry = {
      addOutbound: switched(() => {
        node.outbound = true;
      }),
      removeOutbound: switched(() => {
        node.outbound = false;
      }),
      addInbound: switched(() => {
        node.inbound = true;
      }),
      removeInbound: switched(() => {
        node.inbound = false;
      }),
      counters: async () => ({ inboundPackets: node.splicedIn, outboundPackets: node.splicedOut }),
    };
    return {
      get available() {
        return node.available;
      },
      entry: async () => entry,
      onLost: (listener) => {
        node.#lost.add(listener);
        return () => node.#lost.delete(listener);
      },
    };
  }
}

export interface Model {
  clock: VirtualClock;
  a: ModelNode;
  b: ModelNode;
  close(): Promise<void>;
}

/** Two nodes with a data plane each; `withSplice` says which of them may splice. */
export async function createModel(withSplice: [boolean, boolean] = [true, true]): Promise<Model> {
  const clock = new VirtualClock();
  const random = new SeededRandom(3);
  const internet = new SimulatedInternet({ clock, random });
  const a = new ModelNode(clock, { address: '203.0.113.20', port: 40_000 });
  const b = new ModelNode(clock, { address: '203.0.113.21', port: 40_001 });
  a.other = b;
  b.other = a;
  await a.start(internet.host({ name: 'a' }).network, random, withSplice[0]);
  await b.start(internet.host({ name: 'b' }).network, random, withSplice[1]);
  return {
    clock,
    a,
    b,
    close: async () => {
      await clock.runUntil(Promise.all([a.plane.close(), b.plane.close()]));
    },
  };
}
