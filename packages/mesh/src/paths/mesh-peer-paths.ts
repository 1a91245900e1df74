import {
  AbortedError,
  type Clock,
  errorMessage,
  Events,
  type Log,
  type PathPolicy,
  PathReason,
  PathSet,
  type PathStatus,
  type Random,
  RateLimit,
  Tasks,
  TowpathError,
  Wakeup,
  backoff,
} from '@towpath/core';
import {
  addressFamily,
  type Endpoint,
  formatEndpoint,
  inSubnet,
  isPrivateAddress,
  type Network,
  sameEndpoint,
  type Subnet,
} from '@towpath/net';
import { ConnectivityChecks, type StunDemultiplexer, type VerifiedPath } from '@towpath/stun';
import { carriesData, WIREGUARD_DATA } from '../health/echo-message.ts';
import type { PeerPath, PlainEnds } from '../peer-path.ts';
import type { PathLogEntry, PeerPaths, PeerPathsEvents, PeerPathsOptions } from '../peer-paths.ts';
import { MeshReason, type Reason } from '../reason.ts';
import {
  type CandidateSignal,
  decodeCandidateSignal,
  encodeCandidateSignal,
  type MeshCandidate,
} from './candidate-signal.ts';
import { RelayAgreement } from '../relays/relay-agreement.ts';
import type { RelayKey } from '../relays/relay-key.ts';
import type { RelayFigure } from '../relays/relay-signal.ts';
import { EarlyHandshake } from './early-handshake.ts';
import type { NatWatch } from './nat-watch.ts';
import type { PairMemory } from './pair-memory.ts';
import type { PairSecrets } from './pair-secrets.ts';
import type { PathTransport } from './path-socket.ts';
import type { PunchBudget } from './punch-budget.ts';
import { decodePunchSignal } from './punch-signal.ts';
import { PeerPunching } from './peer-punching.ts';
import { SentHistory } from './sent-history.ts';
import { PeerTransports, transportEnds, transportId } from './peer-transports.ts';

/** What the paths of all peers use of the finder that they share. */
export interface SharedByPeers {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  /** Path sockets and relayed addresses at this moment. */
  transports(): readonly PathTransport[];
  /** Own candidates at this moment. */
  candidates(): readonly MeshCandidate[];
  /** Networks of this machine's interfaces. */
  localNetworks(): readonly Subnet[];
  /** True for addresses that this machine reaches through WireGuard: a path to them would carry itself. */
  isInTunnel(address: string): boolean;
  /** True for addresses of relays. */
  isRelayAddress(address: string): boolean;
  /** The relay that was measured at an address. */
  relayAt(address: string): RelayKey | undefined;
  /** What this member has measured of its relays. */
  relayFigures(): readonly RelayFigure[];
  /** The relays that the pair wants have changed. */
  onRelaysWanted(): void;
  /** A path through the relay has died. */
  onRelaySuspect(key: RelayKey): void;
  nat: NatWatch;
  budget: PunchBudget;
  memory: PairMemory;
}

export interface MeshPeerPathsComponents {
  shared: SharedByPeers;
  /** Sends a message to the peer. */
  signal(data: Uint8Array): Promise<void>;
  /** Called once when everything is released. */
  onClosed(): void;
}

interface MeshPath extends PeerPath {
  plain: PlainEnds | undefined;
  readonly transport: PathTransport;
  readonly rttMs: number;
  readonly sent: SentHistory;
}

const MAX_LOG = 200;
/** Direct paths are looked for again: 5, 10, 20, 40, 60 s …: docs/protocol/connectivity.md, "Reconnecting". */
const AGAIN = { baseMs: 5_000, maxMs: 60_000 };
const PROBE_TIMEOUT_MS = 5_000;
/** Messages of the peer that are taken: each may be answered, and this node's own messages are limited by the server. */
const SIGNALS = { perSecond: 10, burst: 100 };
/** Permissions that relays are asked for: the requests of this node there are limited as well. */
const PERMISSIONS = { perSecond: 16, burst: 256 };
/**
 * While the peer's data arrives on another path than the one in use, the peer may doubt that one. For this long, ms, what
 * arrives there does not show that the peer receives anything on it: only the answer to a probe does.
 */
const PEER_DOUBT_MS = 1_000;
/** The peer is told that nothing is heard from it on a path after this time, ms. */
const UNHEARD_MS = 200;

/** Why a path is left that failed. */
const LOST: ReadonlySet<PathReason> = new Set([PathReason.probesLost, PathReason.closed, PathReason.dataLost]);

/** The paths to one peer: signals candidates, checks the peer's, and keeps what was verified in a path set. */
export class MeshPeerPaths implements PeerPaths {
  readonly events: Events<PeerPathsEvents> = new Events();
  readonly #components: SharedByPeers;
  readonly #peer: MeshPeerPathsComponents;
  readonly #options: PeerPathsOptions;
  readonly #checks: ConnectivityChecks;
  readonly #set: PathSet<MeshPath>;
  readonly #byId = new Map<string, MeshPath>();
  readonly #log: PathLogEntry[] = [];
  readonly #closing = new AbortController();
  readonly #session: number;
  readonly #controlling: boolean;
  readonly #wakeup: Wakeup;
  readonly #transports: PeerTransports;
  readonly #punching: PeerPunching;
  readonly #agreement: RelayAgreement;
  readonly #early: EarlyHandshake;
  readonly #signals: RateLimit;
  readonly #permissions: RateLimit;
  readonly #running: Promise<void>;
  /** What must have ended before the paths are closed. */
  readonly #work = new Tasks();
  #remotes: readonly MeshCandidate[] = [];
  #remoteSession: number | undefined;
  #wantedBefore: readonly RelayKey[] = [];
  #reason: PathReason = 'first';
  /** When data of the peer arrived last on another path than the current one. */
  #elsewhereAtMs = Number.NEGATIVE_INFINITY;
  #policy: { policy?: PathPolicy | undefined };

  constructor(peer: MeshPeerPathsComponents, options: PeerPathsOptions, secrets: PairSecrets) {
    const { shared: components } = peer;
    this.#components = components;
    this.#peer = peer;
    this.#options = options;
    this.#policy = options;
    const { clock, random, log } = components;
    this.#wakeup = new Wakeup({ clock });
    this.#signals = new RateLimit({ clock }, SIGNALS);
    this.#permissions = new RateLimit({ clock }, PERMISSIONS);
    this.#session = random.integer(1, 0xffff_ffff);
    this.#controlling = secrets.localUfrag < secrets.remoteUfrag;
    const [first] = components.transports();
    if (first === undefined) throw new TowpathError('internal', 'There is no path socket.');
    this.#checks = new ConnectivityChecks(
      { socket: first.stun, clock, random, log },
      {
        ...secrets,
        role: this.#controlling ? 'controlling' : 'controlled',
        onPath: (path) => this.#verified(path),
        onHeard: (remote, socket, unheardMs) => this.#heardCheck(remote, socket, unheardMs),
      },
    );
    this.#transports = new PeerTransports(
      { clock, checks: this.#checks, shared: () => components.transports() },
      {
        onDatagram: (datagram, id, transport, remote) => this.#received(datagram, id, transport, remote),
        isUsed: (socket) => this.#set.status().some(({ path }) => path.transport === socket),
      },
      first,
    );
    this.#early = new EarlyHandshake(
      { clock, checks: this.#checks },
      {
        isNeeded: () => this.#set.current === undefined && this.#mayRelay(),
        isRelay: (address) => components.relayAt(address) !== undefined,
        onChecked: options.onChecked?.bind(options),
      },
    );
    this.#agreement = new RelayAgreement(
      { clock, random, send: (data) => this.#tell(data) },
      {
        pair: [secrets.localUfrag, secrets.remoteUfrag].toSorted().join(' '),
        offers: this.#controlling,
        figures: () => components.relayFigures(),
        isRelayed: () => this.#set.current === undefined || this.#set.current.kind === 'relay',
        isVerified: (key) =>
          this.#set
            .status()
            .some(({ path, kind, health }) => kind === 'relay' && health !== 'dead' && this.#relayOf(path) === key),
        onChange: () => this.#relaysAgreed(),
      },
    );
    this.#set = new PathSet<MeshPath>(
      { clock, log },
      {
        target: options.peer.name,
        policy: options.policy,
        redundancy: options.redundancy,
        relayRank: (id) => this.#agreement.rank(this.#relayOf(this.#byId.get(id))),
        describe: (path) => ({
          id: path.id,
          kind: path.kind,
          family: path.family,
          label: formatEndpoint(path.remote),
          rttMs: path.rttMs,
          ends: transportEnds(path.transport, path.remote, path.kind === 'relay'),
          furtherUplink: path.transport.furtherUplink,
        }),
        probe: (path, signal) => this.#probe(path, signal),
        release: (path) => {
          if (this.#byId.get(path.id) === path) this.#byId.delete(path.id);
          this.#transports.drop(path.transport);
        },
        times: {
          suspectAfter: 2,
          replaceAfter: 3,
          // A NAT forgets a mapping that is idle for too long.
          get idleIntervalMs() {
            return components.nat.keepAliveMs;
          },
        },
      },
    );
    this.#punching = new PeerPunching(
      {
        ...components,
        checks: this.#checks,
        peerTransports: this.#transports,
      },
      {
        remotes: () => this.#remotes,
        isAllowed: () => this.#mayPunch(),
        hasDirect: () => this.#hasDirect(),
        tell: (data) => this.#tell(data),
        note: (what, label, reason) => this.#note(what, label, reason),
      },
      this.#closing.signal,
    );
    this.#set.events.on('current', ({ path, previous, reason }) => {
      if (previous !== undefined && LOST.has(reason)) {
        this.#relayLost(previous);
        // A direct path is looked for at once, not after the pause that has grown meanwhile.
        if (previous.kind !== 'relay' && path?.kind === 'relay') this.#wakeup.wake();
      }
      if (path?.kind === 'relay' && previous?.kind !== 'relay') this.#agreement.update();
      this.#note('switch', path?.id ?? 'none', reason);
      this.#select(reason);
      this.#openPlain();
    });
    this.#set.events.on('standby', ({ path, alsoSend }) => {
      this.#note('standby', path?.id ?? 'none', alsoSend ? 'suspect' : 'surplus');
      this.#select(this.#reason);
    });
    this.#set.events.on('removed', ({ path, id, reason }) => {
      const key = reason === PathReason.probesLost ? this.#relayOf(path) : undefined;
      if (key !== undefined) components.onRelaySuspect(key);
      this.#note('removed', id, reason);
    });
    this.#set.events.on('health', ({ path, health }) => {
      // There should be another path before this one is dead.
      if (health === 'suspect' && path === this.#set.current && this.#set.standby === undefined) this.#wakeup.wake();
    });
    this.#running = this.#run();
  }

  get current(): PeerPath | undefined {
    return this.#set.current;
  }

  get also(): PeerPath | undefined {
    return this.#set.alsoSendOn;
  }

  status(): PathStatus<PeerPath>[] {
    return this.#set.status();
  }

  log(): readonly PathLogEntry[] {
    return this.#log;
  }

  get relayReason(): Reason | undefined {
    if (this.#hasDirect()) return undefined;
    const { policy = 'auto' } = this.#policy;
    if (policy === 'relay-only') return PathReason.policy;
    return (
      this.#punching.puncher.obstacle ?? (this.#remoteSession === undefined ? MeshReason.pathNew : MeshReason.noAnswer)
    );
  }

  get probesSent(): number {
    return this.#checks.stats.sent;
  }

  configure(options: { policy?: PathPolicy; redundancy?: 1 | 2 }): void {
    this.#policy = { ...this.#policy, ...options };
    this.#set.configure(options);
  }

  heard(path: PeerPath, isData: boolean): void {
    const own = this.#byId.get(path.id);
    if (own !== undefined) this.#arrived(own, isData);
  }

  sent(path: PeerPath, sinceMs: number): void {
    this.#byId.get(path.id)?.sent.add(sinceMs, this.#components.clock.now());
  }

  unanswered(path: PeerPath, sinceMs: number): void {
    const own = this.#byId.get(path.id);
    if (own !== undefined) this.#set.sent(own, sinceMs);
  }

  dataLost(): void {
    // What is sent on two paths tells nothing of one of them.
    if (this.#set.alsoSendOn === undefined) this.#set.dataLost();
  }

  dataCarried(): void {
    if (this.#set.alsoSendOn === undefined) this.#set.dataCarried();
  }

  probe(): void {
    this.#set.wake();
  }

  refresh(reason: PathReason): void {
    this.#note('refresh', 'all', reason);
    if (reason === PathReason.networkChanged || reason === PathReason.clockJumped) this.#set.forgetDataLoss();
    this.#set.wake();
    this.#reason = reason;
    this.#wakeup.wake();
  }

  /** Says that own candidates or transports have changed. */
  transportsChanged(): void {
    this.#transports.update();
    for (const { path } of this.#set.status()) {
      const { relay, stun } = path.transport;
      if (relay === undefined && this.#transports.of(stun) === undefined) this.#set.remove(path, PathReason.withdrawn);
    }
    this.#send(false);
    for (const candidate of this.#remotes) this.#check(candidate);
    this.#openPlain();
    this.#punchLater();
  }

  /** Own figures of relays, or relayed addresses, have changed. */
  figuresChanged(): void {
    this.#agreement.update();
  }

  /** Relays on which both ends, or the peer alone, need a relayed address. */
  get wantedRelays(): readonly RelayKey[] {
    return this.#agreement.wanted;
  }

  /** Takes a message of the peer. */
  receive(data: Uint8Array): void {
    if (!this.#signals.take()) return;
    if (this.#agreement.receive(data)) return;
    const punch = decodePunchSignal(data);
    if (punch !== undefined) {
      if (this.#mayPunch()) this.#work.add(this.#punching.puncher.receive(punch));
      return;
    }
    const signal = decodeCandidateSignal(data);
    if (signal === undefined) return;
    this.#punching.puncher.theirNat = signal.nat;
    const isNew = signal.session !== this.#remoteSession;
    // The peer was started again: a path to its sockets of before is found dead now, not when it is next probed. Until then
    // this end makes no other one.
    if (isNew && this.#remoteSession !== undefined) this.#set.wake();
    this.#remoteSession = signal.session;
    const known = isNew ? [] : this.#remotes;
    this.#remotes = signal.candidates;
    if (isNew) this.#agreement.restart();
    this.#dropWithdrawn();
    for (const candidate of signal.candidates) {
      const { endpoint, type } = candidate;
      if (!known.some((each) => sameEndpoint(each.endpoint, endpoint)))
        this.#note('candidate', formatEndpoint(endpoint), type);
      this.#check(candidate);
    }
    if (signal.wantsAnswer || isNew) this.#send(false);
    this.#punchLater();
  }

  /** A relayed address that the peer tells no more is gone; a path over it would be found dead only when it is needed. */
  #dropWithdrawn(): void {
    for (const { path } of this.#set.status()) {
      if (path.kind !== 'relay' || path.transport.relay !== undefined) continue;
      if (this.#remotes.some(({ endpoint }) => sameEndpoint(endpoint, path.remote))) continue;
      if (path === this.#set.current) this.#set.wake();
      else this.#set.remove(path, PathReason.withdrawn);
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new AbortedError('The paths of the peer were closed.'));
    this.#checks.close();
    this.#agreement.close();
    await this.#running;
    await this.#work.settled();
    await this.#set.close();
    await this.#transports.close();
    this.#peer.onClosed();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Signals and checks at once, then again and again while the best path is not a direct one, or nothing replaces it. */
  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { random } = this.#components;
    let waits = backoff({ ...AGAIN, random });
    while (!signal.aborted) {
      const kind = this.#set.current?.kind;
      const isAlone = this.#set.standby === undefined && this.#components.transports().length > 1;
      if (kind === undefined || kind === 'relay' || isAlone) {
        this.#transports.update();
        this.#send(true);
        this.#agreement.wake();
        for (const candidate of this.#remotes) this.#check(candidate);
        this.#punchLater();
      }
      const woken = await this.#wakeup.wait(waits.next().value ?? AGAIN.maxMs, signal).catch(() => false);
      if (!woken) continue;
      waits = backoff({ ...AGAIN, random });
      // Something has changed: the current path may be the wrong one although it works.
      this.#transports.update();
      this.#send(true);
      for (const candidate of this.#remotes) this.#check(candidate);
    }
  }

  #send(wantsAnswer: boolean): void {
    const signal: CandidateSignal = {
      session: this.#session,
      wantsAnswer,
      candidates: this.#components.candidates(),
      nat: this.#components.nat.report,
    };
    this.#tell(encodeCandidateSignal(signal));
  }

  #tell(data: Uint8Array): void {
    this.#peer
      .signal(data)
      .catch((error: unknown) =>
        this.#components.log.debug(`${this.#options.peer.name} was not signalled: ${errorMessage(error)}`),
      );
  }

  /** Checks a candidate from every transport of its family, or from those through some relays alone. */
  #check(candidate: MeshCandidate, through?: (key: RelayKey) => boolean): void {
    const { endpoint } = candidate;
    if (this.#components.isInTunnel(endpoint.address)) return;
    const theirs = this.#agreement.relayOf(endpoint);
    const { nat } = this.#components;
    for (const transport of this.#components.transports()) {
      if (transport.family !== addressFamily(endpoint.address)) continue;
      const key = transport.relayKey ?? theirs;
      if (through !== undefined && (key === undefined || !through(key))) continue;
      // A relay does not reach private networks, and two relays in a row are only for networks that UDP does not leave.
      const pointless =
        transport.relay !== undefined &&
        (isPrivateAddress(endpoint.address) || (candidate.type === 'relayed' && nat.report?.udp !== false));
      if (!pointless) void this.#checkFrom(transport, endpoint);
    }
  }

  async #checkFrom(transport: PathTransport, remote: Endpoint): Promise<void> {
    const { signal } = this.#closing;
    const label = labelOf(transport, remote);
    if (transport.relay !== undefined && !this.#permissions.take()) return;
    try {
      await transport.prepare(remote, signal);
      if (this.#has(transport, remote)) return;
      this.#note('attempt', label, 'requested');
      const checked = this.#checks.check(remote, { socket: transport.stun, signal });
      this.#early.checked(transport, remote, signal);
      const result = await checked;
      // A path that was left stays verified for the checks, which then do not report it again.
      if (!result.ok) this.#note('failure', label, result.reason);
      else if (!this.#has(transport, remote)) this.#verified(result.path);
    } catch (error) {
      if (!signal.aborted) this.#note('failure', label, error instanceof TowpathError ? error.code : 'unknown');
    }
  }

  #has(transport: PathTransport, remote: Endpoint): boolean {
    return this.#byId.has(transportId(transport, remote));
  }

  /** A check of the peer came from here: its WireGuard's datagrams may come before our own check is answered. */
  #heardCheck(remote: Endpoint, socket: StunDemultiplexer, unheardMs: number | undefined): void {
    const transport = this.#transports.of(socket);
    if (transport === undefined) return;
    const path = this.#find(transportId(transport, remote));
    // Asked only where it is new: the networks of the machine are read for it.
    if (path === undefined && this.#components.isInTunnel(remote.address)) return;
    this.#transports.heard(transport, remote);
    if (path === undefined) {
      this.#early.heard(transport, remote);
      return;
    }
    if (unheardMs !== undefined) this.#unheard(path, unheardMs);
    this.#arrived(path, false);
  }

  /** The peer says that it hears nothing on a path. It is right to doubt the path if data was sent there meanwhile. */
  #unheard(path: MeshPath, unheardMs: number): void {
    if (path !== this.#set.current) return;
    const { rttMs = path.rttMs } = this.#set.status().find((each) => each.path === path) ?? {};
    if (path.sent.contradicts({ nowMs: this.#components.clock.now(), unheardMs, rttMs })) this.#peerDoubts();
  }

  /** Something of the peer arrived on a path, which shows that the peer hears this end too unless it uses another path. */
  #arrived(path: MeshPath, isData: boolean): void {
    if (path !== this.#set.current || !this.#isPeerElsewhere) this.#set.heard(path, isData);
  }

  get #isPeerElsewhere(): boolean {
    return this.#components.clock.now() - this.#elsewhereAtMs < PEER_DOUBT_MS;
  }

  /**
   * Data of the peer arrived on another path than the current one, or the peer says that it hears nothing there: it has left that
   * path, or is in doubt about it.
   */
  #peerDoubts(): void {
    if (this.#set.current === undefined) return;
    const isNew = !this.#isPeerElsewhere;
    this.#elsewhereAtMs = this.#components.clock.now();
    if (isNew) this.#set.doubt();
  }

  /** A datagram of WireGuard has arrived. */
  #received(datagram: Uint8Array, id: string, transport: PathTransport, remote: Endpoint): void {
    const path = this.#find(id);
    // Copies of a handshake arrive on other paths, too. The pair may be one of which this node holds the mirror instead.
    if (path !== this.#set.current && datagram[0] === WIREGUARD_DATA) this.#peerDoubts();
    if (path === undefined) {
      const isRelay = transport.relay !== undefined || this.#isRelayed(remote);
      const answer = isRelay && !this.#mayRelay() ? undefined : (data: Uint8Array) => transport.send(data, remote);
      this.#options.onDatagram(datagram, undefined, answer);
      return;
    }
    this.#arrived(path, carriesData(datagram));
    if (path.kind === 'relay') this.#agreement.heard(this.#relayOf(path), true);
    this.#options.onDatagram(datagram, path);
  }

  #find(id: string): MeshPath | undefined {
    return this.#byId.get(id);
  }

  #verified({ socket, remote, rttMs }: VerifiedPath): void {
    const transport = this.#transports.of(socket);
    if (transport === undefined || this.#closing.signal.aborted) return;
    if (this.#components.isInTunnel(remote.address)) return;
    const { clock } = this.#components;
    const id = transportId(transport, remote);
    this.#punching.prove(remote.address);
    this.#note('success', labelOf(transport, remote), 'first');
    if (this.#byId.has(id)) return;
    this.#transports.heard(transport, remote);
    if (this.#isMirror(transport, remote)) return;
    const isRelay = transport.relay !== undefined || this.#isRelayed(remote);
    const path: MeshPath = {
      id,
      kind: isRelay ? 'relay' : this.#isLan(remote) ? 'lan' : 'p2p',
      family: transport.family,
      local: transport.local,
      remote,
      relay: transport.relay ?? (isRelay ? remote.address : undefined),
      get isPlain() {
        return transport.isPlain || this.plain !== undefined;
      },
      plain: undefined,
      transport,
      rttMs,
      sent: new SentHistory(),
      send: (datagram) => {
        transport.send(datagram, remote);
        const nowMs = clock.now();
        path.sent.add(nowMs, nowMs);
        this.#set.sent(path, undefined, carriesData(datagram));
      },
    };
    this.#byId.set(id, path);
    this.#set.add(path);
    for (const { path: other } of this.#set.status()) {
      if (this.#isMirror(other.transport, other.remote)) this.#set.remove(other, PathReason.surplus);
    }
    if (isRelay) {
      this.#agreement.heard(this.#relayOf(path), false);
      this.#punchLater();
    } else this.#punching.puncher.found();
  }

  /**
   * With an allocation of each end on one relay there are two paths through it. Both ends use the controlled end's alone:
   * the kernel carries a path whose two directions are the same.
   */
  #isMirror(transport: PathTransport, remote: Endpoint): boolean {
    const own = transport.relay !== undefined;
    if (!own && !this.#isRelayed(remote)) return false;
    if (own !== this.#controlling) return false;
    const relay = own ? transport.local.address : remote.address;
    return this.#set.status().some(({ path, health }) => {
      const other = path.transport.relay !== undefined ? path.local.address : path.remote.address;
      return (
        path.kind === 'relay' && (path.transport.relay !== undefined) !== own && other === relay && health !== 'dead'
      );
    });
  }

  #relayOf(path: MeshPath | undefined): RelayKey | undefined {
    if (path?.kind !== 'relay') return undefined;
    const { transport, remote } = path;
    return transport.relayKey ?? this.#agreement.relayOf(remote) ?? this.#components.relayAt(remote.address);
  }

  /** The set chooses anew; relayed addresses that are needed now are allocated, and paths through them checked. */
  #relaysAgreed(): void {
    if (this.#closing.signal.aborted) return;
    this.#set.configure({});
    const wanted = this.wantedRelays;
    if (wanted.join() === this.#wantedBefore.join()) return;
    this.#wantedBefore = wanted;
    this.#components.onRelaysWanted();
    for (const candidate of this.#remotes) this.#check(candidate, (key) => wanted.includes(key));
  }

  #relayLost(path: MeshPath): void {
    const key = this.#relayOf(path);
    if (key !== undefined) this.#agreement.lost(key);
  }

  #hasDirect(): boolean {
    return this.#set.status().some(({ kind, health }) => kind !== 'relay' && health !== 'dead');
  }

  #mayPunch(): boolean {
    const { policy = 'auto' } = this.#policy;
    return (policy === 'auto' || policy === 'direct-only') && !this.#closing.signal.aborted;
  }

  #mayRelay(): boolean {
    const { policy = 'auto' } = this.#policy;
    return policy === 'auto' || policy === 'relay-only';
  }

  #punchLater(): void {
    const work = this.#punching.later();
    if (work !== undefined) this.#work.add(work);
  }

  #isRelayed(remote: Endpoint): boolean {
    const told = this.#remotes.find(({ endpoint }) => formatEndpoint(endpoint) === formatEndpoint(remote));
    return told?.type === 'relayed' || (told === undefined && this.#components.isRelayAddress(remote.address));
  }

  #isLan(remote: Endpoint): boolean {
    return this.#components.localNetworks().some((subnet) => inSubnet(remote.address, subnet));
  }

  async #probe(path: MeshPath, signal: AbortSignal): Promise<number> {
    // While the peer uses another path, what arrives here is not counted.
    const unansweredMs = this.#isPeerElsewhere ? undefined : this.#set.unansweredMs(path);
    const rttMs = await this.#checks.probe(path.remote, {
      socket: path.transport.stun,
      timeoutMs: PROBE_TIMEOUT_MS,
      unheardMs: unansweredMs !== undefined && unansweredMs >= UNHEARD_MS ? unansweredMs : undefined,
      signal,
    });
    if (rttMs === undefined) throw new TowpathError('no-answer', 'The probe was not answered.');
    return rttMs;
  }

  /** The relay carries a path in use unframed where it can, so that the kernel can take over on both machines. */
  #openPlain(): void {
    const path = this.#set.current;
    if (path === undefined || path.isPlain) return;
    path.transport.openPlain?.(path.remote, (ends) => {
      path.plain = ends;
      if (this.#set.current === path && !this.#closing.signal.aborted) this.#select(this.#reason);
    });
  }

  #select(reason: PathReason): void {
    this.#reason = reason;
    this.events.emit('selected', { path: this.#set.current, also: this.#set.alsoSendOn, reason });
  }

  #note(what: PathLogEntry['what'], label: string, reason: string): void {
    const entry: PathLogEntry = { atMs: this.#components.clock.wallTime(), what, label, reason };
    this.#log.push(entry);
    if (this.#log.length > MAX_LOG) this.#log.shift();
    this.events.emit('log', entry);
  }
}

function labelOf(transport: PathTransport, remote: Endpoint): string {
  return transport.relay ? `${formatEndpoint(remote)} from ${transport.relay}` : formatEndpoint(remote);
}
