import { changeSetting, SETTINGS } from '@towpath/camera/settings';
import type { Runtime } from '../../cli/runtime.ts';
import { columns, counted } from '../../cli/table.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { type TargetOptions, withCamera } from './target.ts';
import { printJson } from '../../cli/json-output.ts';

interface SetOptions extends TargetOptions {
  /** Change settings whose values are not known. */
  force?: boolean;
}

/** `towpath camera settings` */
export async function settings(runtime: Runtime, host: string, options: TargetOptions): Promise<void> {
  const { io, signal } = runtime;
  const info = await withCamera(runtime, host, options, (camera) => camera.deviceInfo({ signal }));
  const shown = SETTINGS.flatMap((setting) => {
    const value = setting.show(info);
    return value === undefined ? [] : [{ setting, value }];
  });
  if (options.json) {
    for (const { setting, value } of shown) {
      const { name, field, known, what } = setting;
      printJson(io, 'setting', { name, value, raw: info.fields[field], field, known, what });
    }
    return;
  }
  const rows = shown.map(({ setting: { name, known, what }, value }) => {
    return [name, oneLine(value), known ? what : `${what} (a number; its meaning is not known)`];
  });
  for (const line of columns(rows)) io.out(line);
  const absent = SETTINGS.length - shown.length;
  if (absent > 0)
    io.err(io.style('dim', `Not shown, because this camera does not have them: ${counted(absent, 'setting')}.`));
}

/** `towpath camera set` */
export async function set(
  runtime: Runtime,
  name: string,
  value: string,
  host: string,
  options: SetOptions,
): Promise<void> {
  const { io, signal } = runtime;
  const change = await withCamera(runtime, host, options, (camera) =>
    changeSetting(camera, name, value, { signal, allowUnknown: options.force ?? false }),
  );
  const { before, after } = change;
  if (options.json) printJson(io, 'setting-changed', { name, before, after });
  else io.out(`${io.style('green', '✓')} ${oneLine(`${name}: ${before} → ${after}`)}`);
}
