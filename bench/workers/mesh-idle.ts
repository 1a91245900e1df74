/**
 * Members of one party on real sockets. `hub`: one process that is connected to all others. `spokes`: many members in one
 * process, each with a path socket of its own, connected to the hub only. `bare`: one socket that sends each peer a
 * datagram every 30 seconds. Signals pass through the parent. Needs --expose-gc.
 */
import { createSocket } from 'node:dgram';
import { Events, SeededRandom, SystemClock } from '@towpath/core';
import { generateWireGuardKey } from '@towpath/membership';
import {
  ConnectionManager,
  type ControlPlane,
  type MeshControlEvents,
  type MeshMember,
  type MeshParty,
  type MeshPeer,
  MeshReason,
  MeshPathFinder,
  NATTraversal,
} from '@towpath/mesh';
import { DelegatingNetwork, type DefaultRoute, type InterfaceAddress, type Network, NodeNetwork } from '@towpath/net';
import { SimulatedWireGuard } from '@towpath/mesh/simulated';
import { parentLeft, tell, workerTask } from '../support/worker.ts';

export interface MeshIdleTask {
  role: 'hub' | 'spokes' | 'bare';
  count: number;
}

/** From the parent: members that exist, a signal, a question for memory and processor time, or addresses for `bare`. */
export type MeshIdleOrder =
  | { connect: MeshMember[]; only?: string[] }
  | { signal: { from: string; to: string; data: string } }
  | { usage: true }
  | { ports: number[] };

/** To the parent. */
export type MeshIdleLine =
  | { members: MeshMember[] }
  | { ports: number[] }
  | { signal: { from: string; to: string; data: string } }
  /** `again`: attempts that came to nothing in their time. */
  | { connected: number; again: number }
  | { usage: MeshIdleUsage & { connected: number; reached: number } };

export interface MeshIdleUsage {
  /** Processor time so far: before the garbage was collected for this report, and after. */
  cpuBeforeMs: number;
  cpuAfterMs: number;
  heapBytes: number;
  rssBytes: number;
}

const PARTY = 'a'.repeat(32);
const HERE = '127.0.0.1';
const CONNECT_MS = 12_000;
const TRIES = 4;
const BARE_MS = 30_000;
const BARE_BYTES = 100;

let again = 0;
const { role, count } = workerTask<MeshIdleTask>();
const clock = new SystemClock();
const random = new SeededRandom(role === 'hub' ? 1 : 2);
/** A thousand members of one process must not ask the system for the same a thousand times. */
class QuietNetwork extends DelegatingNetwork {
  readonly #interfaces: InterfaceAddress[];

  constructor(components: { network: Network }, interfaces: readonly InterfaceAddress[]) {
    super(components);
    this.#interfaces = interfaces.filter(({ family, internal }) => family === 4 && !internal);
  }

  override interfaces(): InterfaceAddress[] {
    return this.#interfaces;
  }

  override async defaultRoute(): Promise<DefaultRoute | undefined> {
    return undefined;
  }
}

const system = new NodeNetwork();
const addresses = system.interfaces();

async function members(): Promise<void> {
  const first = role === 'hub' ? 1 : 2;
  const all = await Promise.all(Array.from({ length: count }, (_, at) => member(first + at)));
  const byId = new Map(all.map((each) => [each.self.id, each]));
  process.on('message', async (order: MeshIdleOrder) => {
    if ('signal' in order) {
      const { from, to, data } = order.signal;
      const event = { party: PARTY, from, data: Buffer.from(data, 'base64') };
      byId.get(to)?.control.events.emit('signal', event);
    } else if ('connect' in order) {
      const own = order.only === undefined ? all : order.only.flatMap((id) => byId.get(id) ?? []);
      for (const each of own) each.control.peers.push(...order.connect.map(asPeer));
      const ids = order.connect.map(({ id }) => id);
      await Promise.all(ids.flatMap((id) => own.map(({ manager }) => connect(manager, id))));
      print({ connected: order.connect.length, again });
      again = 0;
    } else if ('usage' in order) {
      const statuses = all.flatMap(({ manager }) => manager.statuses());
      const connected = statuses.filter(({ status }) => status === 'connected').length;
      const slow = statuses.filter(({ reason }) => reason === MeshReason.echoSlow).length;
      print({ usage: { ...usage(), connected, reached: connected + slow } });
    }
  });
  print({ members: all.map(({ self }) => ({ ...self, wireGuardKey: Array.from(self.wireGuardKey) as never })) });
  await parentLeft();
  process.exit(0);
}

async function connect(manager: ConnectionManager, peer: string): Promise<void> {
  for (let left = TRIES; ; left--) {
    try {
      await manager.connectToPeer(PARTY, peer);
      return;
    } catch (error) {
      if (left <= 1) throw error;
      again++;
    }
  }
}

async function member(number: number) {
  const key = generateWireGuardKey(random);
  const self: MeshMember = {
    id: number.toString(16).padStart(32, '0'),
    name: `m${number}`,
    wireGuardKey: key.publicKey,
    virtualAddress: `10.66.${number >> 8}.${number & 0xff}`,
    joinedAtSequence: number,
  };
  const control = new ParentControl(self);
  const network = role === 'spokes' ? new QuietNetwork({ network: system }, addresses) : system;
  const components = { network, clock, random };
  const tunnel = await SimulatedWireGuard.open(components, { address: HERE });
  const options = { party: PARTY, self: self.id, wireGuardKey: key, portMapping: false };
  const finder = await MeshPathFinder.open({ ...components, control }, options);
  const nats = new NATTraversal({ finder });
  const manager = new ConnectionManager({ components, connectTimeoutMs: CONNECT_MS }, tunnel, nats, control);
  return { self, control, manager };
}

function asPeer(each: MeshMember): MeshPeer {
  return { ...each, wireGuardKey: Uint8Array.from(each.wireGuardKey), online: true, announcement: undefined };
}

async function bare(): Promise<void> {
  const socket = createSocket('udp4');
  const data = new Uint8Array(BARE_BYTES);
  const peers: { port: number; timer: NodeJS.Timeout }[] = [];
  socket.bind(0, HERE, () => print({ ports: [socket.address().port] }));
  process.on('message', (order: MeshIdleOrder) => {
    if ('ports' in order) {
      for (const port of order.ports) {
        const peer = { port, timer: setTimeout(() => begin(), random.next() * BARE_MS) };
        const begin = () => {
          peer.timer = setInterval(() => socket.send(data, port, HERE, () => {}), BARE_MS);
        };
        peers.push(peer);
      }
      print({ connected: order.ports.length, again: 0 });
    } else if ('usage' in order) print({ usage: { ...usage(), connected: peers.length, reached: peers.length } });
  });
  await parentLeft();
  process.exit(0);
}

function usage(): MeshIdleUsage {
  const cpuBeforeMs = cpuMs();
  // Code that has not run lately is dropped as well: otherwise there is more of it in the first report than in later ones.
  for (let pass = 0; pass < 3; pass++) globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  const { rss, heapUsed, external } = process.memoryUsage();
  return { cpuBeforeMs, cpuAfterMs: cpuMs(), heapBytes: heapUsed + external, rssBytes: rss };
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function print(line: MeshIdleLine): void {
  tell(line);
}

/** Signals pass through the parent process. */
class ParentControl implements ControlPlane {
  readonly events: Events<MeshControlEvents> = new Events();
  readonly connected = true;
  readonly peers: MeshPeer[] = [];
  readonly #self: MeshMember;

  constructor(self: MeshMember) {
    this.#self = self;
  }

  party(id: string): MeshParty | undefined {
    return id === PARTY ? { id, name: 'home', self: this.#self, peers: this.peers } : undefined;
  }

  async signal(_party: string, to: string, data: Uint8Array): Promise<void> {
    print({ signal: { from: this.#self.id, to, data: Buffer.from(data).toString('base64') } });
  }

  announce(): void {}

  relays(): [] {
    return [];
  }

  async turnCredentials(): Promise<never> {
    throw new Error('There are no relays.');
  }
}

if (role === 'bare') await bare();
else await members();
