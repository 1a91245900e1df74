import type { DeviceInfo } from '@towpath/camera';
import type { TargetOptions } from '../../commands/camera/target.ts';
import type { CameraConfig } from '../config/config.ts';
import type { CameraMemo } from '../state/state-folder.ts';

/** How a camera of the configuration is reached, as the commands say it. */
export function targetOptions(config: CameraConfig): TargetOptions {
  const { servers, relays, ports, uid, key, searchPort, secretFile, timeZone, only, via } = config;
  return withoutUndefined({
    servers,
    relays,
    ports,
    uid,
    key,
    searchPort,
    secretFile,
    cameraTimeZone: timeZone,
    // Behind a peer there is a route to its address, and neither a broadcast nor a rendezvous.
    only: via === undefined ? only : LAN_ONLY,
  });
}

const LAN_ONLY: ('lan' | 'p2p' | 'relay')[] = ['lan'];

/** An option that is not set is absent. */
function withoutUndefined<Options extends object>(options: Options): Defined<Options> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Defined<Options>;
}

type Defined<Options> = { [Name in keyof Options]?: Exclude<Options[Name], undefined> };

/** The part of the device information that is remembered. */
export function infoOf({ deviceId, model, firmware, battery, card, temperature }: CameraMemo): DeviceInfo {
  return withoutUndefined({
    devId: deviceId,
    modelName: model ?? undefined,
    fwVerName: firmware ?? undefined,
    batPercent: battery?.percent,
    isCharging: battery?.charging,
    sdTotalMB: card?.totalMb,
    sdFreeMB: card?.freeMb,
    temperature: temperature ?? undefined,
    fields: {},
  }) as DeviceInfo;
}

/** What is remembered of the device information. @param at ISO 8601 */
export function memoOf(info: DeviceInfo, at: string): CameraMemo {
  const { batPercent, isCharging, sdTotalMB, sdFreeMB, sdCardFormatErr, temperature, modelName, fwVerName } = info;
  return {
    deviceId: info.devId,
    model: modelName?.slice(0, 200) ?? null,
    firmware: fwVerName?.slice(0, 200) ?? null,
    battery: batPercent === undefined ? null : { percent: batPercent, charging: isCharging ?? false },
    card:
      sdTotalMB === undefined
        ? null
        : { totalMb: sdTotalMB, freeMb: sdFreeMB ?? 0, error: (sdCardFormatErr ?? 0) !== 0 },
    temperature: temperature ?? null,
    at,
  };
}
