import { join } from 'node:path';
import { type Deadline, deadline, type PathKind, type RaceProgress } from '@towpath/core';
import {
  CameraClient,
  CameraError,
  type CameraRaceResult,
  type ContestedUid,
  FileDeviceStore,
  type PathWeights,
  RaceConnector,
  type RaceConnectorOptions,
  StorePathMemory,
  utcOffsetMinutes,
} from '@towpath/camera';
import { type Endpoint, formatEndpoint, isIpAddress } from '@towpath/net';
import { StreamCipher } from '@towpath/pppp';
import { readSecret } from '../../config/secret-file.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { formatMs } from '../../cli/table.ts';
import { ConnectLine } from './connect-line.ts';

/** Options of every command that connects to a camera; see `register.ts`. */
export interface TargetOptions extends CommonOptions {
  servers?: Endpoint[];
  relays?: Endpoint[];
  secretFile?: string;
  ports?: number[];
  uid?: string;
  searchPort?: number;
  only?: PathKind[];
  weights?: PathWeights;
  key?: string;
  /** Zone that the camera's clock is set to at login, and that its times are in. */
  cameraTimeZone?: string;
  /** Do not set the camera's clock at login. */
  keepClock?: boolean;
  localAddress?: string;
  /** Seconds. */
  timeout?: number;
}

/** Observers of a race. */
export interface RaceWatch {
  onProgress?(progress: RaceProgress): void;
  onResult?(result: CameraRaceResult): void;
  /** Called once. @default a warning on standard error */
  onContested?(contest: ContestedUid): void;
}

/** Default time limit for connecting, s. */
const DEFAULT_TIMEOUT_S = 90;

/** What commands that connect to cameras have. */
export interface CameraRuntime extends Runtime {
  /** What is stored of cameras: one of the process, which makes the changes of a camera in turn. */
  readonly deviceStore: FileDeviceStore;
}

/** Makes what is needed to connect to cameras; once in a process. */
export function cameraRuntime(runtime: Runtime): CameraRuntime {
  const { configFolder, log } = runtime;
  return { ...runtime, deviceStore: new FileDeviceStore({ log }, { folder: join(configFolder, 'devices') }) };
}

/** Returns a client for one camera, not yet connected. The caller closes it. */
export function openCamera(
  runtime: CameraRuntime,
  host: string,
  options: TargetOptions,
  watch: RaceWatch = {},
): CameraClient {
  const { network, clock, random, log } = runtime;
  const connector = new RaceConnector(
    { network, clock, random, log, memory: new StorePathMemory(runtime.deviceStore) },
    connectorOptions(host, options, { onContested: (contest) => warnContested(runtime, contest), ...watch }),
  );
  return new CameraClient(
    { connector, clock, random, log: log.child('CAMERA') },
    {
      ...(options.cameraTimeZone !== undefined && {
        utcOffsetMs: (wallTimeMs: number) => utcOffsetMinutes(wallTimeMs, options.cameraTimeZone) * 60_000,
      }),
      keepClock: options.keepClock,
      retry: { limitMs: connectLimitMs(options) },
    },
  );
}

function connectorOptions(host: string, options: TargetOptions, watch: RaceWatch): RaceConnectorOptions {
  const { servers, relays, secretFile, ports, uid, searchPort, only, weights, key, localAddress } = options;
  return {
    target: host,
    kinds: only,
    weights,
    servers,
    relays,
    secret: secretFile === undefined ? undefined : readSecret(secretFile),
    ports,
    // The ports that the user names are the only ones to try.
    search: ports === undefined || searchPort !== undefined || !isIpAddress(host),
    uid,
    searchPort,
    cipher: key === undefined ? undefined : new StreamCipher(key),
    localAddress,
    ...watch,
  };
}

/** Says that it is not certain whose camera is reached, in one line with the next step. */
export function contestedText({ uid, server }: ContestedUid): string {
  return `Two or more devices claim the UID ${uid} at ${formatEndpoint(server)}, which connects to the one that was there first. Next: check the device id (towpath camera info); a secret for the camera at the server (towpath pppp serve --secrets) keeps others out.`;
}

function warnContested({ io }: Runtime, contest: ContestedUid): void {
  // The progress line is drawn in place.
  if (io.interactive) io.draw('');
  io.err(io.style('yellow', contestedText(contest)));
}

/** Time limit for connecting, ms. */
export function connectLimitMs({ timeout = DEFAULT_TIMEOUT_S }: TargetOptions): number {
  return timeout * 1_000;
}

/** Says before a connect what is easily overlooked about the target. */
export async function adviseTarget({ io, network }: Runtime, host: string, options: TargetOptions): Promise<void> {
  const { servers, localAddress, json } = options;
  if (json) return;
  if (!isIpAddress(host)) {
    if (servers === undefined)
      io.err(`${host} is searched on this network only. If it is in another network: add --servers ADDRESS.`);
    return;
  }
  if (localAddress === undefined) return;
  const route = await network.defaultRoute({ to: host });
  const on = network.interfaces().find(({ address }) => address === localAddress);
  if (route === undefined || on === undefined || route.interface === on.name) return;
  io.err(
    io.style(
      'yellow',
      `The system sends packets for ${host} through ${route.interface}, and ${localAddress} belongs to ${on.name}. If two networks use these addresses, add a rule (as root): ip rule add from ${localAddress} lookup 100; ip route add ${host} dev ${on.name} table 100`,
    ),
  );
}

/**
 * Connects, runs `use`, and closes the camera. When the connection is lost and not back within the time limit for
 * connecting, the client is closed, so that what waits for it in `use` fails with `client-closed`.
 * @throws CameraError `session-closed` instead of that; what `use` throws.
 */
export async function withCamera<Result>(
  runtime: Runtime,
  host: string,
  options: TargetOptions,
  use: (camera: CameraClient) => Promise<Result>,
): Promise<Result> {
  const { signal } = runtime;
  await using camera = openCamera(cameraRuntime(runtime), host, options);
  await adviseTarget(runtime, host, options);
  {
    using _line = new ConnectLine(runtime, camera, {
      host,
      limitMs: connectLimitMs(options),
      quiet: options.json ?? false,
    });
    await camera.connectWithRetries({ signal });
  }
  using absence = new Absence(runtime, camera, { host, limitMs: connectLimitMs(options) });
  try {
    return await use(camera);
  } catch (error) {
    throw absence.error ?? error;
  }
}

/** Closes a camera that was lost and stays away: its client would go on searching for ever. */
class Absence implements Disposable {
  readonly #stops: (() => void)[];
  #limit: Deadline | undefined;
  #error: CameraError | undefined;

  constructor({ clock }: Runtime, camera: CameraClient, { host, limitMs }: { host: string; limitMs: number }) {
    this.#stops = [
      camera.events.on('lost', (cause) => {
        this.#limit?.cancel();
        this.#limit = deadline(clock, limitMs);
        this.#limit.signal.addEventListener('abort', () => {
          const message = `${host} was lost and has not come back for ${formatMs(limitMs)}. Next: wake the camera or come closer, then run the command again.`;
          this.#error = new CameraError('session-closed', message, { target: host, cause });
          void camera.close();
        });
      }),
      camera.events.on('connected', () => this.#limit?.cancel()),
    ];
  }

  /** Set once the camera has been away for too long. */
  get error(): CameraError | undefined {
    return this.#error;
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop();
    this.#limit?.cancel();
  }
}
