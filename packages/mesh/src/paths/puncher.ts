import { AbortedError, abortable, type Clock, deadline, errorMessage, PathReason, type Random } from '@towpath/core';
import { type Endpoint, formatEndpoint, isPort } from '@towpath/net';
import { type ConnectivityChecks, type NatFacts, StunTransactions, bindingResult } from '@towpath/stun';
import { Method } from '@towpath/stun/message';
import { MeshReason } from '../reason.ts';
import { type PunchPlan, type PunchStrategy, planPunch } from './nat-facts.ts';
import { PathSocket } from './path-socket.ts';
import type { PunchSignal } from './punch-signal.ts';
import type { SharedByPeers } from './shared-by-peers.ts';

export interface PuncherComponents {
  /** Its budget limits what all peers of this node do. */
  shared: Pick<SharedByPeers, 'network' | 'clock' | 'random' | 'log' | 'budget' | 'memory'>;
  checks: ConnectivityChecks;
}

export interface PuncherOptions {
  /** Both predict ports: this side begins. */
  isControlling: boolean;
  /** What is known of this machine's NAT. */
  facts(): NatFacts | undefined;
  /** Its external address, the distance of its ports, and a server that tells them. */
  nat(): { step: number; address: string; server: Endpoint } | undefined;
  /** The path socket that this node is reached at. */
  socket(): PathSocket | undefined;
  /** Public addresses that the peer has named. */
  targets(): readonly Endpoint[];
  /** The peer has answered a signed check from this address, through a relay: it is not a third party's. */
  isProven(address: string): boolean;
  hasDirect(): boolean;
  /** Answers checks on a further socket. */
  adopt(socket: PathSocket): void;
  /** Closes a socket unless a path uses it. */
  drop(socket: PathSocket): void;
  signal(signal: PunchSignal): void;
  note(what: 'attempt' | 'success' | 'failure', label: string, reason: string): void;
}

/** docs/protocol/connectivity.md, "NAT traversal". */
export const PUNCH = {
  sockets: 256,
  probes: 1_024,
  probesPerSecond: 250,
  /** An attack is over after this long. */
  limitMs: 8_000,
  /** Ports next to the last one that are tried. */
  predictions: 12,
  /** A strategy that failed this often without a success between these networks is tried rarely. */
  hopelessAfter: 4,
  hopelessAgainMs: 600_000,
} as const;

const BATCH = 32;
const BATCH_PAUSE_MS = 10;
const SEARCH_BATCH = 10;
/** Both sides' first packets open the ports; they are repeated once, because packets get lost. */
const REPEAT_MS = 2_000;
const ASK = { rtoMs: 250, maxSends: 3, lastWaitFactor: 2 };
/** A peer that has not answered a signed check from an address for so long is not attacked there, ms. */
const PROOF_MS = 2_000;
const PROOF_STEP_MS = 50;
const MIN_PORT = 1_024;
const MAX_PORT = 65_535;
const MAX_TARGETS = 2;
const LABELS: Record<PunchStrategy, string> = { prediction: 'port prediction', birthday: 'birthday attack' };

/** Finds a direct path to one peer where both NATs filter ports and one or both choose a new port for each destination. */
export class Puncher {
  readonly #shared: PuncherComponents['shared'];
  readonly #checks: ConnectivityChecks;
  readonly #options: PuncherOptions;
  readonly #signal: AbortSignal;
  #theirs: NatFacts | undefined;
  /** Resolved when a direct path was verified; undefined before the first attack. */
  #found: PromiseWithResolvers<void> | undefined;
  /** The socket whose next port the peer was told, when both sides predict ports. */
  #predicted: PathSocket | undefined;
  #failedAtMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #interruption: AbortController | undefined;

  constructor({ shared, checks }: PuncherComponents, options: PuncherOptions, signal: AbortSignal) {
    this.#shared = shared;
    this.#checks = checks;
    this.#options = options;
    this.#signal = signal;
  }

  /** Takes over what the peer says of its NAT. */
  set theirNat(facts: NatFacts | undefined) {
    this.#theirs = facts;
  }

  get plan(): PunchPlan | undefined {
    return planPunch(this.#options.facts(), this.#theirs);
  }

  /** Both NATs are known, and an attack may help. */
  get isReady(): boolean {
    return this.plan !== undefined && this.#options.nat() !== undefined;
  }

  /** Why there is no direct path, as far as the NATs decide it; undefined when that is not known. */
  get obstacle(): MeshReason | undefined {
    const [own, theirs] = [this.#options.facts(), this.#theirs];
    if (own?.udp === false || theirs?.udp === false) return MeshReason.udpBlocked;
    if (this.#failures > 0) return MeshReason.punchFailed;
    if (own === undefined || theirs === undefined) return undefined;
    if (this.plan !== undefined) return this.#shared.budget.enabled ? MeshReason.punching : MeshReason.punchOff;
    return bothHard(own, theirs) ? MeshReason.hardNats : undefined;
  }

  /** This strategy has worked between the same networks before, so that plain checks need not be waited for. */
  get isPromising(): boolean {
    const { plan } = this;
    return plan !== undefined && (this.#shared.memory.record(this.#pair, plan.strategy)?.wins ?? 0) > 0;
  }

  /** A direct path was verified: an attack that is under way is over. */
  found(): void {
    this.#failures = 0;
    this.#found?.resolve();
  }

  /** Ends the attack under way, which was meant for the network before. */
  interrupt(): void {
    this.#interruption?.abort(new AbortedError('The network has changed.'));
    this.#interruption = undefined;
  }

  /** Aborts when the paths are closed, or with the next {@link interrupt}. */
  get untilInterrupted(): AbortSignal {
    this.#interruption ??= new AbortController();
    return AbortSignal.any([this.#signal, this.#interruption.signal]);
  }

  /** Begins an attack when one may help, this side is the one that begins, and the budget allows it. */
  async attempt(): Promise<void> {
    const { plan } = this;
    const nat = this.#options.nat();
    if (plan === undefined || nat === undefined || plan.role === 'search' || this.#options.hasDirect()) return;
    if (plan.role === 'both' && !this.#options.isControlling) return;
    if (this.#isHopeless(plan.strategy)) return;
    const [target] = this.#options.targets();
    if (plan.strategy === 'birthday' && (target === undefined || !(await this.#isSoonProven(target.address)))) return;
    using turn = this.#shared.budget.take('open');
    if (turn === undefined) return;
    await this.#attack(plan.strategy, async (signal) => {
      if (plan.strategy === 'birthday') await this.#openMany(nat.address, signal);
      else await this.#predict(nat, plan.role === 'both', signal);
    });
  }

  /** Takes a message of the peer. */
  async receive(signal: PunchSignal): Promise<void> {
    const { plan } = this;
    if (plan === undefined || this.#options.hasDirect()) return;
    const { type, endpoint, step } = signal;
    if (type === 'search' && plan.strategy === 'birthday' && plan.role === 'search') {
      if (!(await this.#isSoonProven(endpoint.address))) return;
      using turn = this.#shared.budget.take('search');
      if (turn !== undefined) await this.#attack('birthday', (ended) => this.#search(endpoint.address, ended));
    } else if (type === 'predicted' && plan.strategy === 'prediction') {
      if (plan.role === 'search')
        await this.#attack('prediction', (ended) => this.#tryNext(endpoint, step, undefined, ended));
      else if (plan.role === 'both') await this.#answerPrediction(endpoint, step);
    } else if (type === 'predicted-reply' && plan.role === 'both' && this.#predicted !== undefined) {
      await this.#tryNext(endpoint, step, this.#predicted, this.untilInterrupted);
    }
  }

  get #pair(): string {
    return `${this.#options.nat()?.address} ${this.#options.targets()[0]?.address}`;
  }

  /** The peer's first check from an address that it has just told may still be on its way. */
  async #isSoonProven(address: string): Promise<boolean> {
    const signal = this.untilInterrupted;
    for (let waitedMs = 0; waitedMs < PROOF_MS && !signal.aborted; waitedMs += PROOF_STEP_MS) {
      if (this.#options.isProven(address)) return !this.#options.hasDirect();
      await this.#shared.clock.sleep(PROOF_STEP_MS, signal).catch(() => {});
    }
    return false;
  }

  #isHopeless(strategy: PunchStrategy): boolean {
    const { clock, memory } = this.#shared;
    const record = memory.record(this.#pair, strategy);
    if (record === undefined || record.wins >= 0.5 || record.tries < PUNCH.hopelessAfter - 0.5) return false;
    return clock.now() - this.#failedAtMs < PUNCH.hopelessAgainMs;
  }

  async #attack(strategy: PunchStrategy, act: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { clock, log, memory } = this.#shared;
    const label = LABELS[strategy];
    this.#options.note('attempt', label, MeshReason.punching);
    this.#found = Promise.withResolvers();
    const startedAtMs = clock.now();
    const signal = this.untilInterrupted;
    try {
      await act(signal);
    } catch (error) {
      if (this.#signal.aborted) return;
      log.debug(`The ${label} was ended: ${errorMessage(error)}`);
    }
    if (this.#signal.aborted) return;
    if (this.#options.hasDirect()) {
      memory.succeeded(this.#pair, strategy, clock.now() - startedAtMs);
      this.#options.note('success', label, 'direct');
      return;
    }
    if (signal.aborted) {
      this.#options.note('failure', label, PathReason.networkChanged);
      return;
    }
    this.#failures++;
    this.#failedAtMs = clock.now();
    memory.failed(this.#pair, strategy);
    this.#options.note('failure', label, MeshReason.punchFailed);
  }

  /** Waits until a direct path was found; false after `limitMs`. */
  async #foundWithin(limitMs: number, signal: AbortSignal): Promise<boolean> {
    if (this.#options.hasDirect()) return true;
    using limit = deadline(this.#shared.clock, limitMs, signal);
    this.#found ??= Promise.withResolvers();
    await abortable(this.#found.promise, limit.signal).catch(() => {});
    signal.throwIfAborted();
    return this.#options.hasDirect();
  }

  /** Opens many ports of the own NAT towards the peer, which searches for one of them. */
  async #openMany(address: string, signal: AbortSignal): Promise<void> {
    const { network, clock } = this.#shared;
    const checks = this.#checks;
    const targets = this.#provenTargets();
    const [port = MIN_PORT] = [this.#options.socket()?.local.port];
    if (targets.length === 0) return;
    this.#options.signal({ type: 'search', endpoint: { address, port }, step: 0 });
    const sockets: PathSocket[] = [];
    const send = (socket: PathSocket) => {
      for (const target of targets) {
        checks.grantProbes(target.address, 1);
        checks.probeUnawaited(target, socket.stun);
      }
    };
    try {
      while (sockets.length < PUNCH.sockets && !this.#options.hasDirect()) {
        const batch = await Promise.all(Array.from({ length: BATCH }, () => PathSocket.open(network, 4, 0)));
        sockets.push(...batch);
        for (const socket of batch) {
          this.#options.adopt(socket);
          send(socket);
        }
        await clock.sleep(BATCH_PAUSE_MS, signal);
      }
      if (await this.#foundWithin(REPEAT_MS, signal)) return;
      for (const socket of sockets) send(socket);
      await this.#foundWithin(PUNCH.limitMs - REPEAT_MS, signal);
    } finally {
      for (const socket of sockets) this.#options.drop(socket);
    }
  }

  /** Searches for a port that the peer has opened. */
  async #search(address: string, signal: AbortSignal): Promise<void> {
    const { clock } = this.#shared;
    const checks = this.#checks;
    const socket = this.#options.socket();
    if (socket === undefined || !this.#options.isProven(address)) return;
    const ports = this.#randomPorts(PUNCH.probes);
    const pauseMs = (SEARCH_BATCH * 1_000) / PUNCH.probesPerSecond;
    for (let at = 0; at < ports.length && !this.#options.hasDirect(); at += SEARCH_BATCH) {
      const batch = ports.slice(at, at + SEARCH_BATCH);
      checks.grantProbes(address, batch.length);
      for (const port of batch) checks.probeUnawaited({ address, port }, socket.stun);
      await clock.sleep(pauseMs, signal);
    }
    await this.#foundWithin(REPEAT_MS, signal);
  }

  /** Opens a port of the own NAT towards the peer, just after a server has told which port the NAT gave out last. */
  async #predict(nat: { server: Endpoint; step: number }, both: boolean, signal: AbortSignal): Promise<void> {
    const socket = await PathSocket.open(this.#shared.network, 4, 0);
    try {
      this.#options.adopt(socket);
      const endpoint = await this.#askPort(socket, nat.server, signal);
      if (both) this.#predicted = socket;
      else this.#open(socket, signal);
      this.#options.signal({ type: 'predicted', endpoint, step: nat.step });
      await this.#foundWithin(PUNCH.limitMs, signal);
    } finally {
      this.#predicted = undefined;
      this.#options.drop(socket);
    }
  }

  /** Both sides choose ports in sequence: tells the peer the own next ports, and tries the peer's. */
  async #answerPrediction(theirs: Endpoint, step: number): Promise<void> {
    const nat = this.#options.nat();
    using turn = this.#shared.budget.take('open');
    if (nat === undefined || turn === undefined) return;
    await this.#attack('prediction', async (signal) => {
      const socket = await PathSocket.open(this.#shared.network, 4, 0);
      try {
        this.#options.adopt(socket);
        const endpoint = await this.#askPort(socket, nat.server, signal);
        this.#options.signal({ type: 'predicted-reply', endpoint, step: nat.step });
        await this.#tryNext(theirs, step, socket, signal);
      } finally {
        this.#options.drop(socket);
      }
    });
  }

  #open(socket: PathSocket, signal: AbortSignal): void {
    for (const target of this.#options.targets().slice(0, MAX_TARGETS)) {
      void this.#checks.check(target, { socket: socket.stun, signal }).catch(() => {});
    }
  }

  /** Checks the ports that the peer's NAT gives out next. */
  async #tryNext(
    { address, port }: Endpoint,
    step: number,
    from: PathSocket | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const socket = from ?? this.#options.socket();
    if (socket === undefined || step === 0) return;
    const checks = this.#checks;
    const next = Array.from({ length: PUNCH.predictions }, (_, at) => port + step * (at + 1)).filter(isPort);
    this.#options.note(
      'attempt',
      `${formatEndpoint({ address, port })} and the next ${next.length}`,
      MeshReason.punching,
    );
    for (const predicted of next) {
      const remote = { address, port: predicted };
      void checks.check(remote, { socket: socket.stun, maxSends: 4, signal }).catch(() => {});
    }
    await this.#foundWithin(PUNCH.limitMs / 2, signal);
  }

  #askPort(socket: PathSocket, server: Endpoint, signal: AbortSignal): Promise<Endpoint> {
    return askExternal(this.#shared, { socket, server, signal });
  }

  #provenTargets(): Endpoint[] {
    const targets = this.#options.targets().slice(0, MAX_TARGETS);
    return targets.filter(({ address }) => this.#options.isProven(address));
  }

  #randomPorts(count: number): number[] {
    const ports = new Set<number>();
    while (ports.size < count) ports.add(this.#shared.random.integer(MIN_PORT, MAX_PORT));
    return [...ports];
  }
}

/** Asks a server which endpoint a path socket has beyond its NAT. @throws StunError without an answer. */
export async function askExternal(
  { clock, random }: { clock: Clock; random: Random },
  { socket, server, signal }: { socket: PathSocket; server: Endpoint; signal: AbortSignal },
): Promise<Endpoint> {
  const transactions = new StunTransactions({ clock, random, send: (data, to) => socket.stun.send(data, to) });
  using _answers = socket.stun.onOther((message, from) => transactions.handle(message, from));
  const { mapped } = bindingResult(await transactions.request(server, { method: Method.Binding, ...ASK, signal }));
  return mapped;
}

function bothHard(own: NatFacts, theirs: NatFacts): boolean {
  return [own, theirs].every(({ mapping }) => mapping !== 'none' && mapping !== 'endpoint-independent');
}
