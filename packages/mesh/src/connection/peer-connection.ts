import {
  type Clock,
  errorMessage,
  Events,
  type Log,
  type PathKind,
  PathReason,
  policyAllows,
  type Timer,
} from '@towpath/core';
import type { PartyId, PeerId } from '@towpath/membership';
import { formatEndpoint } from '@towpath/net';
import type { MeshPeer } from '../control-plane.ts';
import {
  HEALTH,
  PeerHealth,
  type PeerHealthComponents,
  type PeerHealthEvents,
  type PeerStatus,
} from '../health/peer-health.ts';
import { DataPlane, type DataPlaneComponents } from '../hop/data-plane.ts';
import type { PeerPath } from '../peer-path.ts';
import type { PathFinder, PeerPaths, PeerPathsOptions } from '../peer-paths.ts';
import { MeshReason, type Reason } from '../reason.ts';
import { OtherVersions } from '../other-versions.ts';
import { foreignAnnouncement } from '../relays/relay-announcement.ts';
import type { WireGuardPeer } from '../wireguard/device.ts';
import type { ConnectionStatus, ConnectionStrategy, PeerChangeEvent } from './connection-status.ts';
import type { PeerNetwork } from './peer-network.ts';
import { PeerMtu } from './peer-mtu.ts';
import { PeerTraffic, type TrafficChange } from './peer-traffic.ts';

/** The same for all peers: there may be thousands. */
export interface PeerConnectionComponents {
  clock: Clock;
  log: Log;
  machine: PeerNetwork;
  paths: PathFinder;
  dataPlane: DataPlaneComponents;
  health: PeerHealthComponents;
}

export interface PeerConnectionOptions extends Pick<PeerPathsOptions, 'policy' | 'redundancy'> {
  party: PartyId;
  /** This node. */
  self: PeerId;
  peer: MeshPeer;
  /** The peer's address in the party's network. */
  virtualIp: string;
  /** Networks beside the peer that this node accepts; {@link PeerConnection.setAcceptedNetworks} changes them. */
  acceptedNetworks: readonly string[];
}

/** A handshake is not begun anew more often than this, ms. */
const RESTART_SPACING_MS = 1_000;
/** A handshake that was sent on a path so long ago is lost: WireGuard would repeat it after 5 s only. */
const HANDSHAKE_MS = 1_500;
/** So many echoes lost in a row over one path, whose checks are answered, show that it loses WireGuard's packets. */
const LOST_ECHOES = 2;
/** So many echoes in a row over a relay that all took {@link HEALTH.slowMs} show that it is slow (C8). */
const SLOW_ECHOES = 3;
const SLOW_RELAY_MS = 60_000;
/** Reasons of a status that say no more than that no echo is answered. */
const UNANSWERED: ReadonlySet<Reason> = new Set([MeshReason.pathNew, MeshReason.echoLost, MeshReason.reconnectFailed]);
const KINDS: readonly PathKind[] = ['lan', 'p2p', 'relay'];

/** One peer: its paths, its data plane, its health, and its place in WireGuard. */
export class PeerConnection implements AsyncDisposable {
  readonly events: Events<{ changed: PeerChangeEvent }> = new Events();
  readonly peerId: PeerId;
  readonly virtualIp: string;
  readonly #components: PeerConnectionComponents;
  readonly #options: PeerConnectionOptions;
  #isClosing = false;
  readonly #dataPlane: DataPlane;
  readonly #paths: PeerPaths;
  #health!: PeerHealth;
  #peer: MeshPeer;
  #pathReason: Reason = MeshReason.noPath;
  #connectedAtMs: number | undefined;
  #statistics: WireGuardPeer | undefined;
  #accepted: readonly string[];
  #accepting: Promise<void> = Promise.resolve();
  #mtu!: PeerMtu;
  #restartedAtMs = Number.NEGATIVE_INFINITY;
  readonly #traffic = new PeerTraffic();
  #hopPackets = 0;
  /** Looks whether the handshake on a new path was answered. */
  #handshake: Timer | undefined;
  #selectedAtMs = Number.NEGATIVE_INFINITY;
  /** Echoes lost in a row: now, and when the path was selected. */
  #missed = 0;
  #missedBefore = 0;
  /** Round trips of the echoes over this path that took long in a row, ms. */
  #slowMs: readonly number[] = [];
  #relayCheckedAtMs = Number.NEGATIVE_INFINITY;
  #closed: Promise<void> | undefined;
  /** The last echo of the peer came in a version that is not read here. */
  #speaksOtherVersion = false;
  readonly #otherVersions: OtherVersions;

  private constructor(components: PeerConnectionComponents, options: PeerConnectionOptions, dataPlane: DataPlane) {
    this.#components = components;
    this.#options = options;
    this.#peer = options.peer;
    this.peerId = options.peer.id;
    this.virtualIp = options.virtualIp;
    this.#accepted = options.acceptedNetworks;
    this.#otherVersions = new OtherVersions(components, options);
    this.#dataPlane = dataPlane;
    this.#paths = components.paths.open({
      party: options.party,
      peer: options.peer,
      policy: options.policy,
      redundancy: options.redundancy,
      onDatagram: (datagram, _path, answer) => dataPlane.deliver(datagram, answer),
      onChecked: (send) => dataPlane.initiate(send),
    });
  }

  /**
   * Begins to connect: configures WireGuard, opens paths and the monitor. When a step fails, the steps before it are undone.
   * @throws MeshError `wireguard-failed`, NetError.
   */
  static async open(components: PeerConnectionComponents, options: PeerConnectionOptions): Promise<PeerConnection> {
    const { machine } = components;
    const { peer, virtualIp, acceptedNetworks } = options;
    const publicKey = peer.wireGuardKey;
    const dataPlane = await DataPlane.open(components.dataPlane, {
      publicKey,
      yieldsHandshake: options.self > peer.id,
      sendEcho: () => machine.echo.touch(virtualIp),
    });
    let opened: PeerConnection | undefined;
    try {
      const allowedIps = [`${virtualIp}/32`, ...acceptedNetworks];
      await machine.addPeer({ publicKey, endpoint: dataPlane.hopEndpoint, allowedIps });
      for (const network of acceptedNetworks) await machine.addRoute(network);
      opened = new PeerConnection(components, options, dataPlane);
      opened.#start();
      return opened;
    } catch (error) {
      await dataPlane.close();
      for (const network of acceptedNetworks) await machine.removeRoute(network).catch(() => {});
      await machine.removePeer(publicKey).catch(() => {});
      throw error;
    }
  }

  get party(): PartyId {
    return this.#options.party;
  }

  get peerInfo(): MeshPeer {
    return this.#peer;
  }

  get status(): PeerStatus {
    return this.#health.status;
  }

  get strategy(): ConnectionStrategy | undefined {
    return this.#path && (this.#path.kind === 'relay' ? 'relay' : 'direct');
  }

  get endpoint(): string | undefined {
    return this.#path && formatEndpoint(this.#path.remote);
  }

  get connectedAt(): Date | undefined {
    return this.#connectedAtMs === undefined ? undefined : new Date(this.#connectedAtMs);
  }

  /** The peer's paths with what is known of each, and their time line. */
  get paths(): Pick<PeerPaths, 'status' | 'log' | 'events' | 'configure' | 'refresh' | 'probesSent'> {
    return this.#paths;
  }

  /** Everything that is known, for people and programs. */
  describe(): ConnectionStatus {
    const path = this.#path;
    const handshakeMs = this.#statistics?.lastHandshakeMs;
    return {
      peerId: this.peerId,
      name: this.#peer.name,
      virtualIp: this.virtualIp,
      endpoint: this.endpoint,
      strategy: this.strategy,
      latencyMs: this.#health.rttMs,
      connectedAt: this.connectedAt?.toISOString(),
      status: this.#health.status,
      reason: this.#statusReason,
      online: this.#peer.online,
      path: path && { id: path.id, kind: path.kind, relay: path.relay },
      pathReason: this.#paths.refusedBy !== undefined ? PathReason.policy : this.#pathReason,
      refusedBy: this.#paths.refusedBy,
      policy: this.#paths.policy,
      peerPolicy: this.#paths.peerPolicy,
      isRefusedByPeer: this.#isRefusedByPeer,
      relayReason: path?.kind === 'relay' ? this.#paths.relayReason : undefined,
      dataPlane: this.#dataPlane.kind,
      dataPlaneReason: this.#dataPlane.reason,
      lossRatio: this.#health.lossRatio,
      mtuBytes: this.#mtu.bytes,
      receivedBytes: this.#statistics?.receivedBytes ?? 0,
      sentBytes: this.#statistics?.sentBytes ?? 0,
      lastHandshakeAt: handshakeMs === undefined ? undefined : new Date(handshakeMs).toISOString(),
    };
  }

  /** Resolves when an echo through the tunnel is answered. @throws the signal's reason. */
  reached(signal: AbortSignal): Promise<void> {
    return this.#health.reached(signal);
  }

  /** Takes over what the control plane says of the peer now. */
  update(peer: MeshPeer): void {
    const cameBack = peer.online && !this.#peer.online;
    this.#peer = peer;
    this.#lookAtAnnouncement();
    if (cameBack && !this.#health.isReached) {
      this.#paths.refresh(PathReason.signallingBack);
      this.#health.wake();
    }
  }

  /** Begins anew at once: the network has changed, or somebody asks for it. */
  refresh(reason: PathReason): void {
    this.#paths.refresh(reason);
    this.#health.wake();
  }

  /** The peer said that it leaves. */
  left(): void {
    this.#health.left();
  }

  /** An echo of the peer arrived in another version: it reaches us, and does not read what is sent to it either. */
  heardForeign(version: number): void {
    this.#otherVersions.ignored('An echo', { version });
    this.#speaksOtherVersion = true;
  }

  /** An echo of the peer arrived: it reaches us. */
  heard(): void {
    this.#speaksOtherVersion = false;
    if (!this.#health.isReached) this.#health.wake();
  }

  /** Data was carried lately, so that a loss should be noticed soon. */
  get isInUse(): boolean {
    return this.#traffic.isInUse;
  }

  /** Takes over a reading of WireGuard: statistics, activity, and endpoints that must be repaired. */
  async observe(reading: WireGuardPeer): Promise<void> {
    this.#statistics = reading;
    const change = this.#traffic.take(this.#components.clock.now(), reading);
    if (change !== undefined) {
      this.#observeSplice(change);
      // A busy peer that falls silent may be behind a NAT that has forgotten us: only what we send opens it again.
      if (change.fellSilent) this.#health.wake();
      else if (change.isBusy) this.#health.active();
      if (this.#traffic.isInUse) void this.#mtu.inUse();
    }
    await this.#dataPlane.repair(reading);
  }

  /** What the kernel carries, the path sockets do not see. */
  #observeSplice({ receivedBytes, sentBytes, sinceMs, isBusy }: TrafficChange): void {
    const path = this.#path;
    const { receivedPackets } = this.#dataPlane.counters;
    // What came over the hop came on another path.
    const isHop = receivedPackets > this.#hopPackets;
    this.#hopPackets = receivedPackets;
    if (path === undefined || this.#dataPlane.kind !== 'splice') return;
    if (sentBytes > 0) this.#paths.sent(path, sinceMs);
    if (receivedBytes > 0 && !isHop) this.#paths.heard(path, isBusy);
    else if (sentBytes > 0) this.#paths.unanswered(path, sinceMs);
  }

  /** For {@link PeerMtu}. */
  mtuChanged(): void {
    this.#changed('mtu', this.#pathReason);
  }

  /** Removes the peer from WireGuard and ends everything of it. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #path(): PeerPath | undefined {
    return this.#paths.current;
  }

  /** Why it has its status: what the echoes tell, or why none is answered where that is known. */
  get #statusReason(): Reason {
    const { status, reason } = this.#health;
    if (this.#speaksOtherVersion && UNANSWERED.has(reason)) return MeshReason.otherVersion;
    if (status !== 'connecting' || reason !== MeshReason.pathNew) return reason;
    if (this.#paths.refusedBy !== undefined || this.#isRefusedByPeer) return PathReason.policy;
    return this.#path === undefined ? MeshReason.noPath : reason;
  }

  get #isRefusedByPeer(): boolean {
    const { policy, peerPolicy } = this.#paths;
    if (peerPolicy === undefined || this.#health.isReached) return false;
    if (this.#paths.isRefusedByPeer) return true;
    const kinds: readonly PathKind[] = this.#path
      ? [this.#path.kind]
      : KINDS.filter((kind) => policyAllows(policy, kind));
    return !kinds.some((kind) => policyAllows(peerPolicy, kind));
  }

  /** A relay of another version is not used; a person is told once. */
  #lookAtAnnouncement(): void {
    const { announcement } = this.#peer;
    const version = announcement && foreignAnnouncement(announcement);
    if (version !== undefined) this.#otherVersions.ignored('The relay', { version });
  }

  #start(): void {
    this.#lookAtAnnouncement();
    const { clock, health } = this.#components;
    this.#health = new PeerHealth(health, {
      address: this.virtualIp,
      target: this.#peer.name,
      onReconnect: (attempt) => this.#reconnect(attempt),
    });
    this.#mtu = new PeerMtu(this.#components, this.#health, this);
    this.#health.events.on('status', ({ status, reason }) => {
      if (status === 'connected') this.#connectedAtMs ??= clock.wallTime();
      if (reason === MeshReason.echoSlow) this.#lookForBetterRelay();
      this.#changed('status', reason);
    });
    this.#health.events.on('missed', ({ count, sinceMs }) => {
      this.#paths.probe();
      this.#missed = count;
      // Echoes of before the path was selected tell nothing of it, and one may have been on its way then.
      const onThisPath = sinceMs >= this.#selectedAtMs ? count : count - this.#missedBefore - 1;
      if (onThisPath >= LOST_ECHOES) this.#paths.dataLost(onThisPath);
    });
    this.#health.events.on('answered', (answer) => this.#answered(answer));
    this.#health.events.on('measured', () => {
      this.#missed = 0;
      this.#paths.dataCarried();
    });
    this.#dataPlane.events.on('changed', ({ reason }) => this.#changed('data-plane', reason));
    this.#paths.events.on('selected', ({ path, also, reason }) => this.#selected(path, also, reason));
    if (this.#path !== undefined) this.#selected(this.#path, this.#paths.also, PathReason.first);
  }

  #selected(path: PeerPath | undefined, also: PeerPath | undefined, reason: PathReason): void {
    const before = this.#dataPlane.path;
    this.#dataPlane.setPaths(path, also);
    if (path === before) return;
    const nowMs = this.#components.clock.now();
    const isOverdue = before !== undefined && nowMs - this.#selectedAtMs > HANDSHAKE_MS;
    this.#selectedAtMs = nowMs;
    this.#missedBefore = this.#missed;
    this.#slowMs = [];
    this.#pathReason = path === undefined ? MeshReason.noPath : reason;
    this.#changed('path', this.#pathReason);
    if (path === undefined) return;
    if (isOverdue && !this.#health.isReached) this.#restartHandshake();
    this.#awaitHandshake();
    this.#health.moved();
    void this.#mtu.test();
  }

  /** A single echo that takes long tells little: the next ones follow at once, and checks on all paths to compare with. */
  #answered({ rttMs, sinceMs }: PeerHealthEvents['answered']): void {
    if (sinceMs < this.#selectedAtMs) return;
    if (rttMs < HEALTH.slowMs || this.#path?.kind !== 'relay') {
      this.#slowMs = [];
      return;
    }
    this.#slowMs = [...this.#slowMs, rttMs].slice(-SLOW_ECHOES);
    if (this.#slowMs.length === SLOW_ECHOES) this.#paths.dataSlow(Math.min(...this.#slowMs));
    else {
      this.#paths.probe();
      this.#health.wake();
    }
  }

  #reconnect(attempt: number): void {
    const nowMs = this.#components.clock.now();
    if (attempt > 1 && nowMs - this.#selectedAtMs >= HEALTH.tryMs) this.#paths.dataLost();
    this.#paths.refresh(PathReason.requested);
    if (attempt > 1) this.#restartHandshake();
  }

  #restartHandshake(): void {
    const { clock, machine, log } = this.#components;
    const nowMs = clock.now();
    // The data plane sets the endpoint while it moves; a peer that is made again would have the one before.
    if (nowMs - this.#restartedAtMs < RESTART_SPACING_MS || this.#dataPlane.kind === 'splice') return;
    this.#restartedAtMs = nowMs;
    machine
      .restartPeer(this.#peer.wireGuardKey)
      .then(() => machine.echo.touch(this.virtualIp))
      .catch((error: unknown) => log.debug('WireGuard did not begin anew.', { error: errorMessage(error) }));
  }

  /**
   * The first handshake may leave before the other end knows the path, whose answer then goes astray: a peer whose process was
   * replaced still has the path before.
   */
  #awaitHandshake(): void {
    this.#handshake?.cancel();
    this.#handshake = this.#components.clock.timer(HANDSHAKE_MS, () => {
      this.#handshake = undefined;
      if (!this.#health.isReached) this.#restartHandshake();
    });
  }

  /** A relay that takes long is compared with others (C8). */
  #lookForBetterRelay(): void {
    const nowMs = this.#components.clock.now();
    if (this.#path?.kind !== 'relay' || nowMs - this.#relayCheckedAtMs < SLOW_RELAY_MS) return;
    this.#relayCheckedAtMs = nowMs;
    this.#paths.refresh(PathReason.requested);
  }

  /** Replaces the networks that are accepted from the peer. @throws MeshError `wireguard-failed`, `command-failed`. */
  setAcceptedNetworks(networks: readonly string[]): Promise<void> {
    const change = this.#accepting.then(() => this.#accept(networks));
    // The next change begins also after a failed one, which its caller hears of.
    this.#accepting = change.catch(() => {});
    return change;
  }

  #changed(what: PeerChangeEvent['what'], reason: Reason): void {
    if (this.#isClosing) return;
    this.events.emit('changed', { peerId: this.peerId, what, reason, status: this.describe() });
  }

  async #accept(networks: readonly string[]): Promise<void> {
    if (this.#isClosing) return;
    const before = this.#accepted;
    const { machine } = this.#components;
    const { wireGuardKey: publicKey } = this.#peer;
    // WireGuard knows a network before packets for it are routed there.
    await machine.addPeer({ publicKey, allowedIps: [`${this.virtualIp}/32`, ...networks] });
    this.#accepted = networks;
    for (const network of before.filter((each) => !networks.includes(each))) await machine.removeRoute(network);
    for (const network of networks.filter((each) => !before.includes(each))) await machine.addRoute(network);
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    this.#handshake?.cancel();
    this.#mtu.end('The connection is closed.');
    const { machine } = this.#components;
    try {
      await this.#health.stop();
      await this.#paths.close();
      await this.#dataPlane.close();
      await machine.setPeerMtu(this.virtualIp, undefined);
      await this.#accepting;
      for (const network of this.#accepted) await machine.removeRoute(network);
    } finally {
      // Whatever fails: a member that was removed must not stay in WireGuard.
      await machine.removePeer(this.#peer.wireGuardKey);
    }
  }
}
