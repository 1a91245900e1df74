import { type Clock, type Lease, type Log, SharedPool } from '@towpath/core';
import type { CameraClient } from '../client/camera-client.ts';

export interface CameraPoolOptions {
  clock: Clock;
  /** Makes the client of one camera, not yet connected. */
  create(cameraIp: string): CameraClient;
  /** How long a camera that nobody uses stays connected, ms. @default 30000 */
  lingerMs?: number;
  /** How many cameras at once. @default 10000 */
  maxCameras?: number;
  log?: Log;
}

const DEFAULT_LINGER_MS = 30_000;

/** Many cameras at once, each independent; a camera that is asked for twice shares one connection (requirement A11). */
export class CameraPool implements AsyncDisposable {
  readonly #pool: SharedPool<CameraClient>;

  constructor({ create, clock, log, lingerMs = DEFAULT_LINGER_MS, maxCameras }: CameraPoolOptions) {
    this.#pool = new SharedPool({
      clock,
      create,
      dispose: (client) => client.close(),
      lingerMs,
      ...(log === undefined ? {} : { log }),
      ...(maxCameras === undefined ? {} : { maxKeys: maxCameras }),
    });
  }

  /** Cameras held at the moment. */
  get size(): number {
    return this.#pool.size;
  }

  /**
   * A share in the connected client of a camera; whoever asks while it connects waits for the same connection.
   * @throws CameraError as {@link CameraClient.connectWithRetries}; TowpathError `pool-full`, `pool-closed`; the signal's reason.
   */
  async connect(cameraIp: string, { signal }: { signal?: AbortSignal } = {}): Promise<Lease<CameraClient>> {
    const lease = this.#pool.acquire(cameraIp);
    try {
      await lease.value.connectWithRetries(signal === undefined ? {} : { signal });
      return lease;
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  /** Closes every camera. Idempotent. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
