import {
  AbortedError,
  errorMessage,
  Events,
  type PathPolicy,
  PathReason,
  PathSet,
  type PathStatus,
  RateLimit,
  Repeat,
  SparseMap,
  Tasks,
  TowpathError,
  backoffMs,
} from '@towpath/core';
import { type Endpoint, inSubnet } from '@towpath/net';
import { ConnectivityChecks, type StunDemultiplexer, type VerifiedPath } from '@towpath/stun';
import { carriesData, WIREGUARD_DATA } from '../health/echo-message.ts';
import type { PeerPath } from '../peer-path.ts';
import type { PathLogEntry, PeerPaths, PeerPathsEvents, PeerPathsOptions } from '../peer-paths.ts';
import { MeshReason, type Reason } from '../reason.ts';
import type { RelayKey } from '../relays/relay-key.ts';
import { CandidateChecks } from './candidate-checks.ts';
import {
  CANDIDATE_SIGNAL,
  type CandidateSignal,
  decodeCandidateSignal,
  encodeCandidateSignal,
} from './candidate-signal.ts';
import { EarlyHandshake } from './early-handshake.ts';
import { labelOf, localPreference, MeshPath } from './mesh-path.ts';
import type { PairSecrets } from './pair-secrets.ts';
import { PairPolicy } from './pair-policy.ts';
import { PathLog } from './path-log.ts';
import type { PathTransport } from './path-socket.ts';
import { PeerDoubt } from './peer-doubt.ts';
import { PeerPunching } from './peer-punching.ts';
import { PeerRelays } from './peer-relays.ts';
import { PeerTransports, transportId } from './peer-transports.ts';
import { decodePunchSignal } from './punch-signal.ts';
import { OtherVersions } from '../other-versions.ts';
import { foreignSignal } from './signal-version.ts';
import type { SharedByPeers } from './shared-by-peers.ts';

export interface MeshPeerPathsComponents {
  shared: SharedByPeers;
  /** Sends a message to the peer. */
  signal(data: Uint8Array): Promise<void>;
  /** Called once when everything is released. */
  onClosed(): void;
}

/** Direct paths are looked for again: 5, 10, 20, 40, 60 s …: docs/protocol/connectivity.md, "Reconnecting". */
const AGAIN = { baseMs: 5_000, maxMs: 60_000 };
const PROBE_TIMEOUT_MS = 5_000;
/** Messages of the peer that are taken: each may be answered, and this node's own messages are limited by the server. */
const SIGNALS = { perSecond: 10, burst: 100 };
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
  readonly #byId = new SparseMap<string, MeshPath>();
  readonly #log: PathLog;
  readonly #closing = new AbortController();
  readonly #session: number;
  readonly #controlling: boolean;
  /** Looks for paths again and again. */
  readonly #repeat: Repeat;
  readonly #transports: PeerTransports;
  readonly #punching: PeerPunching;
  readonly #relays: PeerRelays;
  readonly #candidates: CandidateChecks;
  readonly #doubt: PeerDoubt;
  readonly #early: EarlyHandshake;
  readonly #signals: RateLimit;
  /** What must have ended before the paths are closed. */
  readonly #work = new Tasks();
  #isWoken = false;
  /** How often it was looked for paths since something has changed. */
  #looks = 0;
  #remoteSession: number | undefined;
  /** The last candidates of the peer came in a version that is not read here. */
  #speaksOtherVersion = false;
  readonly #otherVersions: OtherVersions;
  #reason: PathReason = 'first';
  readonly #policy: PairPolicy;

  constructor(peer: MeshPeerPathsComponents, options: PeerPathsOptions, secrets: PairSecrets) {
    const { shared: components } = peer;
    this.#components = components;
    this.#peer = peer;
    this.#options = options;
    const { clock, random, log } = components;
    this.#repeat = new Repeat({ clock }, { run: () => this.#look() });
    this.#signals = new RateLimit({ clock }, SIGNALS);
    this.#otherVersions = new OtherVersions({ log }, options);
    this.#policy = new PairPolicy({ clock }, options);
    this.#log = new PathLog({ clock, events: this.events });
    this.#session = random.integer(1, 0xffff_ffff);
    this.#controlling = secrets.localUfrag < secrets.remoteUfrag;
    const [first] = components.transports();
    if (first === undefined) throw new TowpathError('internal', 'There is no path socket.');
    this.#checks = new ConnectivityChecks(
      { socket: first.stun, clock, random, log },
      {
        ...secrets,
        role: this.#controlling ? 'controlling' : 'controlled',
        localPreference: (socket) => localPreference(this.#transports.of(socket) ?? {}),
        onPath: (path) => this.#verified(path),
        onNominated: (path) => this.#nominated(path),
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
    const tell = (data: Uint8Array) => this.#tell(data);
    const note = this.#log.note.bind(this.#log);
    const { signal } = this.#closing;
    this.#relays = new PeerRelays(
      { shared: components, send: tell, paths: () => this.#set },
      {
        secrets,
        controlling: this.#controlling,
        isRelayed: (remote) => this.#candidates.isRelayed(remote),
        check: (through) => this.#candidates.all(through),
        onChange: () => this.#relaysAgreed(),
      },
    );
    this.#candidates = new CandidateChecks(
      {
        shared: components,
        checks: this.#checks,
        agreement: this.#relays.agreement,
        early: this.#early,
        log: this.#log,
      },
      {
        has: (transport, remote) => this.#has(transport, remote),
        onVerified: (path) => this.#verified(path),
        onFailed: (transport, remote) => this.#policy.failed(transportId(transport, remote)),
      },
      signal,
    );
    this.#set = new PathSet<MeshPath>(
      { clock, log },
      {
        target: options.peer.name,
        policy: options.policy,
        redundancy: options.redundancy,
        // Keep-alives and echoes of idle peers would take every path off the splice, and the peer would take the copies for a doubt.
        alsoWhenStale: false,
        relayRank: (id) => this.#relays.rank(this.#byId.get(id)),
        describe: (path) => path,
        probe: (path, signal) => this.#probe(path, signal),
        release: (path) => {
          if (this.#byId.get(path.id) === path) this.#byId.delete(path.id);
          this.#transports.drop(path.transport);
        },
        onDoubt: (path) => this.#mayRelay() && this.#relays.verifyOthers(path),
        times: components.pathTimes,
      },
    );
    this.#doubt = new PeerDoubt({ clock, set: this.#set });
    this.#punching = new PeerPunching(
      { shared: components, checks: this.#checks, peerTransports: this.#transports },
      {
        remotes: () => this.#candidates.remotes,
        isAllowed: () => this.#mayPunch(),
        hasDirect: () => this.#hasDirect(),
        tell,
        note,
      },
      signal,
    );
    this.#set.events.on('current', ({ path, previous, reason }) => {
      if (previous !== undefined && LOST.has(reason)) {
        this.#relays.lost(previous);
        if (path === undefined && this.#mayRelay()) this.#relays.verifyOthers(previous);
        // A direct path is looked for at once, not after the pause that has grown meanwhile.
        if (previous.kind !== 'relay' && path?.kind === 'relay') this.#lookAgain();
      }
      if (path?.kind === 'relay' && previous?.kind !== 'relay') this.#relays.agreement.update();
      this.#log.note('switch', path?.id ?? 'none', reason);
      this.#select(reason);
      this.#openPlain();
    });
    this.#set.events.on('standby', ({ path, alsoSend }) => {
      this.#log.note('standby', path?.id ?? 'none', alsoSend ? 'suspect' : 'surplus');
      this.#select(this.#reason);
    });
    this.#set.events.on('removed', ({ path, id, reason }) => {
      // Its release comes later: until then a nomination that arrives would take it for a path that is kept.
      if (this.#byId.get(id) === path) this.#byId.delete(id);
      const key = reason === PathReason.probesLost ? this.#relays.of(path) : undefined;
      if (key !== undefined) components.onRelaySuspect(key);
      this.#log.note('removed', id, reason);
    });
    this.#set.events.on('health', ({ path, health }) => {
      // There should be another path before this one is dead.
      if (health === 'suspect' && path === this.#set.current && this.#set.standby === undefined) this.#lookAgain();
    });
    this.#repeat.wake();
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
    return this.#log.entries;
  }

  get relayReason(): Reason | undefined {
    if (this.#hasDirect()) return undefined;
    if (this.policy === 'relay-only' || this.peerPolicy === 'relay-only') return PathReason.policy;
    if (this.#speaksOtherVersion) return MeshReason.otherVersion;
    return (
      this.#punching.puncher.obstacle ?? (this.#remoteSession === undefined ? MeshReason.pathNew : MeshReason.noAnswer)
    );
  }

  get refusedBy(): PathPolicy | undefined {
    return this.#set.current === undefined && this.#policy.isRefused ? this.policy : undefined;
  }

  get isRefusedByPeer(): boolean {
    return this.#set.current === undefined && this.#policy.isRefusedByPeer;
  }

  get policy(): PathPolicy {
    return this.#policy.own;
  }

  get peerPolicy(): PathPolicy | undefined {
    return this.#policy.peer;
  }

  get probesSent(): number {
    return this.#checks.stats.sent;
  }

  configure(options: { policy?: PathPolicy; redundancy?: 1 | 2 }): void {
    const before = this.policy;
    this.#policy.own = options.policy ?? before;
    this.#set.configure(options);
    if (this.policy !== before) this.#send(false);
  }

  heard(path: PeerPath, isData: boolean): void {
    const own = this.#byId.get(path.id);
    if (own) this.#doubt.arrived(own, isData);
  }

  sent(path: PeerPath, sinceMs: number): void {
    this.#byId.get(path.id)?.sent.add(sinceMs, this.#components.clock.now());
  }

  unanswered(path: PeerPath, sinceMs: number): void {
    const own = this.#byId.get(path.id);
    if (own !== undefined) this.#set.sent(own, sinceMs);
  }

  dataLost(echoes?: number): void {
    // What is sent on two paths tells nothing of one of them.
    if (this.also === undefined) this.#set.dataLost(echoes);
  }

  dataSlow(rttMs: number): void {
    if (this.also === undefined) this.#relays.slow(rttMs);
  }

  dataCarried(): void {
    if (this.also === undefined) this.#set.dataCarried();
  }

  probe(): void {
    this.#set.wake();
  }

  refresh(reason: PathReason): void {
    this.#log.note('refresh', 'all', reason);
    if (reason === PathReason.networkChanged || reason === PathReason.clockJumped) {
      this.#set.forgetDataLoss();
      this.#relays.agreement.forgive();
      this.#punching.interrupt();
    }
    this.#set.wake();
    this.#reason = reason;
    this.#lookAgain();
  }

  /** Says that own candidates or transports have changed. */
  transportsChanged(): void {
    this.#transports.update();
    for (const { path } of this.#set.status())
      if (this.#transports.isGone(path.transport)) this.#set.remove(path, PathReason.withdrawn);
    this.#send(false);
    this.#candidates.all();
    this.#openPlain();
    this.#punchLater();
  }

  /** Own figures of relays, or relayed addresses, have changed. */
  figuresChanged(): void {
    this.#relays.agreement.update();
  }

  /** Relays on which both ends, or the peer alone, need a relayed address. */
  get wantedRelays(): readonly RelayKey[] {
    return this.#relays.agreement.wanted;
  }

  /** Takes a message of the peer. */
  receive(data: Uint8Array): void {
    if (!this.#signals.take()) return;
    if (this.#relays.agreement.receive(data)) return;
    const punch = decodePunchSignal(data);
    if (punch !== undefined) {
      if (this.#mayPunch()) this.#work.add(this.#punching.puncher.receive(punch));
      return;
    }
    const signal = decodeCandidateSignal(data);
    if (signal === undefined) {
      this.#ignore(data);
      return;
    }
    this.#speaksOtherVersion = false;
    this.#punching.puncher.theirNat = signal.nat;
    this.#permit(signal.policy);
    const isNew = signal.session !== this.#remoteSession;
    // The peer was started again: a path to its sockets of before is found dead now, not when it is next probed. Until then
    // this end makes no other one.
    if (isNew && this.#remoteSession !== undefined) this.#set.wake();
    this.#remoteSession = signal.session;
    this.#candidates.replace(signal.candidates, isNew);
    this.#punching.remotesChanged();
    if (isNew) this.#relays.agreement.restart();
    this.#dropWithdrawn();
    this.#candidates.all();
    if (signal.wantsAnswer || isNew) this.#send(false);
    this.#punchLater();
  }

  /**
   * A signal that is not read changes nothing. Where that is for its version, a person is told once: both ends go on with
   * what they know of each other otherwise, such as checks that arrive.
   */
  #ignore(data: Uint8Array): void {
    const foreign = foreignSignal(data);
    if (foreign === undefined) return;
    const { kind, version, known } = foreign;
    if (kind === CANDIDATE_SIGNAL.kind) this.#speaksOtherVersion = true;
    this.#otherVersions.ignored('A signal', { kind, version, known }, `${kind} ${version}`);
  }

  /** A relayed address that the peer tells no more is gone; a path over it would be found dead only when it is needed. */
  #dropWithdrawn(): void {
    for (const { path } of this.#set.status()) {
      if (path.kind !== 'relay' || path.transport.relay !== undefined) continue;
      if (this.#candidates.has(path.remote)) continue;
      if (path === this.#set.current) this.#set.wake();
      else this.#set.remove(path, PathReason.withdrawn);
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new AbortedError('The paths of the peer were closed.'));
    this.#repeat.stop();
    this.#checks.close();
    this.#relays.agreement.close();
    await this.#work.settled();
    await this.#set.close();
    await this.#transports.close();
    this.#peer.onClosed();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Signals and checks at once, then again and again while the best path is not a direct one, or nothing replaces it. */
  #look(): number {
    if (this.#isWoken) {
      this.#isWoken = false;
      this.#looks = 0;
      // Something has changed: the current path may be the wrong one although it works.
      this.#transports.update();
      this.#send(true);
      this.#candidates.all();
    }
    const kind = this.#set.current?.kind;
    const isAlone = this.#set.standby === undefined && this.#components.transports().length > 1;
    if (kind === undefined || kind === 'relay' || isAlone) {
      this.#transports.update();
      this.#send(true);
      this.#relays.agreement.wake();
      this.#candidates.all();
      this.#punchLater();
    } else if (this.#isHairpin()) this.#candidates.all();
    const { random } = this.#components;
    return backoffMs({ ...AGAIN, random }, this.#looks++);
  }

  /** Looks at once, when what is under way is done: something has changed. */
  #lookAgain(): void {
    if (this.#isWoken) return;
    this.#isWoken = true;
    queueMicrotask(() => this.#repeat.wake());
  }

  #send(wantsAnswer: boolean): void {
    const signal: CandidateSignal = {
      session: this.#session,
      wantsAnswer,
      candidates: this.#components.candidates(),
      nat: this.#components.nat.report,
      policy: this.policy,
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

  #has(transport: PathTransport, remote: Endpoint): boolean {
    return this.#byId.has(transportId(transport, remote));
  }

  /** A check of the peer came from here: its WireGuard's datagrams may come before our own check is answered. */
  #heardCheck(remote: Endpoint, socket: StunDemultiplexer, unheardMs: number | undefined): void {
    const transport = this.#transports.of(socket);
    if (transport === undefined) return;
    const path = this.#byId.get(transportId(transport, remote));
    // Asked only where it is new: the networks of the machine are read for it.
    if (path === undefined && this.#components.isInTunnel(remote.address)) return;
    this.#transports.heard(transport, remote);
    if (path === undefined) {
      this.#early.heard(transport, remote);
      return;
    }
    if (unheardMs !== undefined) this.#doubt.unheard(path, unheardMs);
    this.#doubt.arrived(path, false);
  }

  /** A datagram of WireGuard has arrived. */
  #received(datagram: Uint8Array, id: string, transport: PathTransport, remote: Endpoint): void {
    const path = this.#byId.get(id);
    // Copies of a handshake arrive on other paths, too. The pair may be one of which this node holds the mirror instead.
    if (path !== this.#set.current && datagram[0] === WIREGUARD_DATA) this.#doubt.peerDoubts();
    if (path === undefined) {
      const isRelay = transport.relay !== undefined || this.#candidates.isRelayed(remote);
      const answer = isRelay && !this.#mayRelay() ? undefined : (data: Uint8Array) => transport.send(data, remote);
      this.#options.onDatagram(datagram, undefined, answer);
      return;
    }
    this.#doubt.arrived(path, carriesData(datagram));
    if (path.kind === 'relay') this.#relays.agreement.heard(this.#relays.of(path), true);
    this.#options.onDatagram(datagram, path);
  }

  #verified({ socket, remote, rttMs }: VerifiedPath): void {
    const transport = this.#transports.of(socket);
    if (transport === undefined || this.#closing.signal.aborted) return;
    if (this.#components.isInTunnel(remote.address)) return;
    const id = transportId(transport, remote);
    this.#punching.prove(remote.address);
    this.#log.note('success', labelOf(transport, remote), 'first');
    if (this.#byId.has(id)) return;
    this.#transports.heard(transport, remote);
    if (this.#relays.isMirror(transport, remote)) return;
    const isRelay = transport.relay !== undefined || this.#candidates.isRelayed(remote);
    const path = new MeshPath(
      { clock: this.#components.clock, checks: this.#checks },
      {
        transport,
        remote,
        kind: isRelay ? 'relay' : this.#isLan(remote) ? 'lan' : 'p2p',
        rttMs,
        onSent: (sentOn, datagram) => this.#set.sent(sentOn, undefined, carriesData(datagram)),
      },
    );
    this.#byId.set(id, path);
    this.#policy.verified(path);
    this.#set.add(path, this.#relays.mirrorsOf(path));
    if (isRelay) {
      this.#relays.agreement.heard(this.#relays.of(path), false);
      this.#punchLater();
    } else this.#punching.puncher.found();
  }

  /**
   * The controlling end uses this path. Both ends use the same one: the kernel carries a path whose two directions are the
   * same. On a relay they agree by themselves ({@link PeerRelays}).
   */
  #nominated(path: VerifiedPath): void {
    const transport = this.#transports.of(path.socket);
    if (this.#controlling || transport === undefined || this.#closing.signal.aborted) return;
    this.#set.configure({ nominated: transportId(transport, path.remote) });
    // It may have been left as one too many.
    this.#verified(path);
  }

  /** The set chooses anew; relayed addresses that are needed now are allocated, and paths through them checked. */
  #relaysAgreed(): void {
    if (this.#closing.signal.aborted) return;
    this.#set.configure({});
    const wanted = this.#relays.takeWanted();
    if (wanted === undefined) return;
    this.#components.onRelaysWanted();
    this.#candidates.all((key) => wanted.includes(key));
  }

  #hasDirect(): boolean {
    return this.#set.status().some(({ kind, health }) => kind !== 'relay' && health !== 'dead');
  }

  /** The current path leads out to this machine's own NAT and back: the peer may be in the same LAN. */
  #isHairpin(): boolean {
    const { current } = this.#set;
    if (current?.kind !== 'p2p') return false;
    const { address } = current.remote;
    return this.#components
      .candidates()
      .some(({ type, endpoint }) => type !== 'relayed' && endpoint.address === address);
  }

  #mayPunch(): boolean {
    return this.#policy.permits('p2p') && !this.#closing.signal.aborted;
  }

  #mayRelay(): boolean {
    return this.#policy.permits('relay');
  }

  /** The peer tells which paths it permits: it takes nothing that is sent on another one. */
  #permit(peerPolicy: PathPolicy | undefined): void {
    if (peerPolicy === this.peerPolicy) return;
    this.#policy.peer = peerPolicy;
    for (const { path } of this.#set.status()) this.#policy.verified(path);
    this.#set.configure({ peerPolicy: this.#policy.peerHere });
  }

  #punchLater(): void {
    const work = this.#punching.later();
    if (work !== undefined) this.#work.add(work);
  }

  #isLan(remote: Endpoint): boolean {
    return this.#components.localNetworks().some((subnet) => inSubnet(remote.address, subnet));
  }

  async #probe(path: MeshPath, signal: AbortSignal): Promise<number> {
    // While the peer uses another path, what arrives here is not counted.
    const unansweredMs = this.#doubt.isPeerElsewhere ? undefined : this.#set.unansweredMs(path);
    const rttMs = await this.#checks.probe(path.remote, {
      socket: path.transport.stun,
      timeoutMs: PROBE_TIMEOUT_MS,
      useCandidate: this.#controlling && path === this.#set.current,
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
    this.events.emit('selected', { path: this.#set.current, also: this.also, reason });
  }
}
