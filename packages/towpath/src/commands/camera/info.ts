import type { DeviceInfo } from '@towpath/camera';
import type { Runtime } from '../../cli/runtime.ts';
import { columns } from '../../cli/table.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { type TargetOptions, withCamera } from './target.ts';
import { printJson } from '../../cli/json-output.ts';

export async function info(runtime: Runtime, host: string, options: TargetOptions): Promise<void> {
  const { io, signal } = runtime;
  const device = await withCamera(runtime, host, options, (camera) => camera.deviceInfo({ signal }));
  if (options.json) printJson(io, 'device', device.fields);
  else for (const line of columns(summary(device))) io.out(line);
}

function summary(device: DeviceInfo): string[][] {
  const rows: [string, string | undefined][] = [
    ['device id', device.devId],
    ['model', [device.modelName, device.subModelName, device.customName].filter(Boolean).join(' ')],
    ['firmware', device.fwVerName],
    ['bluetooth firmware', device.bleVerName],
    ['name', device.cameraName],
    [
      'battery',
      device.batPercent === undefined ? undefined : `${device.batPercent} %${device.isCharging ? ', charging' : ''}`,
    ],
    ['temperature', device.temperature === undefined ? undefined : `${device.temperature} °C`],
    ['card', cardText(device)],
    ['clock', device.timeUTC === undefined ? undefined : cameraTime(device.timeUTC)],
    ['language', device.languageCode],
  ];
  return rows.flatMap(([name, value]) => (value ? [[name, oneLine(value)]] : []));
}

function cardText({ sdTotalMB, sdFreeMB }: DeviceInfo): string | undefined {
  if (sdTotalMB === undefined) return undefined;
  return sdTotalMB === 0 ? 'none' : `${sdFreeMB ?? '?'} MB free of ${sdTotalMB} MB`;
}

/** Formats a time of the camera, which counts local wall time as if it were UTC; `-` for what is no time. */
export function cameraTime(seconds: number): string {
  const time = new Date(seconds * 1_000);
  return Number.isNaN(time.getTime()) ? '-' : time.toISOString().slice(0, 19).replace('T', ' ');
}
