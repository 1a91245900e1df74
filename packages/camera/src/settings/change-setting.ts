import { CameraError } from '../artemis/camera-error.ts';
import { CommandId } from '../artemis/command-id.ts';
import type { DeviceInfo } from '../artemis/device-info.ts';
import type { CameraClient } from '../client/camera-client.ts';
import { SETTINGS, type Setting } from './settings.ts';

/** What a change did. */
export interface SettingChange {
  readonly setting: Setting;
  /** In words, before and after; undefined when the camera does not have the setting. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export interface ChangeSettingOptions {
  readonly signal?: AbortSignal;
  /** Also change settings whose values have meanings that are not known. @default false */
  readonly allowUnknown?: boolean;
}

/**
 * Changes one setting and reads it back.
 *
 * The number of the command (513) is known, its fields are inferred: the device information's own names. A camera that
 * does not take them answers nothing, or leaves the value as it was; both are reported.
 *
 * @throws CameraError `bad-argument` for an unknown name or value, `confirmation-required` for a setting whose values
 *   are not known, `command-refused` when the camera does not have it or kept its value; as `CameraClient.command`
 */
export async function changeSetting(
  client: Pick<CameraClient, 'command' | 'deviceInfo'>,
  name: string,
  value: string,
  { signal, allowUnknown = false }: ChangeSettingOptions = {},
): Promise<SettingChange> {
  const setting = SETTINGS.find((known) => known.name === name);
  if (setting === undefined) {
    const names = SETTINGS.map((known) => known.name).join(', ');
    throw new CameraError('bad-argument', `There is no setting named ${name}. Known: ${names}.`);
  }
  const info = await client.deviceInfo({ signal });
  const before = setting.show(info);
  if (before === undefined) {
    throw new CameraError(
      'command-refused',
      `This camera does not have the setting ${name}. Next: towpath camera settings.`,
    );
  }
  if (!setting.known && !allowUnknown) {
    throw new CameraError(
      'confirmation-required',
      `What the numbers of ${name} mean is not known; the camera has ${before}. Next: add --force to set one nevertheless.`,
    );
  }
  const parsed = setting.parse(value, info);
  if (!parsed.ok) throw new CameraError('bad-argument', `${name} takes ${parsed.accepted}, not "${value}".`);
  await client.command(CommandId.setDeviceInfo, parsed.fields, { signal });
  const after = await client.deviceInfo({ signal });
  if (!holds(after, parsed.fields)) {
    throw new CameraError(
      'command-refused',
      `The camera answered, and ${name} is still ${setting.show(after) ?? 'unknown'}: it does not take this change. Next: use its menu.`,
      { details: { cmdId: CommandId.setDeviceInfo } },
    );
  }
  return { setting, before, after: setting.show(after) };
}

function holds({ fields }: DeviceInfo, wanted: Readonly<Record<string, unknown>>): boolean {
  return Object.entries(wanted).every(([field, value]) => fields[field] === value);
}
