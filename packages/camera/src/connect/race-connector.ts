import {
  errorMessage,
  type Log,
  PathHistory,
  type PathKind,
  type RaceProgress,
  type RaceReport,
  RaceStatistics,
  SystemClock,
  silentLog,
} from '@towpath/core';
import { isIpAddress } from '@towpath/net';
import { CameraError } from '../artemis/camera-error.ts';
import type { CameraConnector, ConnectedCamera, ConnectorOptions } from '../client/connector.ts';
import {
  CameraRace,
  type CameraRaceComponents,
  type CameraRaceResult,
  type CameraTargetOptions,
  type RaceSuccess,
} from './camera-race.ts';
import type { ContestedUid } from './candidates.ts';
import { DEFAULT_UID } from './defaults.ts';
import type { CameraMemory, PathMemory } from './memory.ts';

export interface RaceConnectorComponents extends Omit<CameraRaceComponents, 'history' | 'statistics'> {
  /** Without it, results are kept only as long as the connector exists. */
  memory?: PathMemory | undefined;
}

export interface RaceConnectorOptions extends CameraTargetOptions {
  /** The camera's address or UID. */
  target: string;
  /** Kinds of path to try. @default lan and p2p, and relay when there are `servers` */
  kinds?: Iterable<PathKind> | undefined;
  /** Time limit of one race, ms; the client's own time limit of an attempt may be shorter. @default 5000 */
  limitMs?: number | undefined;
  /** Time limits of attempts follow the measured connect times (requirement A8). @default true */
  adaptive?: boolean | undefined;
  /** Called with every step of every race. */
  onProgress?: ((progress: RaceProgress) => void) | undefined;
  /** Called with the result of every race. */
  onResult?: ((result: CameraRaceResult) => void) | undefined;
  /** Called once, when a server tells that several devices claim the camera's UID. @default a warning in the log */
  onContested?: ((contest: ContestedUid) => void) | undefined;
}

/** Time limit of one race, so that the next attempt comes soon, ms. Requirement B7. */
const DISCOVERY_TIME_MS = 5_000;

/**
 * After this many failed attempts the candidates use another set of local ports. This covers both reasons for a silent
 * camera: it may serve only the port of an attempt that did not win, so ports are kept; or it may hold a dead session
 * for one of them, so ports change.
 */
const TRIES_PER_PORT_SET = 4;

/**
 * Connects a `CameraClient` by races: one attempt is one race. The local port of the last success is used first
 * (requirement B6), and earlier results decide which path kinds get a head start (A9).
 */
export class RaceConnector implements CameraConnector {
  readonly target: string;
  readonly #components: RaceConnectorComponents;
  readonly #options: RaceConnectorOptions;
  readonly #kinds: ReadonlySet<PathKind>;
  readonly #log: Log;
  #race: Promise<CameraRace> | undefined;
  #memory: CameraMemory = {};
  #statistics = new RaceStatistics();
  #history: PathHistory;
  /** Local ports by candidate. */
  readonly #portSets: (Map<string, number> | undefined)[] = [undefined, undefined];
  #failures = 0;
  #contested = false;

  /** @throws CameraError `bad-argument`. */
  constructor(components: RaceConnectorComponents, options: RaceConnectorOptions) {
    this.target = options.target;
    this.#components = components;
    this.#options = options;
    this.#kinds = new Set(options.kinds ?? defaultKinds(options));
    this.#log = (components.log ?? silentLog).child('CONNECT');
    this.#history = new PathHistory({ clock: components.clock ?? new SystemClock() });
    // Created once for its checks, so that a wrong argument is reported at once and not at the first connect.
    new CameraRace(components, options);
  }

  /** Returns the statistics, including earlier processes when there is a memory. */
  get statistics(): RaceStatistics {
    return this.#statistics;
  }

  get canBeDirect(): boolean {
    return this.#kinds.has('lan') || this.#kinds.has('p2p');
  }

  /** @throws CameraError `connect-failed` with the reason of each path kind; the signal's reason. */
  async connect(options: ConnectorOptions): Promise<ConnectedCamera & { report: RaceReport }> {
    const { signal, limitMs, purpose, offer, goesOn } = options;
    const { onProgress, onContested, servers = [] } = this.#options;
    if (purpose === 'standby' && servers.length === 0) {
      // It would be a second session on the path that is in doubt, and some cameras hold one session only.
      const message = `There is no other kind of path to ${this.target}.`;
      throw new CameraError('connect-failed', message, { target: this.target });
    }
    this.#race ??= this.#begin();
    const race = await this.#race;
    const { path } = this.#memory;
    const searchLanFor = this.#movedUid(options);
    const result = await race.run({
      kinds: [...this.#kinds].filter((kind) => kind !== 'relay' || purpose !== 'improve'),
      remembered: path,
      limitMs,
      searchLanFor,
      localPorts: this.#ports,
      onProgress,
      onContested: onContested && ((contest) => this.#tellContested(contest, onContested)),
      offer: offer && ((further) => this.#offer(further, offer)),
      goesOn,
      signal,
    });
    this.#tell(result);
    this.#keepPorts(result);
    await this.#remember(result);
    if (result.ok) return { session: result.session, report: result.report };
    throw new CameraError('connect-failed', result.error, {
      target: this.target,
      report: result.report,
      details: { closedHost: result.closedHost, withoutServers: result.withoutServers },
    });
  }

  /**
   * Returns the UID to search the LAN for, when the address does not answer any more (requirement C7). The UID that a
   * whole family shares is searched only if the client can tell its camera from others.
   */
  #movedUid({ knownDevice = false }: ConnectorOptions): string | undefined {
    const uid = this.#options.uid ?? this.#memory.uid;
    const searchable = isIpAddress(this.target) && this.#kinds.has('lan') && (this.#options.search ?? true);
    if (uid === undefined || !searchable || this.#failures === 0) return undefined;
    return knownDevice || uid !== DEFAULT_UID ? uid : undefined;
  }

  #offer(further: RaceSuccess, offer: (camera: ConnectedCamera) => void): void {
    this.#log.info(`Further path found: ${further.kind}`);
    void this.#remember(further);
    offer({ session: further.session, report: further.report });
  }

  /** An exception of the observer must not keep the session from the caller. */
  #tell(result: CameraRaceResult): void {
    try {
      this.#options.onResult?.(result);
    } catch (error) {
      this.#log.error(`An observer of the race failed: ${errorMessage(error)}`);
    }
  }

  /** The attempts of a race, and later races, report the same. An exception of the observer must not end an attempt. */
  #tellContested(contest: ContestedUid, observer: (contest: ContestedUid) => void): void {
    if (this.#contested) return;
    this.#contested = true;
    try {
      observer(contest);
    } catch (error) {
      this.#log.error(`An observer of the race failed: ${errorMessage(error)}`);
    }
  }

  get #ports(): Map<string, number> {
    const set = Math.floor(this.#failures / TRIES_PER_PORT_SET) % this.#portSets.length;
    this.#portSets[set] ??= new Map();
    return this.#portSets[set];
  }

  #keepPorts({ ok, report }: CameraRaceResult): void {
    for (const { id, localPort } of report.attempts) if (localPort !== undefined) this.#ports.set(id, localPort);
    this.#failures = ok ? 0 : this.#failures + 1;
  }

  async #begin(): Promise<CameraRace> {
    try {
      this.#memory = (await this.#components.memory?.recall(this.target)) ?? {};
    } catch (error) {
      this.#log.warn(`Cannot read the stored data of ${this.target}: ${errorMessage(error)}`);
    }
    this.#history = new PathHistory({ clock: this.#components.clock ?? new SystemClock() }, this.#memory.history);
    this.#statistics = new RaceStatistics(this.#memory.statistics);
    return new CameraRace(
      {
        ...this.#components,
        history: this.#options.adaptive === false ? undefined : this.#history,
        statistics: this.#statistics,
      },
      { ...this.#options, limitMs: this.#options.limitMs ?? DISCOVERY_TIME_MS },
    );
  }

  async #remember(result: CameraRaceResult): Promise<void> {
    if (result.ok) {
      const { kind, session } = result;
      this.#memory.path = { kind, localPort: session.local.port, destinationPort: session.peer.port };
      this.#memory.uid = session.uid;
    }
    const { memory } = this.#components;
    if (memory === undefined) return;
    this.#memory.history = this.#history.snapshot();
    this.#memory.statistics = this.#statistics.snapshot();
    try {
      await memory.remember(this.target, this.#memory);
    } catch (error) {
      this.#log.warn(`Cannot store the result of this race: ${errorMessage(error)}`);
    }
  }
}

function defaultKinds({ servers = [] }: CameraTargetOptions): PathKind[] {
  return servers.length === 0 ? ['lan', 'p2p'] : ['lan', 'p2p', 'relay'];
}
