import {
  type Clock,
  type Log,
  type PathHistory,
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
import { type CandidateContext, candidatesOf, RELAY_ID, RENDEZVOUS_ID, type RememberedPath } from './candidates.ts';
import { type ConnectFailure, type ConnectResult, type ConnectSuccess, waysInfo } from './report.ts';
import { type ConnectionMode, DEFAULT_DESTINATION_PORTS, DEFAULT_UID, PORT_STAGGER_MS, WAY_NAMES } from './way.ts';
import { attemptLimitMs, checkWeights, lanesOf, type ModeWeights, waysByWeight } from './weights.ts';

export interface ParallelConnectionOptions {
  /** Ports of the camera, in order of preference. @default DEFAULT_DESTINATION_PORTS */
  destinationPorts?: readonly number[];
  /** Nothing outlives this, **seconds**. @default 30 */
  maxConnectionTime?: number;
  /** Says nothing by default. */
  logger?: Log;
  /** The camera's UID. Without it the usual one of the KJK230 is tried, and a LAN search takes any that answers. */
  uid?: string;
  /** Where the camera answers LAN searches. @default 32108 */
  searchPort?: number;
  /** Network key of keyed dialects. */
  cipher?: StreamCipher;
  /** Local address to leave from. */
  localAddress?: string;
  /** Rendezvous servers that know the camera, for the P2P and the relay way. @default none */
  servers?: readonly Endpoint[];
  /** Relays to use besides those that the servers name. */
  relays?: readonly Endpoint[];
  /** The camera's secret at the servers. Never logged. */
  secret?: string;
  /** Order and head starts of the ways, such as `{ p2p: 1, lan: 0.8, relay: 0.5 }`. @default what `history` says, else all alike */
  modeWeights?: ModeWeights;
  /** How each way fared so far; written after every race. Time limits follow it too. */
  history?: PathHistory;
  /** Counts every race. */
  statistics?: RaceStatistics;
  /** The platform's network, time and randomness unless a test gives others. */
  network?: Network;
  clock?: Clock;
  random?: Random;
}

export interface ConnectParallelOptions {
  /** @default true */
  enableP2p?: boolean;
  /** @default true */
  enableLan?: boolean;
  /** @default false */
  enableRelay?: boolean;
  /** The path of last time: its attempt leads and leaves from the same local port. */
  remembered?: RememberedPath;
  /** Local ports of an earlier race by candidate id, to leave from again. */
  localPorts?: ReadonlyMap<string, number>;
  /** Instead of the manager's own, **seconds**. */
  maxConnectionTime?: number;
  /** Every step of the race, for people who watch. */
  onProgress?(progress: RaceProgress): void;
  /**
   * When given, and a relay has won, the direct ways go on within the time limit; their success comes here, and whoever
   * gets it closes the session. Ends with `signal`.
   */
  onBetter?(better: ConnectSuccess): void;
  /** Cancelling closes every socket and timer before the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

const DEFAULT_MAX_CONNECTION_TIME_S = 30;
const DEFAULT_SEARCH_PORT = 32108;

/**
 * Reaches one camera by several ways at once; the first that answers wins.
 *
 * @example
 * const manager = new ParallelConnectionManager('192.168.43.1');
 * const result = await manager.connectParallel();
 * if (result.success) console.log(`${result.winningThread} in ${result.elapsedTime} s`);
 */
export class ParallelConnectionManager {
  readonly #target: string;
  readonly #maxConnectionTimeS: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #context: CandidateContext;
  readonly #weights: ModeWeights | undefined;
  readonly #history: PathHistory | undefined;
  readonly #statistics: RaceStatistics | undefined;

  /**
   * @param cameraIp the camera's address; or its UID, when only a LAN search and the servers can find it
   * @throws CameraError `bad-argument` when the address, a port or the time makes no sense.
   */
  constructor(cameraIp: string, options: ParallelConnectionOptions = {}) {
    const { destinationPorts = DEFAULT_DESTINATION_PORTS, maxConnectionTime = DEFAULT_MAX_CONNECTION_TIME_S } = options;
    const named = isIpAddress(cameraIp) ? { cameraIp } : { uid: uidOf(cameraIp) };
    const wrong = destinationPorts.find((port) => !isPort(port));
    if (wrong !== undefined) throw badArgument(`${wrong} is not a port; ports go from 1 to 65535.`);
    if (!(maxConnectionTime > 0)) throw badArgument('maxConnectionTime is given in seconds and must be positive.');
    if (options.modeWeights) checkWeights(options.modeWeights);
    this.#weights = options.modeWeights;
    this.#history = options.history;
    this.#statistics = options.statistics;
    this.#target = cameraIp;
    this.#maxConnectionTimeS = maxConnectionTime;
    this.#clock = options.clock ?? new SystemClock();
    this.#log = options.logger ?? silentLog;
    this.#context = {
      network: options.network ?? new NodeNetwork(),
      clock: this.#clock,
      random: options.random ?? new SystemRandom(),
      log: this.#log,
      destinationPorts,
      searchPort: options.searchPort ?? DEFAULT_SEARCH_PORT,
      servers: options.servers ?? [],
      relays: options.relays ?? [],
      ...(options.secret === undefined ? {} : { secret: options.secret }),
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...named,
      ...(options.cipher === undefined ? {} : { cipher: options.cipher }),
      ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
    };
  }

  /**
   * Races the enabled ways. Never rejects because a camera was not reached: that is a result with `success: false`.
   * @throws the signal's reason when it aborts first.
   */
  async connectParallel(options: ConnectParallelOptions = {}): Promise<ConnectResult> {
    const { signal, remembered, onProgress, onBetter } = options;
    signal?.throwIfAborted();
    const enabled = enabledWays(options);
    const log = this.#log.child('CONNECT');
    log.info('Starting parallel connection attempt', { target: this.#target, ways: [...enabled].join(',') });
    const context = {
      ...this.#context,
      ...(remembered === undefined ? {} : { remembered }),
      ...(options.localPorts === undefined ? {} : { localPorts: options.localPorts }),
    };
    const ways = waysByWeight(enabled, this.#weights, this.#history);
    const race = new Race<PpppSession>({
      clock: this.#clock,
      log,
      limitMs: (options.maxConnectionTime ?? this.#maxConnectionTimeS) * 1_000,
      lanes: lanesOf(ways, PORT_STAGGER_MS),
      undo: (session) => session.close(),
      ...(onBetter === undefined
        ? {}
        : { onBetter: (session, { lane }) => onBetter(this.#success(session, lane as ConnectionMode, summary())) }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
    });
    for (const { mode, delayMs } of ways) {
      log.debug(`Started thread: ${WAY_NAMES[mode]}`, delayMs > 0 ? { delayMs } : undefined);
      const limitMs = attemptLimitMs(mode, this.#history);
      const limit = limitMs === undefined ? {} : { limitMs };
      race.add(...candidatesOf(mode, context).map((candidate) => ({ ...candidate, ...limit })));
    }
    race.seal();
    const summary = () => summaryOf(race.report(), enabled, false);
    const result = await race.result;
    this.#learn(
      result.report,
      result.ok,
      ways.map(({ mode }) => mode),
    );
    const base = summaryOf(result.report, enabled, !result.ok);
    log.info(`Parallel connection attempt completed in ${base.elapsedTime.toFixed(3)} s`);
    if (result.ok) return this.#success(result.path, result.winner.lane as ConnectionMode, base);
    return { success: false, error: this.#whyNot(enabled, result.report), ...base };
  }

  /** A way that was not done when another won says nothing about itself; when nobody won, all have failed. */
  #learn(report: RaceReport, won: boolean, ways: readonly ConnectionMode[]): void {
    this.#statistics?.record(report);
    const winner = report.attempts.find(({ state }) => state === 'success');
    if (winner) this.#history?.succeeded(winner.lane, report.elapsedMs);
    for (const mode of ways) {
      const attempts = report.attempts.filter(({ lane, startedAtMs }) => lane === mode && startedAtMs !== undefined);
      const failed = attempts.length > 0 && attempts.every(({ state }) => state === 'failed');
      if (mode !== winner?.lane && (failed || !won)) this.#history?.failed(mode);
    }
  }

  #success(
    session: PpppSession,
    mode: ConnectionMode,
    base: Omit<ConnectFailure, 'success' | 'error'>,
  ): ConnectSuccess {
    this.#log.child(mode.toUpperCase()).info(`✓ ${mode.toUpperCase()} connection succeeded`, {
      port: session.local.port,
      peer: formatEndpoint(session.peer),
    });
    return {
      success: true,
      mode,
      port: session.local.port,
      destinationPort: session.peer.port,
      winningThread: WAY_NAMES[mode],
      session,
      ...base,
    };
  }

  #whyNot(enabled: ReadonlySet<ConnectionMode>, { attempts }: RaceReport): string {
    if (enabled.size === 0) return 'Every way is switched off. Next: enable at least one of p2p, lan and relay.';
    const { cameraIp, destinationPorts, servers } = this.#context;
    if (enabled.size === 1 && enabled.has('relay') && servers.length === 0) {
      return 'The relay way needs rendezvous servers. Next: name at least one.';
    }
    // What the servers said is worth more than silence on a port, of which there is one reason per port.
    const said = attempts.flatMap(({ id, lane, error }) => {
      const byServers = id === RENDEZVOUS_ID || id === RELAY_ID;
      return byServers && error ? [`${lane.toUpperCase()}: ${error.message}`] : [];
    });
    const where =
      cameraIp === undefined || destinationPorts.length === 0 ? '' : ` on ports ${destinationPorts.join(', ')}`;
    const next = said.length > 0 ? said.join(' ') : 'Next: check that the camera is awake and on this network.';
    return `No answer from ${this.#target}${where}. ${next}`;
  }
}

function enabledWays({ enableP2p = true, enableLan = true, enableRelay = false }: ConnectParallelOptions) {
  const ways = new Set<ConnectionMode>();
  if (enableP2p) ways.add('p2p');
  if (enableLan) ways.add('lan');
  if (enableRelay) ways.add('relay');
  return ways;
}

function summaryOf(report: RaceReport, enabled: ReadonlySet<ConnectionMode>, lost: boolean) {
  return { elapsedTime: report.elapsedMs / 1_000, threadsInfo: waysInfo(report, enabled, lost), report };
}

function uidOf(text: string): string {
  try {
    return parseUid(text);
  } catch {
    // The caller meant an address at least as often as a UID, so both are named.
    throw badArgument(`"${text}" is not an IP address, such as 192.168.43.1, nor a UID, such as ${DEFAULT_UID}.`);
  }
}

function badArgument(message: string): CameraError {
  return new CameraError('bad-argument', message);
}
