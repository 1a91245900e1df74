import {
  AbortedError,
  allDone,
  type Clock,
  deadline,
  deadlineInterval,
  errorMessage,
  Events,
  type Log,
  PathReason,
  type Random,
  silentLog,
  type Timer,
} from '@towpath/core';
import type { PartyId, PeerId } from '@towpath/membership';
import type { Network } from '@towpath/net';
import { parseVirtualNetwork } from '../addresses/virtual-network.ts';
import type { ControlPlane, MeshPeer } from '../control-plane.ts';
import { decodeHeadNote } from '../health/head-note.ts';
import { MeshError } from '../mesh-error.ts';
import type { NamedMember } from '../names/names.ts';
import { MeshReason } from '../reason.ts';
import { type AcceptedNetwork, ConnectionCoordinator, type CoordinatorOptions } from './connection-coordinator.ts';
import { ConnectionError } from './connection-error.ts';
import type { ConnectionStatus, PeerChangeEvent } from './connection-status.ts';
import type { NATTraversal } from './nat-traversal.ts';
import type { PeerConnection } from './peer-connection.ts';
import type { PeerNetwork } from './peer-network.ts';

/** What a {@link ConnectionManager} is configured with; the same for all peers of one party. */
export interface ConnectionConfig extends Omit<CoordinatorOptions, 'virtualNetwork'> {
  components: { network: Network; clock: Clock; random: Random; log?: Log | undefined };
  /** @default '10.66.0.0/16' */
  virtualNetwork?: string;
  /** How long {@link ConnectionManager.connectToPeer} waits for the first echo, ms. @default 30000 */
  connectTimeoutMs?: number;
}

export interface ConnectionManagerEvents {
  changed: PeerChangeEvent;
}

const DEFAULT_NETWORK = '10.66.0.0/16';
const DEFAULT_CONNECT_TIMEOUT_MS = 30_000;
/** WireGuard is read this often while a peer is in use, ms; a party of many, whose reading takes longer, less often. */
const READ_MS = 200;
const READ_MS_PER_PEER = 5;
/** While no peer is in use, ms. */
const IDLE_READ = { leastMs: 1_000, perPeerMs: 50, mostMs: 5_000 } as const;
const GOODBYES = 2;
const GOODBYE_MS = 40;

/** Connects to the peers of a party, keeps the connections, and says what became of them (C1). */
export class ConnectionManager implements AsyncDisposable {
  readonly events: Events<ConnectionManagerEvents> = new Events();
  readonly coordinator: ConnectionCoordinator;
  readonly #config: ConnectionConfig;
  readonly #machine: PeerNetwork;
  readonly #control: ControlPlane;
  readonly #log: Log;
  readonly #connections = new Map<PeerId, Promise<PeerConnection>>();
  readonly #open = new Map<PeerId, PeerConnection>();
  readonly #byAddress = new Map<string, PeerConnection>();
  readonly #stops: (() => void)[] = [];
  readonly #closing = new AbortController();
  #reader: Timer | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #isReading = false;
  #maintained: PartyId | undefined;
  #hasSuccessor = false;

  /**
   * @param network this machine's side; initialized.
   * @param nat finds paths.
   * @param control where peers are discovered.
   */
  constructor(config: ConnectionConfig, network: PeerNetwork, nat: NATTraversal, control: ControlPlane) {
    const virtualNetwork = parseVirtualNetwork(config.virtualNetwork ?? DEFAULT_NETWORK);
    if (virtualNetwork === undefined) {
      throw new MeshError('bad-argument', `"${config.virtualNetwork}" is no private IPv4 network of 16 bits.`);
    }
    this.#config = config;
    this.#machine = network;
    this.#control = control;
    const { components } = config;
    this.#log = components.log ?? silentLog;
    this.coordinator = new ConnectionCoordinator(
      { ...components, log: this.#log, machine: network, paths: nat.finder, splice: network.splice, control },
      { ...config, virtualNetwork },
    );
    this.#listen();
  }

  /** Peers that are connected or being connected. */
  get connections(): ReadonlyMap<PeerId, PeerConnection> {
    return this.#open;
  }

  /**
   * Connects to a peer and resolves with true when an echo through the tunnel is answered. Two calls for one peer share
   * one connection. When it fails, everything that was made for the peer is undone.
   * @throws ConnectionError `party-not-found`, `peer-not-found`, `not-reached`, `closed`; the signal's reason.
   */
  async connectToPeer(partyId: PartyId, peerId: PeerId, options: { signal?: AbortSignal } = {}): Promise<boolean> {
    const peer = this.coordinator.discover(partyId, peerId);
    const isNew = !this.#connections.has(peer.id);
    const connection = await this.#connection(partyId, peer);
    const limitMs = this.#config.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;
    const outer = AbortSignal.any([this.#closing.signal, ...(options.signal ? [options.signal] : [])]);
    using limit = deadline(this.#config.components.clock, limitMs, outer, () => notReached(connection, limitMs));
    try {
      await connection.reached(limit.signal);
      return true;
    } catch (error) {
      // Somebody else's connection stays, as does that of a party that is kept.
      if (isNew && this.#maintained !== partyId) await this.disconnectFromPeer(peer.id);
      throw error;
    }
  }

  /** Ends the connection to a peer; does nothing when there is none. The peer is told. */
  async disconnectFromPeer(peerId: PeerId): Promise<void> {
    const opening = this.#connections.get(peerId);
    if (opening === undefined) return;
    this.#connections.delete(peerId);
    const connection = await opening.catch(() => undefined);
    if (connection === undefined) return;
    await this.#sayGoodbye(connection);
    const status = connection.describe();
    this.#open.delete(peerId);
    this.#byAddress.delete(connection.virtualIp);
    await connection.close();
    this.events.emit('changed', { peerId, what: 'removed', reason: PathReason.shutdown, status });
  }

  /** The state of a peer; undefined when it is not connected. */
  async getConnectionStatus(peerId: PeerId): Promise<ConnectionStatus | undefined> {
    return this.#open.get(peerId)?.describe();
  }

  /** The state of every peer that is connected or being connected. */
  statuses(): ConnectionStatus[] {
    return [...this.#open.values()].map((connection) => connection.describe());
  }

  /** Sends echoes to a peer and returns their round trips, ms; undefined for one that was lost. */
  async ping(peerId: PeerId, options: { signal?: AbortSignal; timeoutMs?: number } = {}): Promise<number | undefined> {
    const connection = this.#open.get(peerId);
    if (connection === undefined) throw new ConnectionError('peer-not-found', `${peerId} is not connected.`);
    using limit = deadline(this.#config.components.clock, options.timeoutMs ?? 1_000, options.signal);
    try {
      return await this.#machine.echo.ping(connection.virtualIp, { signal: limit.signal });
    } catch (error) {
      if (limit.expired) return undefined;
      throw error;
    }
  }

  /**
   * Connects to every member of a party, and follows the party: members that join are connected, those that are removed
   * are disconnected. Peers that cannot be reached are tried without end.
   * @throws ConnectionError `party-not-found`.
   */
  async maintainParty(partyId: PartyId): Promise<void> {
    this.coordinator.party(partyId);
    this.#maintained = partyId;
    await this.#followParty();
  }

  /** Replaces the networks that are accepted from peers, also of those that are connected. @throws MeshError. */
  async setAccepted(accept: readonly AcceptedNetwork[]): Promise<void> {
    this.coordinator.accept = accept;
    await Promise.all(
      [...this.#open.values()].map((connection) =>
        connection.setAcceptedNetworks(this.coordinator.acceptedOf(connection.party, connection.peerInfo)),
      ),
    );
  }

  /** Says that the network has changed: everything is tried anew at once. */
  refresh(reason: PathReason = PathReason.networkChanged): void {
    for (const connection of this.#open.values()) connection.refresh(reason);
  }

  /** Says that another process goes on as this node as soon as this one has ended: the peers are not told that it leaves. */
  expectSuccessor(): void {
    this.#hasSuccessor = true;
  }

  /** Ends all connections; peers are told. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new AbortedError('The connection manager was closed.'));
    for (const stop of this.#stops.splice(0)) stop();
    this.#reader?.cancel();
    // What they use is closed next: it has to wait for all of them, also when one fails.
    await allDone([...this.#connections.keys()].map((peerId) => this.disconnectFromPeer(peerId)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A goodbye needs a moment to leave: what carries it is closed next. */
  async #sayGoodbye({ status, virtualIp }: PeerConnection): Promise<void> {
    if (this.#hasSuccessor || status === 'failed' || status === 'connecting') return;
    for (let sent = 0; sent < GOODBYES; sent++) {
      this.#machine.echo.sayGoodbye(virtualIp);
      await this.#config.components.clock.sleep(GOODBYE_MS);
    }
  }

  #connection(partyId: PartyId, peer: MeshPeer): Promise<PeerConnection> {
    const existing = this.#connections.get(peer.id);
    if (existing !== undefined) return existing;
    const opening = this.#begin(partyId, peer).catch((error: unknown) => {
      this.#connections.delete(peer.id);
      throw error;
    });
    this.#connections.set(peer.id, opening);
    return opening;
  }

  async #begin(partyId: PartyId, peer: MeshPeer): Promise<PeerConnection> {
    if (this.#closing.signal.aborted) throw new ConnectionError('closed', 'The connection manager was closed.');
    const connection = await this.coordinator.open(partyId, peer);
    this.#open.set(peer.id, connection);
    this.#byAddress.set(connection.virtualIp, connection);
    connection.events.on('changed', (change) => this.events.emit('changed', change));
    const status = connection.describe();
    this.events.emit('changed', { peerId: peer.id, what: 'added', reason: MeshReason.pathNew, status });
    return connection;
  }

  #listen(): void {
    const { clock } = this.#config.components;
    this.#stops.push(
      this.#control.events.on('party', ({ id }) => {
        if (id === this.#maintained) void this.#followParty();
      }),
      this.#control.events.on('presence', ({ peer }) => this.#open.get(peer.id)?.update(peer)),
      this.#machine.echo.events.on('goodbye', ({ address }) => this.#byAddress.get(address)?.left()),
      this.#machine.echo.events.on('foreign', ({ address, version }) =>
        this.#byAddress.get(address)?.heardForeign(version),
      ),
      this.#machine.echo.events.on('heard', ({ address, note }) => this.#heard(address, note)),
    );
    this.#reader = deadlineInterval({ clock, intervalMs: READ_MS, onTick: () => void this.#read() });
  }

  #heard(address: string, note: Uint8Array): void {
    const connection = this.#byAddress.get(address);
    if (connection === undefined) return;
    connection.heard();
    const head = decodeHeadNote(note);
    if (head !== undefined) this.#control.observeHead?.(connection.party, connection.peerId, head);
  }

  async #followParty(): Promise<void> {
    const partyId = this.#maintained;
    const party = partyId === undefined ? undefined : this.#control.party(partyId);
    if (partyId === undefined || party === undefined) return;
    const members = new Map(party.peers.map((peer) => [peer.id, peer]));
    for (const [peerId, connection] of [...this.#open]) {
      const member = members.get(peerId);
      const isSame = member && Buffer.from(member.wireGuardKey).equals(connection.peerInfo.wireGuardKey);
      if (isSame) connection.update(member);
      else await this.disconnectFromPeer(peerId);
    }
    const opened = await Promise.allSettled(party.peers.map((peer) => this.#connection(partyId, peer)));
    for (const result of opened) {
      if (result.status === 'rejected') this.#log.warn('A peer was left out.', { error: errorMessage(result.reason) });
    }
    await this.#publish(party.name, [party.self, ...party.peers]);
  }

  /** Names and broadcast receivers; a machine without them still has its peers. */
  async #publish(partyName: string, members: readonly NamedMember[]): Promise<void> {
    try {
      const named = members.map((member) => ({ ...member, virtualAddress: this.coordinator.virtualIpOf(member) }));
      this.#machine.setNames(partyName, named);
      await this.#machine.setReceivers([...this.#open.values()].map(({ virtualIp }) => virtualIp));
    } catch (error) {
      this.#log.warn('Names or broadcast forwarding could not be set.', { error: errorMessage(error) });
    }
  }

  async #read(): Promise<void> {
    if (this.#open.size === 0 || this.#closing.signal.aborted || this.#isReading) return;
    const nowMs = this.#config.components.clock.now();
    const isInUse = [...this.#open.values()].some((connection) => connection.isInUse);
    const { size } = this.#open;
    const idleMs = Math.min(IDLE_READ.mostMs, Math.max(IDLE_READ.leastMs, size * IDLE_READ.perPeerMs));
    const intervalMs = isInUse ? Math.max(READ_MS, size * READ_MS_PER_PEER) : idleMs;
    if (nowMs - this.#readAtMs < intervalMs - READ_MS / 2) return;
    this.#readAtMs = nowMs;
    this.#isReading = true;
    try {
      const { peers } = await this.#machine.read();
      const readings = new Map(peers.map((peer) => [Buffer.from(peer.publicKey).toString('hex'), peer]));
      for (const connection of this.#open.values()) {
        const reading = readings.get(Buffer.from(connection.peerInfo.wireGuardKey).toString('hex'));
        if (reading !== undefined) await connection.observe(reading);
      }
    } catch (error) {
      this.#log.debug('WireGuard could not be read.', { error: errorMessage(error) });
    } finally {
      this.#isReading = false;
    }
  }
}

function notReached(connection: PeerConnection, limitMs: number): ConnectionError {
  const { name, virtualIp, online, path } = connection.describe();
  const why = online
    ? path === undefined
      ? 'no path to it was found'
      : `it did not answer through the tunnel over ${path.id}`
    : 'it is not connected to the control plane';
  return new ConnectionError(
    'not-reached',
    `${name} (${virtualIp}) was not reached within ${Math.round(limitMs / 1_000)} s: ${why}. Next: run "towpath why ${name}".`,
    { target: connection.peerId },
  );
}
