import {
  type Clock,
  errorMessage,
  type Log,
  PathHistory,
  type PathKind,
  type RaceProgress,
  RaceStatistics,
  type Random,
  SystemClock,
  silentLog,
} from '@towpath/core';
import { type Endpoint, isPort, type Network, NodeNetwork } from '@towpath/net';
import { CameraError } from '../artemis/camera-error.ts';
import type { RememberedPath } from '../connect/candidates.ts';
import { CameraRace, type CameraTargetOptions } from '../connect/camera-race.ts';
import type { PathWeights } from '../connect/weights.ts';
import { type ConnectResult, ConnectSuccess, connectResult } from './connect-result.ts';

/** Preference of each kind of path, such as `{ p2p: 1.0, lan: 0.8, relay: 0.5 }`. */
export type ModeWeights = PathWeights;

export interface ParallelConnectionOptions extends Omit<CameraTargetOptions, 'ports' | 'weights'> {
  /** Ports of the camera, in order of preference. @default 40611, 32100, 32108, 10000, 80, 57743 */
  destinationPorts?: readonly number[] | undefined;
  /** Time limit, **seconds**. @default 30 */
  maxConnectionTime?: number | undefined;
  /** Silent by default. */
  logger?: Log | undefined;
  /** Host name or address of a server that relays: `towpath pppp serve`. Used with `enableRelay`. */
  relayServer?: string | undefined;
  /**
   * Port of `relayServer`: of its rendezvous service (32100 by default) or of its relay. The port of the session is
   * negotiated with it (`RLY_PORT`).
   */
  relayPort?: number | undefined;
  /** Time limits of attempts follow the measured connect times. @default true */
  adaptiveTimeout?: boolean | undefined;
  /** Order and head starts of the kinds of path. @default from earlier results, else all equal */
  modeWeights?: ModeWeights | undefined;
  /** Results of earlier attempts by kind of path; updated after every race. @default one of its own */
  history?: PathHistory | undefined;
  /** Counts every race. @default one of its own */
  statistics?: RaceStatistics | undefined;
  /** Network, clock and randomness; those of the system by default. */
  network?: Network | undefined;
  clock?: Clock | undefined;
  random?: Random | undefined;
}

export interface ConnectParallelOptions {
  /** @default true */
  enableP2p?: boolean | undefined;
  /** @default true */
  enableLan?: boolean | undefined;
  /** @default false */
  enableRelay?: boolean | undefined;
  /** The last path: its attempt starts first and uses the same local port. */
  remembered?: RememberedPath | undefined;
  /** Called with every step of the race. */
  onProgress?: ((progress: RaceProgress) => void) | undefined;
  /**
   * Takes the paths that are found after the first: when a relay has connected, direct attempts continue within the time
   * limit.
   * The receiver closes the session. Ends with `signal`.
   */
  offer?: ((further: ConnectSuccess) => void) | undefined;
  /** An abort closes every socket and timer before the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

const RENDEZVOUS_PORT = 32_100;

/**
 * Connects to one camera over several kinds of path at the same time; the first success is used.
 *
 * @example
 * const manager = new ParallelConnectionManager('192.168.43.1');
 * const { success, info } = await manager.connectParallel();
 * if (success) console.log(`${info.winningThread} in ${info.elapsedTime} s`);
 */
export class ParallelConnectionManager {
  /** Counts of attempts, successes and failures. */
  readonly statistics: RaceStatistics;
  readonly #cameraIp: string;
  readonly #options: ParallelConnectionOptions;
  readonly #history: PathHistory;

  /**
   * @param cameraIp the camera's address, or its UID for LAN search and servers
   * @throws CameraError `bad-argument` for an invalid address, port, weight or time limit
   */
  constructor(cameraIp: string, options: ParallelConnectionOptions = {}) {
    this.#cameraIp = cameraIp;
    this.#options = options;
    this.#history = options.history ?? new PathHistory({ clock: options.clock ?? new SystemClock() });
    this.statistics = options.statistics ?? new RaceStatistics();
    const { relayPort } = options;
    if (relayPort !== undefined && !isPort(relayPort)) {
      throw new CameraError('bad-argument', `relayPort is ${relayPort}. Ports are 1 to 65535.`);
    }
    // Created once for its checks, so that a wrong argument is reported here.
    this.#race([]);
  }

  /**
   * Runs the race of the enabled kinds of path. A camera that was not reached is a result with `success: false`.
   * @throws the signal's reason when it aborts first.
   */
  async connectParallel(options: ConnectParallelOptions = {}): Promise<ConnectResult> {
    const { enableP2p = true, enableLan = true, enableRelay = false, offer, ...rest } = options;
    const kinds: PathKind[] = [];
    if (enableP2p) kinds.push('p2p');
    if (enableLan) kinds.push('lan');
    if (enableRelay) kinds.push('relay');
    const relay = await this.#resolveRelay(enableRelay, options.signal);
    const race = this.#race(relay.servers);
    const result = await race.run({
      ...rest,
      kinds,
      offer: offer && ((further) => offer(new ConnectSuccess(further))),
    });
    return connectResult(result, relay.error);
  }

  #race(servers: readonly Endpoint[]): CameraRace {
    const { destinationPorts, maxConnectionTime, logger, modeWeights, adaptiveTimeout = true } = this.#options;
    const { network, clock, random, ...target } = this.#options;
    const history = adaptiveTimeout ? this.#history : undefined;
    return new CameraRace(
      { network, clock, random, log: logger, history, statistics: this.statistics },
      {
        ...target,
        target: this.#cameraIp,
        servers: [...(target.servers ?? []), ...servers],
        ports: destinationPorts,
        limitMs: maxConnectionTime === undefined ? undefined : maxConnectionTime * 1_000,
        weights: modeWeights,
      },
    );
  }

  /** The rendezvous service lists the relays and tells the camera which one to join; it may be at either port. */
  async #resolveRelay(enabled: boolean, signal?: AbortSignal): Promise<RelayServers> {
    const { relayServer, relayPort = RENDEZVOUS_PORT, network = new NodeNetwork(), logger = silentLog } = this.#options;
    if (relayServer === undefined || !enabled) return { servers: [] };
    try {
      const [address = relayServer] = await network.resolve(relayServer, { family: 4, signal });
      const servers = [...new Set([relayPort, RENDEZVOUS_PORT])].map((port) => ({ address, port }));
      return { servers };
    } catch (cause) {
      signal?.throwIfAborted();
      const error = `The relay server ${relayServer} was not found: ${errorMessage(cause)}`;
      logger.child('RELAY').warn(error);
      return { servers: [], error };
    }
  }
}

interface RelayServers {
  servers: Endpoint[];
  /** Why there are none, although a relay server was named. */
  error?: string | undefined;
}
