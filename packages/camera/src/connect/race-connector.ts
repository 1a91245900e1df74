import { errorMessage, type Log, type RaceProgress, type RaceReport, silentLog } from '@towpath/core';
import { CameraError } from '../artemis/camera-error.ts';
import type { CameraConnector, ConnectedCamera, ConnectorOptions } from '../client/connector.ts';
import type { RememberedPath } from './candidates.ts';
import { ParallelConnectionManager, type ParallelConnectionOptions } from './manager.ts';
import type { ConnectResult } from './report.ts';

/** Remembers where a camera was reached, also across processes. */
export interface PathMemory {
  /** Undefined when nothing is known. */
  recall(cameraIp: string): Promise<RememberedPath | undefined>;
  remember(cameraIp: string, path: RememberedPath): Promise<void>;
}

export interface RaceConnectorOptions extends ParallelConnectionOptions {
  /** Ways to race. @default LAN and P2P */
  enableP2p?: boolean;
  enableLan?: boolean;
  enableRelay?: boolean;
  /** Without it the local port is remembered only as long as the connector lives. */
  memory?: PathMemory;
  /** Every step of every race. */
  onProgress?(progress: RaceProgress): void;
  /** Every finished race, won or lost. */
  onResult?(result: ConnectResult): void;
}

/** A try of its own is bounded, so that a retry with fresh sockets comes soon, seconds. Requirement B7. */
const DISCOVERY_TIME_S = 5;

/**
 * Connects a `CameraClient` by racing: one try is one race. The local port of the last success leads the next race
 * (requirement B6).
 */
export class RaceConnector implements CameraConnector {
  readonly target: string;
  readonly #options: RaceConnectorOptions;
  readonly #manager: ParallelConnectionManager;
  readonly #log: Log;
  #remembered: RememberedPath | undefined;
  #recalled = false;

  /** @throws CameraError `bad-argument`. */
  constructor(cameraIp: string, options: RaceConnectorOptions = {}) {
    this.target = cameraIp;
    this.#options = options;
    this.#log = (options.logger ?? silentLog).child('CONNECT');
    this.#manager = new ParallelConnectionManager(cameraIp, { maxConnectionTime: DISCOVERY_TIME_S, ...options });
  }

  /** @throws CameraError `connect-failed` with the reason of each way; the signal's reason. */
  async connect({ signal }: ConnectorOptions): Promise<ConnectedCamera & { report: RaceReport }> {
    const { enableP2p, enableLan, enableRelay, onProgress, onResult } = this.#options;
    const remembered = await this.#recall();
    const result = await this.#manager.connectParallel({
      ...(enableP2p === undefined ? {} : { enableP2p }),
      ...(enableLan === undefined ? {} : { enableLan }),
      ...(enableRelay === undefined ? {} : { enableRelay }),
      ...(remembered === undefined ? {} : { remembered }),
      ...(onProgress === undefined ? {} : { onProgress }),
      signal,
    });
    onResult?.(result);
    if (!result.success) throw new CameraError('connect-failed', result.error, { target: this.target });
    await this.#remember({ mode: result.mode, localPort: result.port, destinationPort: result.destinationPort });
    return { session: result.session, report: result.report };
  }

  async #recall(): Promise<RememberedPath | undefined> {
    if (this.#recalled || this.#options.memory === undefined) return this.#remembered;
    this.#recalled = true;
    try {
      this.#remembered = await this.#options.memory.recall(this.target);
    } catch (error) {
      this.#log.warn(`What is known of ${this.target} could not be read: ${errorMessage(error)}`);
    }
    return this.#remembered;
  }

  async #remember(path: RememberedPath): Promise<void> {
    this.#remembered = path;
    try {
      await this.#options.memory?.remember(this.target, path);
    } catch (error) {
      this.#log.warn(`The local port could not be remembered: ${errorMessage(error)}`);
    }
  }
}
