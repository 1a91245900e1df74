import { join } from 'node:path';
import type { RaceProgress } from '@towpath/core';
import {
  CameraClient,
  type ConnectResult,
  FileDeviceStore,
  type ModeWeights,
  RaceConnector,
  type RaceConnectorOptions,
  StorePathMemory,
} from '@towpath/camera';
import type { Endpoint } from '@towpath/net';
import { StreamCipher } from '@towpath/pppp';
import { readSecret } from '../../config/secret-file.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';

/** What every command takes that talks to a camera; see `register.ts`. */
export interface TargetOptions extends CommonOptions {
  servers?: Endpoint[];
  relays?: Endpoint[];
  secretFile?: string;
  ports?: number[];
  uid?: string;
  searchPort?: number;
  only?: string[];
  weights?: ModeWeights;
  key?: string;
  localAddress?: string;
  /** Seconds. */
  timeout?: number;
}

/** People who watch a race. */
export interface RaceWatch {
  onProgress?(progress: RaceProgress): void;
  onResult?(result: ConnectResult): void;
}

/** Everything given for a camera is tried for this long unless said otherwise: one round of tries, seconds. */
const DEFAULT_TIMEOUT_S = 90;

/** A client for one camera, not yet connected. The caller closes it. */
export function openCamera(
  runtime: Runtime,
  host: string,
  options: TargetOptions,
  watch: RaceWatch = {},
): CameraClient {
  const { clock, random, log } = runtime;
  return new CameraClient({
    clock,
    random,
    log: log.child('CAMERA'),
    connector: new RaceConnector(host, connectorOptions(runtime, options, watch)),
    retry: { limitMs: (options.timeout ?? DEFAULT_TIMEOUT_S) * 1_000 },
  });
}

function connectorOptions(runtime: Runtime, options: TargetOptions, watch: RaceWatch): RaceConnectorOptions {
  const { clock, random, network, log } = runtime;
  const { servers, relays, secretFile, ports, uid, searchPort, only, weights, key, localAddress } = options;
  return {
    network,
    clock,
    random,
    logger: log,
    memory: cameraMemory(runtime),
    ...(weights === undefined ? {} : { modeWeights: weights }),
    ...(servers === undefined ? {} : { servers }),
    ...(relays === undefined ? {} : { relays }),
    ...(secretFile === undefined ? {} : { secret: readSecret(secretFile) }),
    ...(ports === undefined ? {} : { destinationPorts: ports }),
    ...(uid === undefined ? {} : { uid }),
    ...(searchPort === undefined ? {} : { searchPort }),
    ...(key === undefined ? {} : { cipher: new StreamCipher(key) }),
    ...(localAddress === undefined ? {} : { localAddress }),
    enableLan: only === undefined || only.includes('lan'),
    enableP2p: only === undefined || only.includes('p2p'),
    enableRelay: only === undefined ? servers !== undefined : only.includes('relay'),
    ...watch,
  };
}

/** What is known of each camera, in the configuration folder. */
export function cameraMemory({ configFolder, log }: Runtime): StorePathMemory {
  return new StorePathMemory(new FileDeviceStore({ folder: join(configFolder, 'devices'), log }));
}

/** Connects, runs `use`, and closes the camera whatever happens. */
export async function withCamera<Result>(
  runtime: Runtime,
  host: string,
  options: TargetOptions,
  use: (camera: CameraClient) => Promise<Result>,
): Promise<Result> {
  await using camera = openCamera(runtime, host, options);
  const { io, signal } = runtime;
  const quiet = options.json || !io.interactive;
  if (!quiet) io.draw(io.style('dim', `Reaching ${host} …`));
  try {
    await camera.connectWithRetries({ signal });
  } finally {
    if (!quiet) io.draw('\r\x1b[2K');
  }
  return await use(camera);
}
