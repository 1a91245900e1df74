import {
  AbortedError,
  backoff,
  errorMessage,
  isAbort,
  type Log,
  PathHistory,
  type RaceProgress,
  type RaceReport,
  RaceStatistics,
  SystemClock,
  SystemRandom,
  silentLog,
} from '@towpath/core';
import { CameraError } from '../artemis/camera-error.ts';
import type { CameraConnector, ConnectedCamera, ConnectorOptions } from '../client/connector.ts';
import { type ConnectParallelOptions, ParallelConnectionManager, type ParallelConnectionOptions } from './manager.ts';
import type { CameraMemory, PathMemory } from './memory.ts';
import type { ConnectResult, ConnectSuccess } from './report.ts';

export interface RaceConnectorOptions extends Omit<ParallelConnectionOptions, 'history' | 'statistics'> {
  /** Ways to race. @default LAN and P2P */
  enableP2p?: boolean;
  enableLan?: boolean;
  enableRelay?: boolean;
  /** Without it what races teach is remembered only as long as the connector lives. */
  memory?: PathMemory;
  /** Every step of every race. */
  onProgress?(progress: RaceProgress): void;
  /** Every finished race, won or lost. */
  onResult?(result: ConnectResult): void;
}

/** A try of its own is bounded, so that a retry comes soon, seconds. Requirement B7. */
const DISCOVERY_TIME_S = 5;

/** Re-punching from a relay: 5, 10, 20, 40, 60 s and on. */
const DIRECT_RETRY = { baseMs: 5_000, maxMs: 60_000 };

/**
 * After so many failed tries the candidates leave from their other set of local ports. Both reasons for a camera's silence
 * are served: it may have admitted the port of an attempt that did not win, so ports are kept; or it may hold a dead
 * session for one, so they change.
 */
const TRIES_PER_PORT_SET = 4;

/**
 * Connects a `CameraClient` by racing: one try is one race. The local port of the last success leads the next race
 * (requirement B6), and how each way fared decides which of them get a head start (A9).
 */
export class RaceConnector implements CameraConnector {
  readonly target: string;
  readonly #options: RaceConnectorOptions;
  readonly #log: Log;
  #manager: Promise<ParallelConnectionManager> | undefined;
  #memory: CameraMemory = {};
  #statistics = new RaceStatistics();
  #history: PathHistory;
  readonly #portSets = [new Map<string, number>(), new Map<string, number>()];
  #failures = 0;

  /** @throws CameraError `bad-argument`. */
  constructor(cameraIp: string, options: RaceConnectorOptions = {}) {
    this.target = cameraIp;
    this.#options = options;
    this.#log = (options.logger ?? silentLog).child('CONNECT');
    this.#history = new PathHistory(options.clock ?? new SystemClock());
    // Made once for its checks, so that a wrong argument is told at once and not at the first connect.
    new ParallelConnectionManager(cameraIp, options);
  }

  /** What was counted so far, earlier processes included when there is a memory. */
  get statistics(): RaceStatistics {
    return this.#statistics;
  }

  /** @throws CameraError `connect-failed` with the reason of each way; the signal's reason. */
  async connect(options: ConnectorOptions): Promise<ConnectedCamera & { report: RaceReport }> {
    const { lifetime, onBetter } = options;
    const found = Promise.withResolvers<void>();
    const result = await this.#race(options, {
      ...(onBetter === undefined
        ? {}
        : {
            onBetter: (better: ConnectSuccess) => {
              found.resolve();
              this.#hand(better, onBetter);
            },
          }),
    });
    if (!result.success) throw new CameraError('connect-failed', result.error, { target: this.target });
    if (result.mode === 'relay' && onBetter && lifetime) void this.#leaveRelay(lifetime, onBetter, found.promise);
    return { session: result.session, report: result.report };
  }

  async #race({ signal, lifetime, limitMs }: ConnectorOptions, more: ConnectParallelOptions): Promise<ConnectResult> {
    const { enableP2p, enableLan, enableRelay, onProgress, onResult } = this.#options;
    this.#manager ??= this.#begin();
    const manager = await this.#manager;
    const { path } = this.#memory;
    const result = await manager.connectParallel({
      ...(enableP2p === undefined ? {} : { enableP2p }),
      ...(enableLan === undefined ? {} : { enableLan }),
      ...(enableRelay === undefined ? {} : { enableRelay }),
      ...(path === undefined ? {} : { remembered: path }),
      ...(limitMs === undefined ? {} : { maxConnectionTime: limitMs / 1_000 }),
      localPorts: this.#ports,
      ...(onProgress === undefined ? {} : { onProgress }),
      signal: lifetime === undefined ? signal : AbortSignal.any([signal, lifetime]),
      ...more,
    });
    onResult?.(result);
    this.#keepPorts(result);
    await this.#remember(result);
    return result;
  }

  #hand(better: ConnectSuccess, onBetter: (camera: ConnectedCamera) => void): void {
    this.#log.info(`A direct path was found: leaving the relay for ${better.winningThread}`);
    void this.#remember(better);
    onBetter({ session: better.session, report: better.report });
  }

  /** While a relay carries, the direct ways are tried again and again, each time a little later. */
  async #leaveRelay(
    lifetime: AbortSignal,
    onBetter: (camera: ConnectedCamera) => void,
    found: Promise<void>,
  ): Promise<void> {
    const { clock = new SystemClock(), random = new SystemRandom(), enableLan, enableP2p } = this.#options;
    if (enableLan === false && enableP2p === false) return;
    const done = new AbortController();
    void found.then(() => done.abort(new AbortedError('A direct path was found.')));
    const signal = AbortSignal.any([lifetime, done.signal]);
    try {
      for (const delayMs of backoff({ ...DIRECT_RETRY, random })) {
        await clock.sleep(delayMs, signal);
        const result = await this.#race({ signal, limitMs: DISCOVERY_TIME_S * 1_000 }, { enableRelay: false });
        if (!result.success) continue;
        this.#hand(result, onBetter);
        return;
      }
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) this.#log.warn(`Looking for a direct path ended: ${errorMessage(error)}`);
    }
  }

  get #ports(): Map<string, number> {
    const set = Math.floor(this.#failures / TRIES_PER_PORT_SET) % this.#portSets.length;
    return this.#portSets[set] ?? new Map();
  }

  #keepPorts({ success, report }: ConnectResult): void {
    for (const { id, localPort } of report.attempts) if (localPort !== undefined) this.#ports.set(id, localPort);
    this.#failures = success ? 0 : this.#failures + 1;
  }

  async #begin(): Promise<ParallelConnectionManager> {
    try {
      this.#memory = (await this.#options.memory?.recall(this.target)) ?? {};
    } catch (error) {
      this.#log.warn(`What is known of ${this.target} could not be read: ${errorMessage(error)}`);
    }
    this.#history = new PathHistory(this.#options.clock ?? new SystemClock(), this.#memory.history);
    this.#statistics = new RaceStatistics(this.#memory.statistics);
    return new ParallelConnectionManager(this.target, {
      maxConnectionTime: DISCOVERY_TIME_S,
      ...this.#options,
      history: this.#history,
      statistics: this.#statistics,
    });
  }

  async #remember(result: ConnectResult): Promise<void> {
    if (result.success) {
      const { mode, port: localPort, destinationPort } = result;
      this.#memory.path = { mode, localPort, destinationPort };
    }
    this.#memory.history = this.#history.snapshot();
    this.#memory.statistics = this.#statistics.snapshot();
    try {
      await this.#options.memory?.remember(this.target, this.#memory);
    } catch (error) {
      this.#log.warn(`What this race has taught could not be remembered: ${errorMessage(error)}`);
    }
  }
}
