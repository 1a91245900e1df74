import { type Clock, type Lease, type Log, SharedPool } from '@towpath/core';
import type { CameraClient } from '../client/camera-client.ts';

/** Components of a {@link CameraPool}. */
export interface CameraPoolComponents {
  clock: Clock;
  log?: Log | undefined;
  /** Creates the client of one camera, not yet connected. */
  create(cameraIp: string): CameraClient;
}

export interface CameraPoolOptions {
  /** Time until an unused camera is disconnected, ms. @default 30000 */
  lingerMs?: number;
  /** Most cameras at the same time. @default 10000 */
  maxCameras?: number;
}

const DEFAULT_LINGER_MS = 30_000;

/** Many independent cameras; users of the same camera share one connection (requirement A11). */
export class CameraPool implements AsyncDisposable {
  readonly #pool: SharedPool<CameraClient>;

  constructor({ create, clock, log }: CameraPoolComponents, options: CameraPoolOptions = {}) {
    const { lingerMs = DEFAULT_LINGER_MS, maxCameras } = options;
    this.#pool = new SharedPool(
      { clock, log },
      {
        create,
        dispose: (client) => client.close(),
        lingerMs,
        ...(maxCameras === undefined ? {} : { maxKeys: maxCameras }),
      },
    );
  }

  /** Number of cameras in the pool. */
  get size(): number {
    return this.#pool.size;
  }

  /**
   * Returns a lease of the connected client of a camera; concurrent calls wait for the same connection.
   * @throws CameraError as {@link CameraClient.connectWithRetries}; TowpathError `pool-full`, `pool-closed`; the
   * signal's reason.
   */
  async connect(cameraIp: string, { signal }: { signal?: AbortSignal } = {}): Promise<Lease<CameraClient>> {
    const lease = await this.#pool.acquire(cameraIp, signal);
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
