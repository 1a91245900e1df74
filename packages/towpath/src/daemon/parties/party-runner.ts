import type { ControlClient, PartyView } from '@towpath/control';
import { type AbortedError, backoff, deadlineInterval, Events, Link, type Timer, TowpathError } from '@towpath/core';
import type { DaemonEvent, Member, Party, Peer, Problem, Relay } from '@towpath/dashboard/api';
import {
  addressIn,
  type ConnectionManager,
  memberNamed,
  memberRelays,
  type NetworkManager,
  type PartyRelay,
  parseVirtualNetwork,
  type PeerChangeEvent,
  type PeerConnection,
} from '@towpath/mesh';
import { formatEndpoint } from '@towpath/net';
import type { Runtime } from '../../cli/runtime.ts';
import { MeshNode, type MeshNodeOptions } from '../../commands/mesh/mesh-node.ts';
import { memberRecords } from '../../commands/party/member-view.ts';
import type { KnownParty } from '../../config/party-home.ts';
import type { PeerObserver } from '../metrics/peer-metrics.ts';
import { ownFilter } from './own-filter.ts';
import { pathEvent, PeerRecord } from './peer-record.ts';

/** Waits between the attempts to bring a party up. */
const AGAIN = { baseMs: 2_000, maxMs: 60_000 } as const;
const SAMPLE_MS = 5_000;

/** What a party that is up consists of; `MeshNode` is it on a real machine. */
export interface PartyMesh extends AsyncDisposable {
  readonly address: string;
  /** In which this machine sees the party. */
  readonly virtualNetwork: string;
  readonly manager: ConnectionManager;
  readonly node: { readonly client: ControlClient };
  readonly network: Pick<NetworkManager, 'interfaceName' | 'backend' | 'splice' | 'filter' | 'events' | 'notRouted'>;
  /** UDP port of the path sockets. */
  readonly pathPort?: number | undefined;
  /** Undefined when this node does not relay for the others. */
  readonly relay?: Pick<PartyRelay, 'status'> | undefined;
}

export interface PartyRunnerComponents {
  readonly runtime: Runtime;
  readonly publish: (event: DaemonEvent) => void;
  readonly observer: PeerObserver;
  /** Brings the party up. @default on this machine */
  readonly open?: ((signal: AbortSignal) => Promise<PartyMesh>) | undefined;
}

export interface PartyRunnerEvents {
  /** It is up, for the first time or again. */
  up: PartyMesh;
}

/** Keeps one party up, and remembers what happens to its peers. */
export class PartyRunner implements AsyncDisposable {
  readonly party: KnownParty;
  readonly options: MeshNodeOptions;
  readonly events: Events<PartyRunnerEvents> = new Events();
  readonly #components: PartyRunnerComponents;
  readonly #link: Link<PartyMesh>;
  readonly #records = new Map<string, PeerRecord>();
  readonly #stops: (() => void)[] = [];
  #accept: MeshNodeOptions['accept'];
  #sampler: Timer | undefined;
  #problem: Problem | undefined;
  #upAt = '';

  constructor(components: PartyRunnerComponents, party: KnownParty, options: MeshNodeOptions) {
    const { clock, random, log } = components.runtime;
    this.#components = components;
    this.party = party;
    this.options = options;
    this.#accept = options.accept;
    this.#link = new Link(
      { clock, log: log.child('PARTY', { party: party.name }) },
      {
        target: party.name,
        connect: ({ signal }) => this.#open(signal),
        // A node repairs its interface itself, and follows its servers; it ends only when it is told to.
        watch: (_node, { signal }) =>
          new Promise<AbortedError>(() => {
            signal.throwIfAborted();
          }),
        release: (node) => this.#release(node),
        first: { delaysMs: () => backoff({ ...AGAIN, random }) },
      },
    );
    this.#link.events.on('up', ({ path }) => {
      this.#problem = undefined;
      this.#upAt = this.#now();
      for (const { message, code } of this.#unknownMembers()) log.warn(message, { party: this.party.name, code });
      this.events.emit('up', path);
      this.#tell();
    });
    this.#link.events.on('tryFailed', ({ error }) => {
      this.#problem = { code: error.code, message: error.message, at: this.#now() };
      this.#tell();
    });
  }

  get node(): PartyMesh | undefined {
    return this.#link.path;
  }

  /** Peers that are connected or being connected. */
  get records(): ReadonlyMap<string, PeerRecord> {
    return this.#records;
  }

  get isUp(): boolean {
    return this.node !== undefined;
  }

  /** Brings it up. @throws the first attempt's error; further ones follow unless it is closed. */
  async start(signal: AbortSignal): Promise<PartyMesh> {
    const failed = new AbortController();
    const first = this.#link.events
      .once('tryFailed', { signal: failed.signal })
      .then(({ error }) => Promise.reject(error));
    first.catch(() => {
      // It is reported by the race below, or it was not needed.
    });
    try {
      return await Promise.race([this.#link.ready(signal), first]);
    } finally {
      failed.abort();
    }
  }

  /** Replaces the networks of members that are used, also while it is up. @throws MeshError. */
  async setAccepted(accept: MeshNodeOptions['accept']): Promise<void> {
    if (JSON.stringify(accept) === JSON.stringify(this.#accept)) return;
    this.#accept = accept;
    await this.node?.manager.setAccepted(accept);
    this.#tell();
  }

  /** See {@link ConnectionManager.expectSuccessor}. @returns the UDP port of the path sockets */
  expectSuccessor(): number | undefined {
    this.node?.manager.expectSuccessor();
    return this.node?.pathPort;
  }

  describe(): Party {
    const { id, name, servers } = this.party;
    const node = this.node;
    const view = node?.node.client.party(id);
    const connected = node?.node.client.connected ?? false;
    const backend = node?.network.backend;
    return {
      id,
      name,
      state: node !== undefined ? 'up' : this.#problem === undefined ? 'starting' : 'failed',
      problem: node === undefined ? (this.#problem ?? null) : null,
      servers: [...servers.addresses],
      connected,
      address: node?.address ?? '',
      interface:
        node === undefined
          ? null
          : {
              name: node.network.interfaceName,
              backend: backend ?? 'userspace',
              splice: node.network.splice !== undefined,
            },
      members: view === undefined ? [] : membersOf(view, connected, node?.virtualNetwork ?? this.options.networkHere),
      network: { party: this.options.network, here: node?.virtualNetwork ?? this.options.networkHere },
      offers: this.options.offers.map((offer) => (typeof offer === 'string' ? offer : offer.network)),
      accepts: this.#accept.map(({ peer, network }) => ({ peer, network })),
      ...(node?.relay && { relay: ownRelay(node.relay.status) }),
      ...(node?.network.filter && { filter: ownFilter(node.network.filter) }),
    };
  }

  /** What of the configuration is without effect while the party is up, and a date of its server that is not right. */
  problems(): Problem[] {
    const notRouted = this.node?.network.notRouted.values() ?? [];
    const at = this.#upAt;
    return [
      ...[...notRouted].map((message) => ({ code: 'not-routed', message, at })),
      ...this.#unknownMembers(),
      ...this.#clockProblem(),
    ];
  }

  peers(): Peer[] {
    return [...this.#records.values()]
      .map(({ peer }) => peer)
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1));
  }

  relays(): Relay[] {
    const client = this.node?.node.client;
    if (client === undefined) return [];
    const peers = this.peers();
    return [...client.relays(), ...memberRelays(client.party(this.party.id)?.peers ?? [])].map(
      ({ id, urls, region, load, healthy }) => {
        const hosts = urls.map((url) => /^turns?:([^?]+)/.exec(url)?.[1] ?? url);
        return {
          id,
          party: this.party.id,
          urls: [...urls],
          region,
          load,
          healthy,
          peers: peers
            .filter(({ path }) => path?.relay && hosts.some((host) => path.relay?.includes(host.split(':')[0] ?? host)))
            .map(({ name }) => name),
        };
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link.close();
  }

  async #open(signal: AbortSignal): Promise<PartyMesh> {
    const { runtime } = this.#components;
    const { open } = this.#components;
    const node = open
      ? await open(signal)
      : await MeshNode.open({ ...runtime, signal }, this.party, { ...this.options, accept: this.#accept });
    try {
      signal.throwIfAborted();
      this.#follow(node);
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #release(node: PartyMesh): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    this.#sampler?.cancel();
    await node[Symbol.asyncDispose]();
    this.#records.clear();
  }

  #follow({ manager, node, network }: PartyMesh): void {
    const { runtime, publish } = this.#components;
    const { clock, log } = runtime;
    for (const connection of manager.connections.values()) this.#record(connection);
    const tellParty = () => this.#tell();
    this.#stops.push(
      manager.events.on('changed', (change) => this.#changed(manager.connections.get(change.peerId), change)),
      node.client.events.on('party', tellParty),
      node.client.events.on('presence', tellParty),
      node.client.events.on('server', tellParty),
      node.client.events.on('relays', () => publish({ type: 'relays', relays: this.relays() })),
      node.client.events.on('suspicion', ({ kind, message }) =>
        publish({
          type: 'notice',
          level: 'error',
          notice: { code: `membership-${kind}`, message: `${this.party.name}: ${message}`, at: this.#now() },
        }),
      ),
      network.events.on('lost', ({ message }) => this.#warn('interface-lost', message)),
      network.events.on('restored', ({ message }) => log.warn('The WireGuard interface was made again', { message })),
    );
    this.#sampler = deadlineInterval({ clock, intervalMs: SAMPLE_MS, onTick: () => this.#sample() });
  }

  #unknownMembers(): Problem[] {
    const { id: party, name } = this.party;
    const known = this.node?.node.client.party(party);
    if (known === undefined) return [];
    const members = [known.self, ...known.peers];
    return this.#accept
      .filter(({ peer }) => [undefined, known.self].includes(memberNamed(peer, members)))
      .map(({ peer, network }) => ({
        code: 'unknown-member',
        message: `${name} has no other member ${peer}: ${network} is routed when one joins. Next: towpath party members`,
        at: this.#upAt,
      }));
  }

  #clockProblem(): Problem[] {
    const problem = this.node?.node.client.clockProblem;
    if (problem === undefined) return [];
    const at = new Date(problem.sinceMs).toISOString();
    return [{ code: 'clock-skew', message: `${this.party.name}: ${problem.message}`, at }];
  }

  #warn(code: string, message: string): void {
    this.#components.runtime.log.warn(message, { party: this.party.name, code });
    this.#components.publish({ type: 'notice', level: 'error', notice: { code, message, at: this.#now() } });
  }

  #record(connection: PeerConnection): PeerRecord {
    const { runtime, publish } = this.#components;
    const record = new PeerRecord(connection, runtime.clock.wallTime());
    this.#records.set(connection.peerId, record);
    this.#stops.push(
      connection.paths.events.on('log', (entry) =>
        publish({ type: 'path', party: this.party.id, peer: connection.peerId, event: pathEvent(entry) }),
      ),
    );
    return record;
  }

  #changed(connection: PeerConnection | undefined, { peerId, what, reason, status }: PeerChangeEvent): void {
    const { runtime, publish, observer } = this.#components;
    const party = this.party.id;
    if (what === 'removed' || connection === undefined) {
      this.#records.delete(peerId);
      observer.removed(this.party.name, status);
      publish({ type: 'peer-removed', party, peer: peerId });
      return;
    }
    const known = this.#records.get(peerId);
    const record = known?.connection === connection ? known : this.#record(connection);
    if (what === 'path') record.pathChanged(status, runtime.clock.wallTime());
    observer.changed(this.party.name, what, reason, status);
    publish({ type: 'peer', party, peer: record.peer });
  }

  #sample(): void {
    const { runtime, publish, observer } = this.#components;
    const nowMs = runtime.clock.wallTime();
    for (const [peer, record] of this.#records) {
      const sample = record.sample(nowMs);
      observer.sampled(this.party.name, record.connection.describe(), record.races);
      publish({ type: 'latency', party: this.party.id, peer, sample });
    }
  }

  #tell(): void {
    this.#components.publish({ type: 'party', party: this.describe() });
  }

  #now(): string {
    return new Date(this.#components.runtime.clock.wallTime()).toISOString();
  }
}

function ownRelay({ address, problem, data, ...status }: PartyRelay['status']): NonNullable<Party['relay']> {
  return {
    ...status,
    address: address === undefined ? null : formatEndpoint(address),
    problem: problem ?? null,
    dataPlane: data?.plane ?? null,
    dataPlaneReason: data?.reason ?? null,
  };
}

function membersOf(view: PartyView, connected: boolean, network: string): Member[] {
  const here = parseVirtualNetwork(network);
  return memberRecords(view, connected).map(({ id, name, role, virtualAddress, joinedAt, self, online }) => ({
    id,
    name,
    role,
    address: here === undefined ? virtualAddress : addressIn(here, virtualAddress),
    joinedAt,
    self,
    online,
  }));
}

/** @throws TowpathError `party-down` when the party is not up. */
export function requireNode(runner: PartyRunner): PartyMesh {
  if (runner.node !== undefined) return runner.node;
  const { problem, name } = runner.describe();
  throw new TowpathError('party-down', `${name} is not up${problem === null ? '' : `: ${problem.message}`}`, {
    kind: 'local',
  });
}
