import {
  type Clock,
  errorCode,
  errorMessage,
  type Log,
  monitorTimes,
  PathReason,
  type Random,
  silentLog,
} from '@towpath/core';
import type { PartyId, PeerId, WireGuardKey } from '@towpath/membership';
import { addressScope, type Endpoint, inSubnet, type Network, type NetworkChange, sameEndpoint } from '@towpath/net';
import type { ControlPlane } from '../control-plane.ts';
import { ConnectionError } from '../connection/connection-error.ts';
import type { PeerPath } from '../peer-path.ts';
import type { PathFinder, PeerPaths, PeerPathsOptions } from '../peer-paths.ts';
import type { MeshCandidate } from './candidate-signal.ts';
import type { RelayKey } from '../relays/relay-key.ts';
import { RelayPool } from '../relays/relay-pool.ts';
import { ExternalAddress } from './external-address.ts';
import { localCandidates, localNetworks } from './local-candidates.ts';
import { PathPortMapping } from './mapped-port.ts';
import { MeshPeerPaths } from './mesh-peer-paths.ts';
import { NatWatch } from './nat-watch.ts';
import { PairMemory, type PairMemorySnapshot } from './pair-memory.ts';
import { pairSecrets } from './pair-secrets.ts';
import { PathSocket, type PathTransport } from './path-socket.ts';
import { PunchBudget } from './punch-budget.ts';
import type { SharedByPeers } from './shared-by-peers.ts';
import { Uplinks } from './uplinks.ts';

export interface MeshPathFinderComponents {
  network: Network;
  clock: Clock;
  random: Random;
  control: ControlPlane;
  log?: Log | undefined;
}

export interface MeshPathFinderOptions {
  party: PartyId;
  self: PeerId;
  wireGuardKey: WireGuardKey;
  /** Of the path sockets; 0 lets the system choose. @default 0 */
  port?: number;
  /** Tried first when `port` is 0: NATs keep the mappings of a port that is used again. */
  preferredPort?: number | undefined;
  /** Interfaces that no candidates come from: those of WireGuard itself. */
  isOwnInterface?(name: string): boolean;
  /** True for addresses beside the party's network that are routed into the tunnel: accepted networks. */
  isRoutedIntoTunnel?(address: string): boolean;
  /** Relays that are kept ready. @default 2 */
  relays?: number;
  /** PEM of certificate authorities that relays over TLS may have, besides the system's. @default none */
  relayAuthorities?: string | undefined;
  /** Attack NATs that choose a new port for each destination: prediction and the birthday attack. @default true */
  birthday?: boolean | undefined;
  /** Ask the router to map the path socket's port (PCP, NAT-PMP, UPnP). @default true */
  portMapping?: boolean | undefined;
  /** What worked between pairs of networks, as a store has it; `save` is called after each change. */
  memory?: { snapshot: unknown; save(snapshot: PairMemorySnapshot): void } | undefined;
}

/** RFC 7675 §5.1: nothing is sent on a path whose peer has not answered a check for so long, ms. */
const CONSENT_MS = 30_000;

/** Path sockets, relayed addresses and signals of one member; opens the paths of its peers. */
export class MeshPathFinder implements PathFinder {
  readonly #components: MeshPathFinderComponents & { log: Log };
  readonly #options: MeshPathFinderOptions;
  readonly #sockets: PathSocket[];
  readonly #uplinks: Uplinks;
  /** Asked of STUN servers while no relay tells it. */
  readonly #external: ExternalAddress;
  readonly #nat: NatWatch;
  readonly #portMapping: PathPortMapping | undefined;
  readonly #budget: PunchBudget;
  readonly #memory: PairMemory;
  readonly #relays: RelayPool;
  readonly #shared: SharedByPeers;
  readonly #peers = new Map<PeerId, MeshPeerPaths>();
  /** What a relay told last: told to the peers until another server answers, when relays are not reached over UDP any more. */
  #reflexive: Endpoint | undefined;
  readonly #stops: (() => void)[] = [];
  #closed = false;

  private constructor(components: MeshPathFinderComponents, options: MeshPathFinderOptions, sockets: PathSocket[]) {
    this.#components = { ...components, log: (components.log ?? silentLog).child('PATHS') };
    this.#options = options;
    this.#sockets = sockets;
    const { control, network, clock } = components;
    this.#budget = new PunchBudget({ clock }, { enabled: options.birthday });
    const { memory } = options;
    this.#memory = new PairMemory({ clock }, { snapshot: memory?.snapshot, onChange: memory?.save });
    const { party, self, wireGuardKey } = options;
    this.#relays = new RelayPool(
      { ...this.#components, socket: sockets[0]! },
      {
        party,
        self,
        wireGuardKey,
        relays: options.relays,
        authorities: options.relayAuthorities,
        wanted: () => this.#wantedRelays(),
        isUsed: (session) => [...this.#peers.values()].some(({ current }) => usesRelayed(current, session.relayed)),
        onSession: () => {
          this.#reflexive = this.#relays.sessions.find(({ reflexive }) => reflexive)?.reflexive ?? this.#reflexive;
          this.#external.restart();
          // The figures tell which address the peers are to use: they are to know it before they have verified a path to it.
          this.#figuresChanged();
          this.#transportsChanged();
        },
        onFigures: () => this.#figuresChanged(),
      },
    );
    this.#nat = new NatWatch(this.#components, {
      servers: (signal) => this.#relays.stunServers(signal),
      onChange: () => this.#transportsChanged(),
      onUdp: () => this.#relays.retryUdp(),
    });
    this.#uplinks = new Uplinks(this.#components, {
      isOwnInterface: options.isOwnInterface,
      servers: (signal) => this.#relays.stunServers(signal),
      keepAliveMs: () => this.#nat.keepAliveMs,
      onChange: () => this.#transportsChanged(),
    });
    let isFirst = true;
    // Relays that are used over TCP tell none: UDP may have been blocked when they were asked, or they answered sooner over TCP.
    this.#external = new ExternalAddress(this.#components, sockets[0]!, {
      servers: async (signal) => {
        // The relays are asked at this moment.
        const mayBeTold = isFirst || this.#isExternalKnown;
        isFirst = false;
        return mayBeTold ? [] : this.#relays.stunServers(signal);
      },
      keepAliveMs: () => this.#nat.keepAliveMs,
      onChange: () => this.#transportsChanged(),
    });
    const [socket] = sockets;
    if (options.portMapping !== false && socket !== undefined) {
      this.#portMapping = new PathPortMapping(this.#components, socket.local.port, () => this.#transportsChanged());
    }
    this.#shared = this.#share();
    const changes = network.changes.subscribe((list) => {
      // The members' own interfaces come and go with this program, and carry nothing of its own.
      const foreign = list.filter((change) => !('name' in change && options.isOwnInterface?.(change.name)));
      if (foreign.length > 0) this.#networkChanged(foreign);
    });
    this.#stops.push(
      () => changes[Symbol.dispose](),
      control.events.on('signal', ({ party, from, data }) => {
        if (party === options.party) this.#peers.get(from)?.receive(data);
      }),
      control.events.on('relays', () => {
        this.#relays.update();
        this.#uplinks.update();
        if (this.#nat.report?.udp !== true) this.#nat.restart();
      }),
      control.events.on('presence', ({ party }) => {
        if (party === options.party) this.#relays.update();
      }),
      control.events.on('party', ({ id }) => {
        if (id === options.party) this.#relays.update();
      }),
      control.events.on('server', ({ connected }) => {
        if (connected) for (const peer of this.#peers.values()) peer.refresh(PathReason.signallingBack);
      }),
    );
  }

  /** Binds the path sockets. @throws NetError when no socket can be bound. */
  static async open(components: MeshPathFinderComponents, options: MeshPathFinderOptions): Promise<MeshPathFinder> {
    const { network } = components;
    const sockets = [await openPathSocket(network, 4, options)];
    if (hasGlobalIpv6(network)) sockets.push(await openPathSocket(network, 6, options));
    return new MeshPathFinder(components, options, sockets);
  }

  /** @throws ConnectionError `bad-peer` when the peer's key is no usable key. */
  open(options: PeerPathsOptions): PeerPaths {
    const { party, self, wireGuardKey } = this.#options;
    const { peer } = options;
    const secrets = pairSecrets({ party, self, peer: peer.id, own: wireGuardKey, theirs: peer.wireGuardKey });
    if (secrets === undefined) {
      throw new ConnectionError('bad-peer', `${peer.name} has a WireGuard key that cannot be used.`, {
        target: peer.id,
      });
    }
    const { control } = this.#components;
    const paths = new MeshPeerPaths(
      {
        shared: this.#shared,
        signal: (data) => control.signal(party, peer.id, data),
        onClosed: () => {
          if (this.#peers.get(peer.id) === paths) this.#peers.delete(peer.id);
          if (!this.#closed) this.#relays.update();
        },
      },
      options,
      secrets,
    );
    this.#peers.set(peer.id, paths);
    return paths;
  }

  /** UDP port of the path socket of IPv4. */
  get port(): number {
    return this.#sockets[0]!.local.port;
  }

  async describeNat(): Promise<string | undefined> {
    return this.#nat.report?.name;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const stop of this.#stops.splice(0)) stop();
    await Promise.all([...this.#peers.values()].map((peer) => peer.close()));
    await Promise.all([this.#nat, this.#portMapping, this.#uplinks, this.#external].map((each) => each?.close()));
    await this.#relays.close();
    await Promise.all(this.#sockets.map((socket) => socket.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** One object for all peers: there may be thousands. */
  #share(): SharedByPeers {
    const { network, clock, random, log } = this.#components;
    const nat = this.#nat;
    return {
      network,
      clock,
      random,
      log,
      nat,
      pathTimes: monitorTimes({
        suspectAfter: 2,
        replaceAfter: 3,
        consentMs: CONSENT_MS,
        // A NAT forgets a mapping that is idle for too long.
        get idleIntervalMs() {
          return nat.keepAliveMs;
        },
      }),
      budget: this.#budget,
      memory: this.#memory,
      transports: () => this.#transports(),
      candidates: () => this.#candidates(),
      localNetworks: () => localNetworks(network, this.#options.isOwnInterface),
      isInTunnel: (address) => this.#isInTunnel(address),
      isRelayAddress: (address) => this.#relays.isRelayAddress(address),
      relayAt: (address) => this.#relays.relayAt(address),
      relayFigures: () => this.#relays.figures(),
      onRelaysWanted: () => this.#relays.update(),
      onRelaySuspect: (key) => this.#relays.suspect(key),
      onRelaysNeeded: (through) => this.#relays.verify(through),
    };
  }

  #transports(): readonly PathTransport[] {
    return [...this.#sockets, ...this.#uplinks.sockets, ...this.#relays.sessions];
  }

  #isInTunnel(address: string): boolean {
    const { isOwnInterface, isRoutedIntoTunnel } = this.#options;
    if (isRoutedIntoTunnel?.(address) === true) return true;
    if (isOwnInterface === undefined) return false;
    const others = (name: string) => !isOwnInterface(name);
    return localNetworks(this.#components.network, others).some((subnet) => inSubnet(address, subnet));
  }

  get #isExternalKnown(): boolean {
    return this.#relays.sessions.some(({ reflexive }) => reflexive !== undefined);
  }

  #candidates(): MeshCandidate[] {
    return localCandidates({
      network: this.#components.network,
      sockets: this.#sockets,
      uplinks: this.#uplinks,
      external: this.#isExternalKnown ? undefined : (this.#external.endpoint ?? this.#reflexive),
      relays: this.#relays.sessions,
      mapped: this.#portMapping?.external,
      nat: this.#nat.report,
      isOwnInterface: this.#options.isOwnInterface,
    });
  }

  /** Those of pairs whose data goes over a relay first. */
  #wantedRelays(): RelayKey[] {
    const peers = [...this.#peers.values()];
    const relayed = peers.filter(({ current }) => current?.kind === 'relay');
    return [...relayed, ...peers.filter((peer) => !relayed.includes(peer))].flatMap(({ wantedRelays }) => wantedRelays);
  }

  #figuresChanged(): void {
    if (this.#closed) return;
    this.#relays.update();
    for (const peer of this.#peers.values()) peer.figuresChanged();
  }

  /** Binds a path socket for IPv6 when the machine has got an address of it. */
  async #openIpv6(): Promise<void> {
    const { network, log } = this.#components;
    if (this.#sockets.some(({ family }) => family === 6) || !hasGlobalIpv6(network)) return;
    try {
      const socket = await openPathSocket(network, 6, this.#options);
      if (this.#closed || this.#sockets.some(({ family }) => family === 6)) await socket.close();
      else this.#sockets.push(socket);
      this.#transportsChanged();
    } catch (error) {
      log.debug(`No path socket for IPv6: ${errorMessage(error)}`);
    }
  }

  #transportsChanged(): void {
    if (!this.#closed) for (const peer of this.#peers.values()) peer.transportsChanged();
  }

  #networkChanged(changes: readonly NetworkChange[]): void {
    this.#nat.restart();
    this.#budget.renew();
    this.#portMapping?.restart();
    this.#external.restart();
    this.#uplinks.update();
    void this.#openIpv6();
    // What was only added does not end what was there: relayed addresses are kept, and paths over them.
    if (changes.some(({ kind }) => kind !== 'interface-up' && kind !== 'address-added')) {
      this.#reflexive = undefined;
      this.#relays.restart();
    } else this.#relays.retryUdp();
    const isTimeOnly = changes.every(({ kind }) => kind === 'sleep' || kind === 'clock-jump');
    const reason = isTimeOnly ? PathReason.clockJumped : PathReason.networkChanged;
    for (const peer of this.#peers.values()) peer.refresh(reason);
  }
}

/** @throws NetError as {@link Network.bindUdp}. */
async function openPathSocket(
  network: Network,
  family: 4 | 6,
  { port = 0, preferredPort = 0 }: MeshPathFinderOptions,
): Promise<PathSocket> {
  if (port === 0 && preferredPort !== 0) {
    try {
      return await PathSocket.open(network, family, preferredPort);
    } catch (error) {
      // Another program has it now.
      if (errorCode(error) !== 'address-in-use') throw error;
    }
  }
  return PathSocket.open(network, family, port);
}

/** True for a path over this machine's own relayed address. */
function usesRelayed(path: PeerPath | undefined, relayed: Endpoint | undefined): boolean {
  return path?.kind === 'relay' && relayed !== undefined && sameEndpoint(path.local, relayed);
}

function hasGlobalIpv6(network: Network): boolean {
  return network.interfaces().some(({ family, address }) => family === 6 && addressScope(address) === 'global');
}
