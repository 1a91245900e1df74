import {
  type Clock,
  type Log,
  type PathHistory,
  type PathKind,
  Race,
  type RaceProgress,
  type RaceReport,
  type RaceStatistics,
  type Random,
  SystemClock,
  SystemRandom,
  silentLog,
} from '@towpath/core';
import { type Endpoint, formatEndpoint, isIpAddress, isPort, type Network, NodeNetwork } from '@towpath/net';
import { type PpppSession, parseUid, type StreamCipher } from '@towpath/pppp';
import { CameraError } from '../artemis/camera-error.ts';
import {
  type CandidateContext,
  type ContestedUid,
  candidatesOf,
  directSocket,
  type RememberedPath,
} from './candidates.ts';
import { DEFAULT_PORTS, DEFAULT_SEARCH_PORT, DEFAULT_UID, PORT_STAGGER_MS, THREAD_NAMES } from './defaults.ts';
import { isClosedHost, isWithoutServers, whyNotReached } from './failure-text.ts';
import {
  attemptLimitMs,
  checkWeights,
  type KindStart,
  kindOptions,
  kindsByWeight,
  type PathWeights,
} from './weights.ts';

/** What a race works with; by default that of the system, and no log. */
export interface CameraRaceComponents {
  network?: Network | undefined;
  clock?: Clock | undefined;
  random?: Random | undefined;
  log?: Log | undefined;
  /** Results of earlier attempts by path kind; updated after every race. Time limits of attempts follow it. */
  history?: PathHistory | undefined;
  /** Counts every race. */
  statistics?: RaceStatistics | undefined;
}

/** How one camera is found and reached. */
export interface CameraTargetOptions {
  /** Ports of the camera, in order of preference. @default DEFAULT_PORTS */
  ports?: readonly number[] | undefined;
  /** The camera's UID. Without it the usual one of the KJK230 is tried, and a LAN search accepts any camera. */
  uid?: string | undefined;
  /** Also find the camera by LAN search, on whatever port it listens. @default true */
  search?: boolean | undefined;
  /** UDP port for LAN search. @default 32108 */
  searchPort?: number | undefined;
  /** Search the whole LAN too, and not only the camera's address. Needs `uid`, unless there is no address. */
  searchLan?: boolean | undefined;
  /** Network key. */
  cipher?: StreamCipher | undefined;
  /** Local address to connect from. */
  localAddress?: string | undefined;
  /** Preferred local port of what is sent to the camera itself. @default the one of the last success, else any */
  localPort?: number | undefined;
  /** Rendezvous servers of the camera, for P2P and relayed paths. @default none */
  servers?: readonly Endpoint[] | undefined;
  /** Relays to use instead of those that the servers list. */
  relays?: readonly Endpoint[] | undefined;
  /** The camera's secret for the servers (DSK). Never logged. */
  secret?: string | undefined;
  /** Order and head starts of the path kinds. @default from `history`, else all equal */
  weights?: PathWeights | undefined;
}

export interface CameraRaceOptions extends CameraTargetOptions {
  /** The camera's address, or its UID for LAN search and servers. */
  target: string;
  /** Time limit, ms. @default 30000 */
  limitMs?: number | undefined;
}

export interface RaceRunOptions {
  /** Kinds of path to try. */
  kinds: Iterable<PathKind>;
  /** The last path: its attempt starts first and uses the same local port. */
  remembered?: RememberedPath | undefined;
  /** Local ports of an earlier race by candidate id, to be used again. */
  localPorts?: ReadonlyMap<string, number> | undefined;
  /** Replaces the race's own time limit, ms. */
  limitMs?: number | undefined;
  /** Replaces {@link CameraTargetOptions.searchLan} and its UID. */
  searchLanFor?: string | undefined;
  /** Called with every step of the race. */
  onProgress?: ((progress: RaceProgress) => void) | undefined;
  /** Several devices claim the camera's UID at a server; each attempt tells it once. */
  onContested?: ((contest: ContestedUid) => void) | undefined;
  /**
   * Takes the paths that are found after the first: when a relay has connected, direct attempts continue within the time
   * limit.
   * The receiver closes the session. Ends with `signal`.
   */
  offer?: ((further: RaceSuccess) => void) | undefined;
  /** Takes the part of the search that continues after the result. */
  goesOn?: ((search: Promise<void>) => void) | undefined;
  /** An abort closes every socket and timer before the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

interface RaceResultBase {
  /** Every attempt, in the order in which they were added. */
  readonly report: RaceReport;
  /** The kinds that were tried. */
  readonly kinds: ReadonlySet<PathKind>;
}

export interface RaceSuccess extends RaceResultBase {
  readonly ok: true;
  readonly kind: PathKind;
  /** The open session; the holder of the result closes it. */
  readonly session: PpppSession;
}

export interface RaceFailure extends RaceResultBase {
  readonly ok: false;
  /** Why the camera was not reached, in one line with the next step. */
  readonly error: string;
  /** Every port of the camera's address was reported closed (ICMP), and it is not searched elsewhere. */
  readonly closedHost: boolean;
  /** What was named as rendezvous servers answers with something else, and the camera was not found without them. */
  readonly withoutServers: boolean;
}

export type CameraRaceResult = RaceSuccess | RaceFailure;

const DEFAULT_LIMIT_MS = 30_000;

/** Connects to one camera over several kinds of path at the same time; the first success is used. */
export class CameraRace {
  readonly #target: string;
  readonly #limitMs: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #context: CandidateContext;
  readonly #weights: PathWeights | undefined;
  readonly #history: PathHistory | undefined;
  readonly #statistics: RaceStatistics | undefined;

  /** @throws CameraError `bad-argument` for an invalid address, port, weight or time limit */
  constructor(components: CameraRaceComponents, options: CameraRaceOptions) {
    const { target, ports = DEFAULT_PORTS, limitMs = DEFAULT_LIMIT_MS } = options;
    const named = isIpAddress(target) ? { cameraIp: target } : { uid: uidOf(target) };
    const wrong = [...ports, ...(options.localPort === undefined ? [] : [options.localPort])].find(
      (port) => !isPort(port),
    );
    if (wrong !== undefined) throw badArgument(`${wrong} is not a port. Ports are 1 to 65535.`);
    if (!(limitMs > 0)) throw badArgument('The time limit must be more than 0 seconds.');
    if (options.weights) checkWeights(options.weights);
    this.#weights = options.weights;
    this.#history = components.history;
    this.#statistics = components.statistics;
    this.#target = target;
    this.#limitMs = limitMs;
    this.#clock = components.clock ?? new SystemClock();
    this.#log = components.log ?? silentLog;
    this.#context = {
      network: components.network ?? new NodeNetwork(),
      clock: this.#clock,
      random: components.random ?? new SystemRandom(),
      log: this.#log,
      ports,
      search: options.search ?? true,
      searchPort: options.searchPort ?? DEFAULT_SEARCH_PORT,
      searchLan: options.searchLan ?? false,
      servers: options.servers ?? [],
      relays: options.relays ?? [],
      secret: options.secret,
      uid: options.uid === undefined ? undefined : givenUid(options.uid),
      ...named,
      cipher: options.cipher,
      localAddress: options.localAddress,
      localPort: options.localPort,
    };
  }

  /**
   * Runs the race of the given kinds of path. A camera that was not reached is a result with `ok: false`.
   * @throws the signal's reason when it aborts first.
   */
  async run(options: RaceRunOptions): Promise<CameraRaceResult> {
    const { signal, onProgress, offer, searchLanFor } = options;
    signal?.throwIfAborted();
    const kinds = new Set(options.kinds);
    const log = this.#log.child('CONNECT');
    log.info('Starting parallel connection attempt', { target: this.#target, kinds: [...kinds].join(',') });
    const known: CandidateContext = {
      ...this.#context,
      ...(searchLanFor === undefined ? {} : { uid: searchLanFor, searchLan: true }),
      remembered: options.remembered,
      localPorts: options.localPorts,
      onContested: options.onContested,
    };
    const context = { ...known, socket: directSocket(known) };
    const starts = kindsByWeight(kinds, this.#weights, this.#history);
    const race = new Race<PpppSession>(
      { clock: this.#clock, log },
      {
        limitMs: options.limitMs ?? this.#limitMs,
        kinds: kindOptions(starts, PORT_STAGGER_MS),
        undo: (session) => session.close(),
        ...(offer === undefined
          ? {}
          : {
              onPath: (session, { kind }) => offer(this.#success(session, kind as PathKind, race.report(), kinds)),
            }),
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(signal === undefined ? {} : { signal }),
      },
    );
    this.#addCandidates(race, starts, context);
    options.goesOn?.(race.settled);
    const result = await race.result;
    this.#learn(result.report, result.ok, kinds);
    log.info(`Parallel connection attempt completed in ${(result.report.elapsedMs / 1_000).toFixed(3)} s`);
    if (result.ok) return this.#success(result.path, result.winner.kind as PathKind, result.report, kinds);
    return {
      ok: false,
      error: whyNotReached(this.#target, context, kinds, result.report),
      closedHost: isClosedHost(result.report),
      withoutServers: isWithoutServers(result.report, context),
      report: result.report,
      kinds,
    };
  }

  #addCandidates(race: Race<PpppSession>, starts: readonly KindStart[], context: CandidateContext): void {
    const log = this.#log.child('CONNECT');
    for (const { kind, delayMs } of starts) {
      log.debug(`Started thread: ${THREAD_NAMES[kind]}`, delayMs > 0 ? { delayMs } : undefined);
      const limitMs = attemptLimitMs(kind, this.#history);
      const limit = limitMs === undefined ? {} : { limitMs };
      race.add(...candidatesOf(kind, context).map((candidate) => ({ ...candidate, ...limit })));
    }
    race.seal();
  }

  /** An attempt that was still running when another succeeded has no result; without a success, all have failed. */
  #learn(report: RaceReport, won: boolean, kinds: ReadonlySet<PathKind>): void {
    this.#statistics?.record(report);
    const winner = report.attempts.find(({ state }) => state === 'success');
    if (winner) this.#history?.succeeded(winner.kind, report.elapsedMs);
    for (const kind of kinds) {
      const attempts = report.attempts.filter((one) => one.kind === kind && one.startedAtMs !== undefined);
      const failed = attempts.length > 0 && attempts.every(({ state }) => state === 'failed');
      if (kind !== winner?.kind && (failed || !won)) this.#history?.failed(kind);
    }
  }

  #success(session: PpppSession, kind: PathKind, report: RaceReport, kinds: ReadonlySet<PathKind>): RaceSuccess {
    this.#log.child(kind.toUpperCase()).info(`✓ ${kind.toUpperCase()} connection succeeded`, {
      port: session.local.port,
      peer: formatEndpoint(session.peer),
    });
    return { ok: true, kind, session, report, kinds };
  }
}

function uidOf(text: string): string {
  try {
    return parseUid(text);
  } catch {
    // The text may be meant as an address or as a UID, so the message names both.
    throw badArgument(`"${text}" is not an IP address, such as 192.168.43.1, nor a UID, such as ${DEFAULT_UID}.`);
  }
}

function givenUid(text: string): string {
  try {
    return parseUid(text);
  } catch {
    throw badArgument(`"${text}" is not a UID. Expected a form such as ${DEFAULT_UID}.`);
  }
}

function badArgument(message: string): CameraError {
  return new CameraError('bad-argument', message);
}
