import { join } from 'node:path';
import { parseEndpoint, type Endpoint } from '@towpath/net';
import { type Keep, parseBytes, parseDuration, parseKeep } from './quantities.ts';
import type { CameraFile, ConfigFile, PartyFile } from './schema.ts';

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
}

const SERVER_PORT = 32_100;
const RELAY_PORT = 32_110;

/** Fills in the defaults. @param stateFolder absolute */
export function withDefaults(file: ConfigFile, stateFolder: string): DaemonConfig {
  const { api = {}, log = {}, pictures = {}, parties = 'all', cameras = {} } = file;
  return {
    api: { http: api.http ?? true, port: api.port ?? 4_180 },
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
  const { target, via, ports, uid, key, only } = camera;
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
  };
}

function endpointAt(port: number): (text: string) => Endpoint[] {
  return (text) => {
    const parsed = parseEndpoint(text, port);
    return parsed.ok ? [parsed.endpoint] : [];
  };
}
