import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { exportFolder } from '@towpath/camera/outputs';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { loadConfig } from '../../daemon/config/config-file.ts';
import { configuredCamera } from './named.ts';
import { jsonLine, printJson } from '../../cli/json-output.ts';

interface ExportCommandOptions extends CommonOptions {
  camtrapDp?: boolean;
  latitude?: number;
  longitude?: number;
  contributor?: string;
  name?: string;
  cameraTimeZone?: string;
}

/** `towpath camera export` */
export async function exportPictures(
  runtime: Runtime,
  from: string,
  to: string,
  options: ExportCommandOptions,
): Promise<void> {
  const { io, clock, signal } = runtime;
  const { latitude, longitude, camtrapDp, contributor = 'unknown', json } = options;
  const source = sourceOf(runtime, from);
  const placed = latitude !== undefined && longitude !== undefined;
  if (camtrapDp && !placed) throw new UsageError('Camtrap DP needs --latitude and --longitude of the camera.');
  const summary = await exportFolder({
    from: source.folder,
    to,
    camera: options.name ?? source.name,
    timeZone: options.cameraTimeZone ?? source.timeZone,
    camtrap: camtrapDp && placed ? { latitude, longitude, contributor, createdMs: clock.wallTime() } : undefined,
    signal,
    onFile: (path) => io.out(json ? jsonLine('exported', { path }) : path),
  });
  if (json) {
    printJson(io, 'summary', { ...summary, to });
    return;
  }
  io.err(`${io.style('green', '✓')} ${summary.exported} exported to ${to}`);
  if (summary.missing > 0) io.err(`${summary.missing} files of the index are not in the folder any more`);
  if (summary.undescribed > 0) io.err(`${summary.undescribed} files have no time or kind, and are not in the package`);
}

/** A folder, or the pictures that "towpath up" has fetched from the camera of this name. */
function sourceOf(
  runtime: Runtime,
  from: string,
): { folder: string; name?: string | undefined; timeZone?: string | undefined } {
  const camera = existsSync(from) ? undefined : configuredCamera(runtime, from);
  if (camera === undefined) return { folder: from };
  const { name, timeZone } = camera;
  return { folder: join(loadConfig(runtime).pictures.folder, name), name, timeZone };
}
