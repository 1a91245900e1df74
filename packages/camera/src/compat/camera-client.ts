import type { Clock, Log, Random } from '@towpath/core';
import type { Network } from '@towpath/net';
import type { PpppSession } from '@towpath/pppp';
import { CameraError } from '../artemis/camera-error.ts';
import { CameraClient as Engine } from '../client/camera-client.ts';
import type { CameraState } from '../client/camera-state.ts';
import type { CameraConnector, ConnectedCamera, ConnectorOptions } from '../client/connector.ts';
import { RaceConnector, type RaceConnectorOptions } from '../connect/race-connector.ts';
import { type CameraConfig, DEFAULT_CONFIG } from './config.ts';
import { HeartbeatManager } from './heartbeat-manager.ts';

export interface CameraClientOptions extends Pick<RaceConnectorOptions, 'uid' | 'servers' | 'searchPort' | 'search'> {
  /** Local port to connect from; kept for every reconnect. @default one that the system assigns */
  sourcePort?: number | undefined;
  /** An open session, such as that of `connectParallel`, to use instead of connecting first. */
  session?: PpppSession | undefined;
  logger?: Log | undefined;
  /** Settings that differ from {@link DEFAULT_CONFIG}; times in seconds. */
  config?: Partial<CameraConfig> | undefined;
  network?: Network | undefined;
  clock?: Clock | undefined;
  random?: Random | undefined;
}

/** Hands over an open transport before it searches for the camera. */
class HoldingConnector implements CameraConnector {
  readonly target: string;
  readonly #race: RaceConnector;
  #held: ConnectedCamera | undefined;

  constructor(race: RaceConnector, session: PpppSession | undefined) {
    this.target = race.target;
    this.#race = race;
    this.#held = session && { session };
  }

  /** The open transport, if there is one. */
  get held(): PpppSession | undefined {
    return this.#held?.session.closed === undefined ? this.#held?.session : undefined;
  }

  /** Searches for the camera and keeps the transport open for the next connect. */
  async discover(limitMs: number, signal: AbortSignal): Promise<PpppSession> {
    await this.release();
    this.#held = await this.#race.connect({ limitMs, signal });
    return this.#held.session;
  }

  async connect(options: ConnectorOptions): Promise<ConnectedCamera> {
    const camera = this.#held;
    this.#held = undefined;
    if (camera !== undefined && camera.session.closed === undefined) return camera;
    return this.#race.connect(options);
  }

  async release(): Promise<void> {
    const session = this.#held?.session;
    this.#held = undefined;
    await session?.close();
  }
}

/**
 * A client of one camera with the names of the documents: results are booleans, and times are seconds. It may connect
 * again after `close`, from the same local port.
 *
 * @example
 * const client = new CameraClient('192.168.43.1');
 * if (await client.connectWithRetries()) console.log(client.activePort);
 */
export class CameraClient implements AsyncDisposable {
  /** The underlying client, for everything that this class does not offer: media, live video, events. */
  readonly engine: Engine;
  /** Its heartbeat; it starts with the login. */
  readonly heartbeatManager: HeartbeatManager;
  readonly #connector: HoldingConnector;
  readonly #config: CameraConfig;
  readonly #log: Log | undefined;
  #activePort: number | undefined;
  /** Why the last connect has failed; undefined after a success. */
  lastError: Error | undefined;

  /** @throws CameraError `bad-argument` */
  constructor(cameraIp: string, options: CameraClientOptions = {}) {
    const { sourcePort, session, logger: log, config, network, clock, random, ...target } = options;
    this.#config = { ...DEFAULT_CONFIG, ...config };
    this.#log = log?.child('CONNECT');
    const race = new RaceConnector(
      { network, clock, random, log },
      { ...target, target: cameraIp, localPort: sourcePort, ports: this.#config.DEFAULT_LAN_PORTS },
    );
    this.#connector = new HoldingConnector(race, session);
    this.#activePort = session?.local.port;
    this.engine = new Engine(
      { connector: this.#connector, clock, random, log },
      {
        heartbeatIntervalMs: this.#config.ARTEMIS_KEEPALIVE_INTERVAL * 1_000,
        retry: {
          tries: this.#config.MAX_CONNECTION_RETRIES,
          limitMs: this.#config.MAX_TOTAL_CONNECTION_TIME * 1_000,
          backoffMs: this.#config.RETRY_BACKOFF_SEQUENCE.map((seconds) => seconds * 1_000),
          discoveryTimeoutMs: this.#config.ARTEMIS_DISCOVERY_TIMEOUT * 1_000,
        },
      },
    );
    this.engine.events.on('connected', ({ path }) => {
      this.#activePort = path.artemis.carrier.local.port;
    });
    this.heartbeatManager = new HeartbeatManager(this);
  }

  get state(): CameraState {
    return this.engine.state;
  }

  /** True while commands can be sent. */
  get running(): boolean {
    return this.engine.path !== undefined;
  }

  /** Local port of the last session; undefined before the first one, never 0. */
  get activePort(): number | undefined {
    return this.#activePort;
  }

  /** Opens a transport to the camera, which the next login uses. @returns false when it was not found */
  discoverDevice({ signal }: { signal?: AbortSignal } = {}): Promise<boolean> {
    return this.#succeeds(async () => {
      const limitMs = this.#config.ARTEMIS_DISCOVERY_TIMEOUT * 1_000;
      const session = await this.#connector.discover(limitMs, signal ?? new AbortController().signal);
      this.#activePort = session.local.port;
    }, signal);
  }

  /**
   * Logs in, on the open transport if there is one. The camera assigns the token and the client counts sequence
   * numbers, so neither needs to be given.
   * @returns false when the camera was not reached or refused the login
   */
  login(_token?: number, _sequence?: number, options: { signal?: AbortSignal } = {}): Promise<boolean> {
    return this.#succeeds(() => this.engine.connectWithRetries({ ...options, tries: 1 }), options.signal);
  }

  /**
   * Connects and logs in with at most `MAX_CONNECTION_RETRIES` attempts. From then on the client reconnects
   * automatically until it is closed.
   * @returns false when the camera was not reached; the reason is {@link lastError}
   * @throws CameraError `bad-argument`; the signal's reason when it aborts.
   */
  connectWithRetries(options: { signal?: AbortSignal } = {}): Promise<boolean> {
    return this.#succeeds(() => this.engine.connectWithRetries(options), options.signal);
  }

  /** Closes the connection. The client may connect again. */
  async close(): Promise<void> {
    await this.engine.disconnect();
    await this.#connector.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.close();
    await this.#connector.release();
  }

  async #succeeds(connect: () => Promise<void>, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await connect();
      this.lastError = undefined;
      this.#log?.info(`✓ Successfully connected on source port ${this.#activePort}`);
      return true;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof CameraError)) throw error;
      this.lastError = error;
      this.#log?.error(error.message);
      return false;
    }
  }
}
