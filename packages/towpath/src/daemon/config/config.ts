import { join } from 'node:path';
import type { VisitTimes } from '@towpath/camera/outputs';
import { parseEndpoint, type Endpoint } from '@towpath/net';
import type { OutputsConfig } from '../../outputs/camera-outputs.ts';
import {
  type Keep,
  MIN_WAKE_MS,
  parseBytes,
  parseDuration,
  parseKeep,
  parseListen,
  parseTimeOfDay,
} from './quantities.ts';
import type { CameraFile, ConfigFile, OutputsFile, PartyFile, WakeFile } from './schema.ts';

/** What the daemon runs with: the file with every default filled in. */
export interface DaemonConfig {
  readonly api: { readonly http: boolean; readonly port: number };
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly format: 'text' | 'json' };
  readonly pictures: PicturesConfig;
  readonly parties: 'all' | 'none' | readonly PartyFile[];
  readonly cameras: readonly CameraConfig[];
}

/** What holds for all cameras. */
export interface PicturesConfig {
  readonly folder: string;
  /** For cameras that have no own. */
  readonly keep: Keep;
  readonly deleteFromCard: 'never' | 'when-safe';
  readonly checkEveryMs: number;
  readonly reserveBytes: number;
}

/** One camera that is held. */
export interface CameraConfig {
  readonly name: string;
  readonly target: string;
  readonly via: string | undefined;
  readonly keep: Keep;
  readonly deleteFromCard: 'never' | 'when-safe';
  readonly servers: Endpoint[] | undefined;
  readonly relays: Endpoint[] | undefined;
  readonly ports: number[] | undefined;
  readonly searchPort: number | undefined;
  readonly uid: string | undefined;
  readonly key: string | undefined;
  readonly secretFile: string | undefined;
  readonly timeZone: string | undefined;
  readonly only: ('lan' | 'p2p' | 'relay')[] | undefined;
  /** undefined: it stays connected. */
  readonly wake: WakeConfig | undefined;
  readonly outputs: OutputsConfig | undefined;
}

/** How a camera is woken. */
export interface WakeConfig {
  readonly times: VisitTimes;
  readonly bluetooth: string | undefined;
  readonly bluetoothAdapter: string | undefined;
  readonly wifi: string | undefined;
}

export const DEFAULT_API_PORT = 4_180;
const SERVER_PORT = 32_100;
const RELAY_PORT = 32_110;

/** Fills in the defaults. @param stateFolder absolute */
export function withDefaults(file: ConfigFile, stateFolder: string): DaemonConfig {
  const { api = {}, log = {}, pictures = {}, parties = 'all', cameras = {} } = file;
  return {
    api: { http: api.http ?? true, port: api.port ?? DEFAULT_API_PORT },
    log: { level: log.level ?? 'info', format: log.format ?? 'text' },
    pictures: {
      folder: pictures.folder ?? join(stateFolder, 'pictures'),
      keep: parseKeep(pictures.keep ?? 'forever') ?? { days: null, bytes: null },
      deleteFromCard: pictures['delete-from-card'] ?? 'never',
      checkEveryMs: parseDuration(pictures['check-every'] ?? '60 s') ?? 60_000,
      reserveBytes: parseBytes(pictures.reserve ?? '500 MB') ?? 500e6,
    },
    parties,
    cameras: Object.entries(cameras).map(([name, camera]) => cameraConfig(name, camera, pictures)),
  };
}

function cameraConfig(name: string, camera: CameraFile, pictures: NonNullable<ConfigFile['pictures']>): CameraConfig {
  const { target, via, ports, uid, key, only, wake, outputs } = camera;
  return {
    name,
    target,
    via,
    keep: parseKeep(camera.keep ?? pictures.keep ?? 'forever') ?? { days: null, bytes: null },
    deleteFromCard: camera['delete-from-card'] ?? pictures['delete-from-card'] ?? 'never',
    servers: camera.servers?.flatMap(endpointAt(SERVER_PORT)),
    relays: camera.relays?.flatMap(endpointAt(RELAY_PORT)),
    ports,
    searchPort: camera['search-port'],
    uid,
    key,
    secretFile: camera['secret-file'],
    timeZone: camera['time-zone'],
    only,
    wake: wake && wakeConfig(wake),
    outputs: outputs && outputsConfig(outputs),
  };
}

/** Times of the day are those of this machine. */
function wakeConfig({ every, at, bluetooth, wifi, ...rest }: WakeFile): WakeConfig {
  const times =
    at === undefined
      ? { everyMs: parseDuration(every ?? '') ?? MIN_WAKE_MS }
      : { at: at.flatMap((text) => parseTimeOfDay(text) ?? []) };
  return { times, bluetooth, bluetoothAdapter: rest['bluetooth-adapter'], wifi };
}

function outputsConfig({ rtsp, http, mqtt, webhook, ...rest }: OutputsFile): OutputsConfig {
  const listen = (given: number | string | undefined) => (given === undefined ? undefined : parseListen(given));
  const page = listen(http);
  return {
    rtsp: listen(rtsp),
    http: page && { ...page, allowHosts: rest['allow-hosts'] },
    mqtt: mqtt && {
      url: mqtt.url,
      user: mqtt.user,
      passwordFile: mqtt['password-file'],
      authorityFile: mqtt.ca,
      prefix: mqtt['discovery-prefix'],
    },
    webhook: webhook && { url: webhook.url, keyFile: webhook['key-file'] },
    exec: rest.exec,
    export: rest.export === undefined ? undefined : { folder: rest.export },
    passwordFile: rest['password-file'],
  };
}

function endpointAt(port: number): (text: string) => Endpoint[] {
  return (text) => {
    const parsed = parseEndpoint(text, port);
    return parsed.ok ? [parsed.endpoint] : [];
  };
}
