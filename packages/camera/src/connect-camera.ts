import { CameraClient, type CameraClientOptions } from './client/camera-client.ts';
import { RaceConnector, type RaceConnectorOptions } from './connect/race-connector.ts';

export interface ConnectCameraOptions extends RaceConnectorOptions, CameraClientOptions {
  /** Ends the attempt; everything that was opened is closed before the promise rejects. */
  signal?: AbortSignal | undefined;
}

/**
 * Connects to a camera, logs in, and keeps the connection until the client is closed.
 *
 * @param target the camera's address, or its UID for LAN search and `servers`
 * @returns the connected client
 * @throws CameraError `bad-argument`, `connect-failed` with the race's report; the signal's reason when it aborts.
 *
 * @example
 * await using camera = await connectCamera('192.168.43.1', { signal });
 * const { modelName } = await camera.deviceInfo();
 */
export async function connectCamera(target: string, options: ConnectCameraOptions = {}): Promise<CameraClient> {
  const { signal, retry, utcOffsetMs, greetingLimitMs, heartbeatIntervalMs, keepClock, ...connecting } = options;
  const { clock, random, log } = connecting;
  const client = new CameraClient(
    { connector: new RaceConnector(target, connecting), clock, random, log },
    { retry, utcOffsetMs, greetingLimitMs, heartbeatIntervalMs, keepClock },
  );
  try {
    await client.connectWithRetries({ signal });
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}
