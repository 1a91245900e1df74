import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '@towpath/core';
import { type Camera, cameraNameSchema, type NewCamera } from '@towpath/dashboard/api';
import { routePath } from '@towpath/dashboard/routes';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { outputWidth, table } from '../../cli/table.ts';
import { askDaemon } from '../../daemon/api/api-client.ts';
import { loadConfig, removeCameraFrom, writeCamera } from '../../daemon/config/config-file.ts';
import { formatKeep, parseKeep } from '../../daemon/config/quantities.ts';
import { isCameraTarget } from '../../daemon/config/schema.ts';
import { StateFolder } from '../../daemon/state/state-folder.ts';
import { printJson } from '../../cli/json-output.ts';

interface AddOptions extends CommonOptions {
  via?: string;
  keep?: string;
  deleteFromCard?: string;
  uid?: string;
  ports?: number[];
  searchPort?: number;
  cameraTimeZone?: string;
}

/** Adds a camera to those that `towpath up` holds; a running one begins at once. */
export async function add(runtime: Runtime, name: string, target: string, options: AddOptions): Promise<void> {
  const { io } = runtime;
  if (!cameraNameSchema.safeParse(name).success) {
    throw new UsageError(`"${name}" cannot be a camera's name. Expected letters, digits, - and _, at most 40.`);
  }
  if (!isCameraTarget(target)) {
    throw new UsageError(`"${target}" is not an IP address, such as 192.168.43.1, nor a UID. Ports go to --ports.`);
  }
  const { via, keep, deleteFromCard } = options;
  if (keep !== undefined && parseKeep(keep) === undefined) {
    throw new UsageError('--keep must be "forever", "90 days", "20 GB" or "90 days | 20 GB".');
  }
  if (deleteFromCard !== undefined && deleteFromCard !== 'never' && deleteFromCard !== 'when-safe') {
    throw new UsageError('--delete-from-card must be never or when-safe.');
  }
  StateFolder.open(runtime.configFolder, { nowMs: runtime.clock.wallTime() });
  if (loadConfig(runtime).cameras.some((camera) => camera.name === name)) {
    throw new UsageError(
      `There is a camera ${name} already. Next: choose another name, or: towpath camera remove ${name}`,
    );
  }
  const wanted: NewCamera = { name, target, via, keep, deleteFromCard };
  const isSpecial = options.ports ?? options.searchPort ?? options.uid ?? options.cameraTimeZone;
  // Options that the API does not have go to the file, which a running daemon reads by itself.
  const running = isSpecial === undefined && (await tell(runtime, 'POST', routePath('addCamera'), wanted));
  if (!running) {
    writeCamera(runtime, name, {
      target,
      ...(via === undefined ? {} : { via }),
      ...(keep === undefined ? {} : { keep }),
      ...(deleteFromCard === undefined ? {} : { 'delete-from-card': deleteFromCard }),
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.ports === undefined ? {} : { ports: options.ports }),
      ...(options.searchPort === undefined ? {} : { 'search-port': options.searchPort }),
      ...(options.cameraTimeZone === undefined ? {} : { 'time-zone': options.cameraTimeZone }),
    });
  }
  if (options.json) printJson(io, 'camera-added', wanted);
  else
    io.out(`Camera ${name} added. Next: ${running || (await isDaemonUp(runtime)) ? 'towpath status' : 'towpath up'}`);
}

/** Removes a camera; its pictures stay. */
export async function remove(runtime: Runtime, name: string, { json }: CommonOptions): Promise<void> {
  const { io } = runtime;
  const { cameras } = loadConfig(runtime);
  if (!cameras.some((camera) => camera.name === name)) {
    const names = cameras.map((camera) => camera.name).join(', ') || 'none';
    throw new UsageError(`There is no camera ${name}. Cameras: ${names}.`);
  }
  const running = await tell(runtime, 'DELETE', routePath('removeCamera', { camera: name }));
  if (!running) removeCameraFrom(runtime, name);
  const folder = join(loadConfig(runtime).pictures.folder, name);
  if (json) printJson(io, 'camera-removed', { name });
  else io.out(`Camera ${name} removed${existsSync(folder) ? `; its pictures stay in ${folder}` : ''}.`);
}

/** Lists the cameras of the configuration. */
export async function list(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io } = runtime;
  const { cameras } = loadConfig(runtime);
  const held = await askDaemon<Camera[]>(runtime, 'GET', routePath('cameras')).catch((error: unknown) => {
    if (errorCode(error) !== 'not-running') throw error;
    return [];
  });
  const stateOf = (name: string) => held.find((camera) => camera.name === name)?.state ?? 'not held';
  if (json) {
    const told = cameras.map(({ name, target, via, keep, deleteFromCard }) => ({
      name,
      target,
      via: via ?? null,
      keep: formatKeep(keep),
      deleteFromCard,
      state: stateOf(name),
    }));
    printJson(io, 'cameras', { cameras: told });
    return;
  }
  if (cameras.length === 0) {
    io.out('No cameras. Next: towpath camera add NAME ADDRESS');
    return;
  }
  const rows = cameras.map(({ name, target, via, keep }) => [name, target, via ?? '', stateOf(name), formatKeep(keep)]);
  for (const line of table(['CAMERA', 'TARGET', 'VIA', 'STATE', 'KEEP'], rows, outputWidth(io))) io.out(line);
}

async function isDaemonUp(runtime: Runtime): Promise<boolean> {
  return await tell(runtime, 'GET', routePath('health'));
}

/** @returns false when no daemon runs */
async function tell(
  runtime: Runtime,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<boolean> {
  try {
    await askDaemon(runtime, method, path, body);
    return true;
  } catch (error) {
    if (errorCode(error) === 'not-running') return false;
    throw error;
  }
}
