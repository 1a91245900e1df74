import { type Log, silentLog, SparseMap, SparseSet, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import * as attr from '../message/attributes.ts';
import { StunErrorCode } from '../message/error-codes.ts';
import { MessageClass, TRANSACTION_ID_BYTES } from '../message/header.ts';
import { type IntegrityKey, shortTermKey } from '../message/integrity.ts';
import type { StunMessage } from '../message/stun-message.ts';
import {
  type CandidatePair,
  type CheckResult,
  PairTable,
  type RemoteSource,
  type VerifiedPath,
} from './candidate-pair.ts';
import {
  type CheckRole,
  candidatePriority,
  encodeCheck,
  localPreferenceIn,
  randomTieBreaker,
  type ReceivedCheck,
  readCheck,
  signedBindingError,
  signedBindingSuccess,
  unknownInCheck,
} from './check-message.ts';
import { CheckRun, type RunOptions, TRIGGERED } from './check-run.ts';
import { Consent, type ConsentOptions } from './consent.ts';
import { ProbeBudget } from './probe-budget.ts';
import type {
  CheckOptions,
  ConnectivityChecksComponents,
  ConnectivityChecksOptions,
  ConnectivityChecksStats,
  IgnoredChecks,
} from './options.ts';
import { ReplayCache } from './replay-cache.ts';
import type { StunDemultiplexer } from './stun-demultiplexer.ts';

/** A request under way. */
interface Probe {
  readonly pair: CandidatePair;
  readonly run: CheckRun;
  readonly role: CheckRole;
  readonly useCandidate: boolean;
  readonly sentAtMs: number;
  readonly registration: Disposable;
  settle(outcome: CheckResult | 'again'): void;
}

/** Role conflicts that are followed in one check; a peer that answers 487 for ever gets no more than these. */
const MAX_ROLE_CONFLICTS = 3;
const NOTHING_IGNORED: Readonly<IgnoredChecks> = {
  badIntegrity: 0,
  noFingerprint: 0,
  replayed: 0,
  asymmetric: 0,
  incomplete: 0,
  rate: 0,
  tooManyRemotes: 0,
};

/**
 * Connectivity checks with one peer over shared UDP sockets, in both roles (RFC 8445 §7): sends signed Binding
 * requests, answers the peer's, finds peer-reflexive endpoints and keeps consent (RFC 7675). A path is reported only
 * after the peer answered a request of ours from the endpoint that it was sent to; forged, altered and replayed
 * messages are counted and otherwise ignored.
 *
 * @example
 * const socket = new StunDemultiplexer(udp); // udp's STUN route calls socket.receive
 * using checks = new ConnectivityChecks({ socket, clock, random }, { ...secrets, role: 'controlling', onPath });
 * const result = await checks.check({ address: '198.51.100.7', port: 40000 });
 */
export class ConnectivityChecks implements Disposable {
  readonly #components: ConnectivityChecksComponents;
  readonly #options: ConnectivityChecksOptions;
  readonly #log: Log;
  readonly #localKey: IntegrityKey;
  readonly #remoteKey: IntegrityKey;
  readonly #budget: ProbeBudget;
  readonly #pairs: PairTable;
  readonly #replays = new ReplayCache();
  readonly #listening = new SparseMap<StunDemultiplexer, Disposable>();
  readonly #runs = new SparseMap<CheckRun, CandidatePair>();
  /** The check of a pair that callers share. */
  readonly #shared = new SparseMap<CandidatePair, CheckRun>();
  readonly #probes = new SparseSet<Probe>();
  readonly #consents = new SparseSet<Consent>();
  readonly #delayed = new SparseSet<Timer>();
  readonly #counters = { sent: 0, answered: 0, received: 0, limited: 0 };
  /** Undefined while nothing was ignored: there may be thousands of peers. */
  #ignored: IgnoredChecks | undefined;
  /** The pair that was nominated last. */
  #nominatedPair: CandidatePair | undefined;
  #role: CheckRole;
  #tieBreaker: bigint;
  #closed = false;

  constructor(components: ConnectivityChecksComponents, options: ConnectivityChecksOptions) {
    const { clock, random, log } = components;
    this.#components = components;
    this.#options = options;
    this.#log = (log ?? silentLog).child('CHECK');
    this.#localKey = shortTermKey(options.localPassword);
    this.#remoteKey = shortTermKey(options.remotePassword);
    this.#budget = new ProbeBudget({ clock }, options.limits ?? {});
    this.#pairs = new PairTable(this.#budget.limits.maxRemotes);
    this.#role = options.role;
    this.#tieBreaker = randomTieBreaker(random);
    this.listen(components.socket);
  }

  /** The role after conflicts were resolved. */
  get role(): CheckRole {
    return this.#role;
  }

  get stats(): ConnectivityChecksStats {
    return { ...this.#counters, remotes: this.#pairs.size, ignored: { ...(this.#ignored ?? NOTHING_IGNORED) } };
  }

  /** Answers the peer's checks on one more socket, until disposed. @throws Error when the user fragments are taken there. */
  listen(socket: StunDemultiplexer): Disposable {
    const { localUfrag, remoteUfrag } = this.#options;
    const registration = socket.onUser(`${localUfrag}:${remoteUfrag}`, (message, from) =>
      this.#onRequest(socket, message, from),
    );
    this.#listening.set(socket, registration);
    return { [Symbol.dispose]: () => this.#ignore(socket) };
  }

  /**
   * Checks whether the peer answers at `remote`, repeating the request as the schedule says. Callers that ask for the
   * same pair at the same time share one check.
   * @throws the signal's reason.
   */
  async check(remote: Endpoint, options: CheckOptions = {}): Promise<CheckResult> {
    options.signal?.throwIfAborted();
    if (this.#closed) return { ok: false, remote, reason: 'closed' };
    const pair = this.#pair(options.socket ?? this.#components.socket, remote, 'signalled');
    if (pair === undefined) return { ok: false, remote, reason: 'limited' };
    const running = this.#shared.get(pair);
    if (running === undefined) return this.#share(pair, options).wait(options.signal);
    const result = await running.wait(options.signal);
    const nominates = options.useCandidate === true && !running.useCandidate;
    // A triggered check is shorter than what was asked for, and one without USE-CANDIDATE nominates nothing.
    return nominates || (running.triggered && !result.ok) ? this.check(remote, options) : result;
  }

  /**
   * Sends one request on a pair and waits for its answer.
   * @param options.timeoutMs how long to wait. @default 1000
   * @param options.unheardMs tells the peer that nothing was heard on the pair for so long although data was sent
   * @param options.useCandidate nominates the pair, in the controlling role; another that was nominated before is it no more
   *   (draft-thatcher-ice-renomination, without its counter: whichever request arrives last counts)
   * @returns the round trip in ms; undefined when nothing came.
   * @throws the signal's reason.
   */
  async probe(
    remote: Endpoint,
    options: {
      socket?: StunDemultiplexer;
      timeoutMs?: number;
      unheardMs?: number | undefined;
      useCandidate?: boolean;
      signal?: AbortSignal | undefined;
    } = {},
  ): Promise<number | undefined> {
    options.signal?.throwIfAborted();
    const pair = this.#pair(options.socket ?? this.#components.socket, remote, 'signalled');
    if (pair === undefined || this.#closed) return undefined;
    const { timeoutMs = 1_000, unheardMs, useCandidate = false } = options;
    const run = this.#newRun(pair, { maxSends: 1, lastWaitMs: timeoutMs, unheardMs, useCandidate });
    run.start();
    const result = await run.wait(options.signal);
    return result.ok ? result.path.rttMs : undefined;
  }

  /**
   * Keeps consent to send on a verified pair fresh (RFC 7675 §5.1) until disposed or expired.
   * After `onExpired` nothing but checks may be sent there.
   */
  keepConsent(remote: Endpoint, options: ConsentOptions & { socket?: StunDemultiplexer }): Disposable {
    const socket = options.socket ?? this.#components.socket;
    const consent = new Consent(this.#components, {
      ...options,
      probe: (timeoutMs, signal) => this.probe(remote, { socket, timeoutMs, signal }),
      onAnswer: (rttMs) => this.#tell(() => options.onAnswer?.(rttMs)),
      onExpired: () => {
        this.#consents.delete(consent);
        const pair = this.#pairs.find(socket, remote);
        if (pair !== undefined) this.#forgetPath(pair);
        this.#tell(() => options.onExpired());
      },
      onEnd: () => this.#consents.delete(consent),
    });
    this.#consents.add(consent);
    return consent;
  }

  /** Allows `count` more requests to an address that never answered, for a search among its ports. */
  grantProbes(address: string, count: number): void {
    this.#budget.grant(address, count);
  }

  /**
   * Sends one request whose answer is not awaited, within what {@link grantProbes} has allowed: for a search among many
   * ports, of which at most a few answer. A peer that receives it checks the pair itself, which verifies it.
   * @returns false when nothing was sent.
   */
  probeUnawaited(remote: Endpoint, socket: StunDemultiplexer = this.#components.socket): boolean {
    if (this.#closed || !this.#budget.takeGranted(remote.address)) return false;
    this.#counters.sent++;
    socket.send(this.#encode(this.#components.random.bytes(TRANSACTION_ID_BYTES), socket, false), remote);
    return true;
  }

  /** The verified path of a pair, if it has one. */
  pathTo(remote: Endpoint, socket: StunDemultiplexer = this.#components.socket): VerifiedPath | undefined {
    return this.#pairs.find(socket, remote)?.path;
  }

  /** How much the peer prefers its end of a pair to others of its own, 0…65535; undefined before it has checked the pair. */
  remotePreference(remote: Endpoint, socket: StunDemultiplexer = this.#components.socket): number | undefined {
    return this.#pairs.find(socket, remote)?.remotePreference;
  }

  /** Ends every check and answers nothing more. The sockets stay open. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const consent of [...this.#consents]) consent[Symbol.dispose]();
    for (const socket of [...this.#listening.keys()]) this.#ignore(socket);
    for (const timer of this.#delayed) timer.cancel();
    this.#delayed.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #ignore(socket: StunDemultiplexer): void {
    this.#listening.get(socket)?.[Symbol.dispose]();
    this.#listening.delete(socket);
    for (const [run, pair] of [...this.#runs]) if (pair.socket === socket) run.fail('closed');
    this.#pairs.removeSocket(socket);
  }

  #pair(socket: StunDemultiplexer, remote: Endpoint, source: RemoteSource): CandidatePair | undefined {
    const nowMs = this.#components.clock.now();
    const known = this.#pairs.find(socket, remote);
    if (known !== undefined) {
      known.lastUsedMs = nowMs;
      return known;
    }
    return this.#pairs.add({
      socket,
      remote: { address: remote.address, port: remote.port },
      source,
      owed: 0,
      path: undefined,
      nominated: false,
      remotePreference: undefined,
      nominationPending: false,
      waiting: 0,
      lastUsedMs: nowMs,
    });
  }

  #newRun(pair: CandidatePair, options: RunOptions & { priority?: number }): CheckRun {
    pair.waiting++;
    const run: CheckRun = new CheckRun(this.#components.clock, pair.remote, options, {
      send: () => this.#send(pair, run, options.priority),
      ended: () => {
        pair.waiting--;
        this.#runs.delete(run);
        if (this.#shared.get(pair) === run) this.#shared.delete(pair);
        for (const probe of [...this.#probes]) if (probe.run === run) this.#drop(probe);
      },
    });
    this.#runs.set(run, pair);
    return run;
  }

  /** Starts the one check of a pair that callers share. */
  #share(pair: CandidatePair, options: RunOptions & { priority?: number }): CheckRun {
    const run = this.#newRun(pair, options);
    this.#shared.set(pair, run);
    run.start();
    return run;
  }

  /** Sends one request now or when its turn comes. Returns false when the limits do not allow it. */
  #send(pair: CandidatePair, run: CheckRun, priority: number | undefined): boolean {
    if (pair.path === undefined && pair.owed > 0) pair.owed--;
    else if (pair.path === undefined && !this.#budget.takeUnverified(pair.remote)) {
      this.#counters.limited++;
      return false;
    }
    this.#pace(pair, run, priority);
    return true;
  }

  #pace(pair: CandidatePair, run: CheckRun, priority: number | undefined): void {
    const waitMs = this.#budget.pace();
    if (waitMs === 0) {
      this.#transmit(pair, run, priority);
      return;
    }
    const timer = this.#components.clock.timer(waitMs, () => {
      this.#delayed.delete(timer);
      if (!run.ended) this.#pace(pair, run, priority);
    });
    this.#delayed.add(timer);
  }

  #transmit(pair: CandidatePair, run: CheckRun, priority: number | undefined): void {
    const { clock, random } = this.#components;
    // Every copy has an id of its own, so that each answer gives an exact round trip.
    const transactionId = random.bytes(TRANSACTION_ID_BYTES);
    const useCandidate = run.useCandidate && this.#role === 'controlling';
    const probe: Probe = {
      pair,
      run,
      role: this.#role,
      useCandidate,
      sentAtMs: clock.now(),
      registration: pair.socket.onAnswer(transactionId, (message, from) => this.#onAnswer(probe, message, from)),
      settle: (outcome) => {
        this.#drop(probe);
        if (outcome !== 'again') run.settle(outcome);
        else if (run.conflicts++ < MAX_ROLE_CONFLICTS) this.#send(pair, run, priority);
      },
    };
    this.#probes.add(probe);
    this.#counters.sent++;
    pair.socket.send(this.#encode(transactionId, pair.socket, useCandidate, priority, run.unheardMs), pair.remote);
  }

  #encode(
    transactionId: Uint8Array,
    socket: StunDemultiplexer,
    useCandidate: boolean,
    priority: number = candidatePriority('peer-reflexive', this.#options.localPreference?.(socket)),
    unheardMs?: number | undefined,
  ): Uint8Array {
    const { localUfrag, remoteUfrag } = this.#options;
    const username = `${remoteUfrag}:${localUfrag}`;
    const [role, tieBreaker] = [this.#role, this.#tieBreaker];
    const check = { transactionId, username, priority, role, tieBreaker, useCandidate, unheardMs };
    return encodeCheck(check, this.#remoteKey);
  }

  #drop(probe: Probe): void {
    probe.registration[Symbol.dispose]();
    this.#probes.delete(probe);
  }

  #onAnswer(probe: Probe, message: StunMessage, from: Endpoint): boolean {
    if (!this.#authentic(message, this.#remoteKey)) return true;
    if (!sameEndpoint(from, probe.pair.remote)) {
      this.#countIgnored('asymmetric');
      return true;
    }
    if (message.class === MessageClass.Error) {
      this.#onError(probe, message);
      return true;
    }
    const mapped = message.get(attr.xorMappedAddress);
    if (mapped === undefined) {
      this.#countIgnored('incomplete');
      return true;
    }
    this.#counters.answered++;
    const { pair } = probe;
    const { socket, remote, source } = pair;
    const path: VerifiedPath = { socket, remote, source, mapped, rttMs: this.#components.clock.now() - probe.sentAtMs };
    const fresh = pair.path === undefined;
    pair.path = path;
    if (fresh) this.#tell(() => this.#options.onPath(path));
    if (probe.useCandidate || pair.nominationPending) this.#nominated(pair, path);
    probe.settle({ ok: true, path });
    return true;
  }

  /** Integrity and fingerprint are there and right; the decoder has checked the fingerprint's value. */
  #authentic(message: StunMessage, key: IntegrityKey): boolean {
    const valid = message.checkIntegrity(key) === 'valid';
    if (!valid) this.#countIgnored('badIntegrity');
    else if (!message.has(attr.fingerprint)) this.#countIgnored('noFingerprint');
    return valid && message.has(attr.fingerprint);
  }

  #countIgnored(reason: keyof IgnoredChecks): void {
    this.#ignored ??= { ...NOTHING_IGNORED };
    this.#ignored[reason]++;
  }

  #onError(probe: Probe, message: StunMessage): void {
    const code = message.get(attr.errorCode)?.code;
    if (code !== StunErrorCode.RoleConflict) {
      probe.settle({ ok: false, remote: probe.pair.remote, reason: 'refused', code });
      return;
    }
    // Several requests may be refused for one conflict: the first answer has changed the role already.
    if (probe.role === this.#role) {
      this.#tieBreaker = randomTieBreaker(this.#components.random);
      this.#changeRole();
    }
    probe.settle('again');
  }

  #onRequest(socket: StunDemultiplexer, message: StunMessage, from: Endpoint): boolean {
    if (!this.#authentic(message, this.#localKey)) return true;
    const replay = this.#replays.classify(message, from);
    if (replay === 'copied' || !this.#budget.takeAnswer()) {
      this.#countIgnored(replay === 'copied' ? 'replayed' : 'rate');
      return true;
    }
    const unknown = unknownInCheck(message);
    if (unknown.length > 0) {
      const { UnknownAttribute } = StunErrorCode;
      socket.send(signedBindingError(message, UnknownAttribute, this.#localKey, unknown), from);
      return true;
    }
    const check = readCheck(message);
    if (check.role === this.#role && !this.#resolveConflict(check.tieBreaker)) {
      socket.send(signedBindingError(message, StunErrorCode.RoleConflict, this.#localKey), from);
      return true;
    }
    this.#counters.received++;
    socket.send(signedBindingSuccess(message, from, this.#localKey), from);
    if (replay === 'fresh') this.#triggered(socket, from, check);
    return true;
  }

  /** Returns true when our role has changed, false when the peer has to change its own (RFC 8445 §7.3.1.1). */
  #resolveConflict(theirs: bigint): boolean {
    const weWin = this.#tieBreaker >= theirs;
    if (weWin === (this.#role === 'controlling')) return false;
    this.#changeRole();
    return true;
  }

  #changeRole(): void {
    this.#role = this.#role === 'controlling' ? 'controlled' : 'controlling';
    this.#log.debug('role changed after a conflict', { role: this.#role });
    this.#tell(() => this.#options.onRoleChange?.(this.#role));
  }

  /** Acts on a fresh valid request: checks the pair it came from (RFC 8445 §7.3.1.3 to §7.3.1.5). */
  #triggered(socket: StunDemultiplexer, from: Endpoint, { priority, useCandidate, unheardMs }: ReceivedCheck): void {
    const known = this.#pairs.find(socket, from) !== undefined;
    const pair = this.#pair(socket, from, 'peer-reflexive');
    if (pair === undefined) {
      this.#countIgnored('tooManyRemotes');
      return;
    }
    pair.remotePreference = localPreferenceIn(priority);
    if (!known) {
      this.#log.debug('peer-reflexive endpoint', { remote: formatEndpoint(from) });
      this.#tell(() => this.#options.onPeerReflexive?.(pair.remote, priority, socket));
    }
    this.#tell(() => this.#options.onHeard?.(pair.remote, socket, unheardMs));
    if (this.#closed) return;
    if (useCandidate && this.#role === 'controlled') {
      if (pair.path === undefined) pair.nominationPending = true;
      else this.#nominated(pair, pair.path);
    }
    if (pair.path !== undefined) return;
    // One request for one request: no more than the peer itself has sent goes to an address that it may have forged.
    pair.owed = 1;
    const running = this.#shared.get(pair);
    if (running !== undefined) this.#send(pair, running, undefined);
    // The signal of one caller does not end it for the others.
    else void this.#share(pair, TRIGGERED).wait();
  }

  #nominated(pair: CandidatePair, path: VerifiedPath): void {
    pair.nominationPending = false;
    if (pair.nominated) return;
    if (this.#nominatedPair !== undefined) this.#nominatedPair.nominated = false;
    this.#nominatedPair = pair;
    pair.nominated = true;
    this.#tell(() => this.#options.onNominated?.(path));
  }

  #forgetPath(pair: CandidatePair): void {
    pair.path = undefined;
    pair.nominated = false;
    pair.nominationPending = false;
  }

  /** Calls an observer, whose errors must not disturb the checks. */
  #tell(observer: () => void): void {
    try {
      observer();
    } catch (error) {
      this.#log.error('an observer of connectivity checks failed', { error });
    }
  }
}
