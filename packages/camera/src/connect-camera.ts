import { CameraClient, type CameraClientOptions } from './client/camera-client.ts';
import { RaceConnector, type RaceConnectorComponents, type RaceConnectorOptions } from './connect/race-connector.ts';

export interface ConnectCameraOptions
  extends RaceConnectorComponents,
    Omit<RaceConnectorOptions, 'target'>,
    CameraClientOptions {
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
  const { signal, retry, utcOffsetMs, greetingLimitMs, heartbeatIntervalMs, keepClock, ...rest } = options;
  const { network, clock, random, log, memory, ...connecting } = rest;
  const connector = new RaceConnector({ network, clock, random, log, memory }, { ...connecting, target });
  const client = new CameraClient(
    { connector, clock, random, log },
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
