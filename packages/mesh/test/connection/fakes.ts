import { Events, type PathPolicy, PathReason, type PathStatus, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import {
  type ControlPlane,
  ConnectionManager,
  type MeshControlEvents,
  type MeshParty,
  type MeshPeer,
  NATTraversal,
  type PathFinder,
  type PeerChange,
  type PeerNetwork,
  type PeerPath,
  type PeerPaths,
  type PeerPathsEvents,
  type PeerPathsOptions,
  type WireGuardPeer,
} from '../../src/index.ts';
import type { EchoOptions, EchoServiceEvents } from '../../src/health/echo-service.ts';

export const PARTY: string = 'a'.repeat(32);

/** A machine whose WireGuard reaches a peer when the peer has a path, is known and is up. */
export class FakeMachine implements PeerNetwork {
  readonly mtuBytes = 1_420;
  readonly listenPort = 51_820;
  readonly splice = undefined;
  readonly peers: Map<string, PeerChange> = new Map();
  readonly routes: Set<string> = new Set();
  readonly mtus: Map<string, number> = new Map();
  readonly up: Set<string> = new Set();
  readonly goodbyes: string[] = [];
  readonly events: Events<EchoServiceEvents> = new Events();
  names: string[] = [];
  receivers: readonly string[] = [];
  restarts = 0;
  failing: 'addPeer' | 'addRoute' | undefined;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  readonly echo: PeerNetwork['echo'] = {
    events: this.events,
    ping: (address: string, { signal }: EchoOptions = {}) => {
      const answered = this.up.has(address);
      return this.#clock.sleep(answered ? 20 : 1e9, signal).then(() => 20);
    },
    touch: () => {},
    sayGoodbye: (address) => void this.goodbyes.push(address),
  };

  async addPeer(peer: PeerChange): Promise<void> {
    if (this.failing === 'addPeer') throw new Error('no WireGuard');
    this.peers.set(hex(peer.publicKey), peer);
  }

  async removePeer(publicKey: Uint8Array): Promise<void> {
    this.peers.delete(hex(publicKey));
  }

  async restartPeer(): Promise<void> {
    this.restarts++;
  }

  async setEndpoint(): Promise<void> {}

  async peer(): Promise<WireGuardPeer | undefined> {
    return undefined;
  }

  async read(): Promise<{ listenPort: number; peers: WireGuardPeer[] }> {
    return { listenPort: this.listenPort, peers: [] };
  }

  async setPeerMtu(address: string, mtuBytes: number | undefined): Promise<void> {
    if (mtuBytes === undefined || mtuBytes >= this.mtuBytes) this.mtus.delete(address);
    else this.mtus.set(address, mtuBytes);
  }

  async addRoute(network: string): Promise<void> {
    if (this.failing === 'addRoute') throw new Error('no route');
    this.routes.add(network);
  }

  async removeRoute(network: string): Promise<void> {
    this.routes.delete(network);
  }

  setNames(_party: string, members: readonly { name: string }[]): ReadonlyMap<string, string> {
    this.names = members.map(({ name }) => name);
    return new Map();
  }

  async setReceivers(addresses: readonly string[]): Promise<void> {
    this.receivers = addresses;
  }
}

/** Paths that a test gives. */
export class FakePaths implements PeerPaths {
  readonly events: Events<PeerPathsEvents> = new Events();
  readonly options: PeerPathsOptions;
  readonly refreshes: PathReason[] = [];
  readonly also = undefined;
  readonly relayReason = undefined;
  refusedBy: PathPolicy | undefined;
  readonly policy = 'auto';
  readonly peerPolicy = undefined;
  readonly isRefusedByPeer = false;
  readonly probesSent = 0;
  current: PeerPath | undefined;
  closed = false;

  constructor(options: PeerPathsOptions) {
    this.options = options;
  }

  select(kind: PeerPath['kind'], reason: PathReason = PathReason.first): void {
    const path: PeerPath = {
      id: kind,
      kind,
      family: 4,
      local: { address: '0.0.0.0', port: 40_000 },
      remote: { address: '203.0.113.42', port: 40_001 },
      relay: kind === 'relay' ? 'turn:203.0.113.1:3478' : undefined,
      isPlain: kind !== 'relay',
      send: () => {},
    };
    this.current = path;
    this.events.emit('selected', { path, also: undefined, reason });
  }

  status(): PathStatus<PeerPath>[] {
    return [];
  }

  log(): [] {
    return [];
  }

  refresh(reason: PathReason): void {
    this.refreshes.push(reason);
  }

  configure(): void {}

  heard(): void {}

  unanswered(): void {}

  sent(): void {}

  probe(): void {}

  dataLost(): void {}
  dataSlow(): void {}

  dataCarried(): void {}

  async close(): Promise<void> {
    this.closed = true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export class FakeFinder implements PathFinder {
  readonly opened: FakePaths[] = [];

  open(options: PeerPathsOptions): FakePaths {
    const paths = new FakePaths(options);
    this.opened.push(paths);
    return paths;
  }

  async describeNat(): Promise<string> {
    return 'no NAT';
  }

  async close(): Promise<void> {}

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export function peer(number: number, changes: Partial<MeshPeer> = {}): MeshPeer {
  return {
    id: number.toString(16).padStart(32, '0'),
    name: `peer${number}`,
    wireGuardKey: new Uint8Array(32).fill(number),
    virtualAddress: `10.66.${number >> 8}.${number & 0xff}`,
    joinedAtSequence: number,
    online: true,
    announcement: undefined,
    ...changes,
  };
}

export class FakeControl implements ControlPlane {
  readonly events: Events<MeshControlEvents> = new Events();
  readonly connected = true;
  peers: MeshPeer[];

  constructor(peers: MeshPeer[]) {
    this.peers = peers;
  }

  party(id: string): MeshParty | undefined {
    return id === PARTY ? { id, name: 'home', self: peer(2), peers: this.peers } : undefined;
  }

  setPeers(peers: MeshPeer[]): void {
    this.peers = peers;
    this.events.emit('party', { id: PARTY });
  }

  async signal(): Promise<void> {}

  announce(): void {}

  relays(): [] {
    return [];
  }

  async turnCredentials(): Promise<never> {
    throw new Error('no relays');
  }
}

export interface Fakes {
  clock: VirtualClock;
  machine: FakeMachine;
  finder: FakeFinder;
  control: FakeControl;
  manager: ConnectionManager;
}

export function createFakes(peers: MeshPeer[], accept: { peer: string; network: string }[] = []): Fakes {
  const clock = new VirtualClock();
  const random = new SeededRandom(4);
  const { network } = new SimulatedInternet({ clock, random }).host();
  const machine = new FakeMachine(clock);
  const finder = new FakeFinder();
  const control = new FakeControl(peers);
  const components = { network, clock, random };
  const manager = new ConnectionManager({ components, accept }, machine, new NATTraversal({ finder }), control);
  return { clock, machine, finder, control, manager };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
