import { existsSync } from 'node:fs';
import { ReportedError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { counted, formatMs, outputWidth, table } from '../../cli/table.ts';
import { ConfigError, configPath, loadConfig, settingOrigins } from '../../daemon/config/config-file.ts';
import type { CameraConfig, DaemonConfig, WakeConfig } from '../../daemon/config/config.ts';
import { formatKeep, formatTimeOfDay } from '../../daemon/config/quantities.ts';
import { SETTINGS } from '../../daemon/config/settings.ts';
import { jsonLine, printJson } from '../../cli/json-output.ts';

/** Prints what the daemon would run with. @throws ConfigError. */
export async function show(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io } = runtime;
  const config = loadConfig(runtime);
  const origins = settingOrigins(runtime);
  const path = configPath(runtime);
  const values = valuesOf(config);
  const settings = SETTINGS.map(({ key, byDefault }) => ({
    key,
    value: values[key] ?? byDefault,
    origin: origins.get(key) ?? 'default',
  }));
  if (json) {
    const cameras = config.cameras.map(cameraJson);
    printJson(io, 'config', { path, settings, parties: config.parties, cameras });
    return;
  }
  io.out(`${path}${existsSync(path) ? '' : ' (does not exist: defaults)'}`);
  const rows = settings.map(({ key, value, origin }) => [key, value, origin]);
  for (const line of table(['SETTING', 'VALUE', 'FROM'], rows, outputWidth(io))) io.out(line);
  const parties =
    typeof config.parties === 'string' ? config.parties : config.parties.map(({ party }) => party).join(', ');
  io.out(`parties: ${parties}`);
  if (config.cameras.length === 0) return;
  const cameras = config.cameras.map(({ name, target, via, keep, deleteFromCard, wake, outputs }) => [
    name,
    target,
    via ?? '',
    formatKeep(keep),
    deleteFromCard,
    wake === undefined ? '' : wakeText(wake),
    outputNames(outputs).join(', '),
  ]);
  const head = ['CAMERA', 'TARGET', 'VIA', 'KEEP', 'DELETE FROM CARD', 'WAKE', 'OUTPUTS'];
  for (const line of table(head, cameras, outputWidth(io))) io.out(line);
}

/** Says whether the file is right. @throws ReportedError `invalid-config`. */
export async function check(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io } = runtime;
  const path = configPath(runtime);
  let faults: readonly string[] = [];
  try {
    loadConfig(runtime);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    faults = error.faults;
  }
  if (json) printJson(io, 'config-check', { path, ok: faults.length === 0, faults });
  else if (faults.length === 0)
    io.out(`${path} is right${existsSync(path) ? '' : ': it does not exist, and is not needed'}.`);
  else for (const fault of faults) io.out(fault);
  if (faults.length > 0)
    throw new ReportedError('invalid-config', `${path}: ${counted(faults.length, 'fault')}. Next: correct the file.`, {
      kind: 'local',
    });
}

/** Prints where the file is, or would be. */
export async function path(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const file = configPath(runtime);
  runtime.io.out(json ? jsonLine('config-path', { path: file }) : file);
}

function valuesOf({ api, log, pictures, cameras: _cameras }: DaemonConfig): Record<string, string> {
  return {
    'api.http': String(api.http),
    'api.port': String(api.port),
    'log.level': log.level,
    'log.format': log.format,
    'pictures.folder': pictures.folder,
    'pictures.keep': formatKeep(pictures.keep),
    'pictures.delete-from-card': pictures.deleteFromCard,
    'pictures.check-every': `${pictures.checkEveryMs / 1_000} s`,
    'pictures.reserve': `${pictures.reserveBytes / 1e6} MB`,
  };
}

function cameraJson({ name, target, via, keep, deleteFromCard, wake, outputs }: CameraConfig): object {
  return {
    name,
    target,
    via: via ?? null,
    keep: formatKeep(keep),
    deleteFromCard,
    wake: wake === undefined ? null : wakeText(wake),
    outputs: outputNames(outputs),
  };
}

/** `every 2 h`, `at 06:30, 18:00` */
function wakeText({ times }: WakeConfig): string {
  if (!('at' in times)) return `every ${formatMs(times.everyMs)}`;
  return `at ${times.at.map((minutes) => formatTimeOfDay(minutes)).join(', ')}`;
}

function outputNames(outputs: CameraConfig['outputs']): string[] {
  const names = ['rtsp', 'http', 'mqtt', 'webhook', 'exec', 'export'] as const;
  return names.filter((name) => outputs?.[name] !== undefined);
}
