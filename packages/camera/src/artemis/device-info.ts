import { z } from 'zod';
import type { JsonObject } from './json.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/** The response to 512. docs/protocol/artemis.md, "Device info". */

// biome-ignore format: grouped by meaning
const TEXT_FIELDS = [
  'fwVerName', 'bleVerName', 'modelName', 'subModelName', 'customName', 'cameraName',
  'longitude', 'latitude', 'languageCode',
] as const;

// biome-ignore format: grouped by meaning
const NUMBER_FIELDS = [
  'fwVerCode', 'bleVerCode', 'productId', 'screenType', 'wifiSocType',
  'timeUTC', 'timeZoneOffset', 'timeDst', 'dateFormat', 'timeFormat',
  'batPercent', 'emergencyBatPercent', 'batType', 'curBatType', 'temperature',
  'sdTotalMB', 'sdFreeMB', 'sdCardFormatErr',
  'workMode', 'shootMode', 'recordMode', 'picResolution', 'videoResolution', 'continuousShootCnt',
  'recordDuration', 'recordAudio', 'timelapseInterval',
  'workTimeOnOff', 'workTimeStartHour', 'workTimeStartMin', 'workTimeEndHour', 'workTimeEndMin',
  'pirSens', 'pirCoolingTime', 'sidePirOnOff', 'enableAiFilter',
  'detectionAreaVertex0X', 'detectionAreaVertex0Y', 'detectionAreaVertex1X', 'detectionAreaVertex1Y',
  'detectionAreaVertex2X', 'detectionAreaVertex2Y', 'detectionAreaVertex3X', 'detectionAreaVertex3Y',
  'cameraNameOnOff', 'pwrFreq', 'infraRedLum', 'lum', 'secureCodeOnOff',
  'defaultMicVolume', 'defaultSpkVolume', 'micVol', 'spkVol',
] as const;

const FLAG_FIELDS = ['osdInfoEnable', 'WiFiLedEnable', 'isCharging', 'isSolarCharging'] as const;

/**
 * The device information with the camera's own field names. Only `devId` is certain: other models send other fields,
 * and a field of an unexpected type counts as absent. `batPercent` in percent, `temperature` in °C (inferred), sizes in
 * MB; `timeUTC` is the camera's clock: seconds of local wall time counted as if they were UTC.
 */
export type DeviceInfo = {
  /** Identifies the camera (its Bluetooth address in text form); the UID of its session does not. */
  readonly devId: string;
  /** Every field as sent by the camera, including the digits of its secure code: do not log. */
  readonly fields: JsonObject;
} & { readonly [Name in (typeof TEXT_FIELDS)[number]]?: string | undefined } & {
  readonly [Name in (typeof NUMBER_FIELDS)[number]]?: number | undefined;
} & { readonly [Name in (typeof FLAG_FIELDS)[number]]?: boolean | undefined };

/** The record header reserves 32 bytes. */
const MAX_DEVICE_ID_CHARS = 32;

/** Longer texts and larger numbers count as absent: no camera sends them, and they are shown and stored. */
const MAX_TEXT_CHARS = 200;
const MAX_NUMBER = Number.MAX_SAFE_INTEGER;

const deviceInfoSchema = z.object({
  devId: z.string().min(1).max(MAX_DEVICE_ID_CHARS),
  ...optionalFields(TEXT_FIELDS, z.string().max(MAX_TEXT_CHARS)),
  ...optionalFields(NUMBER_FIELDS, z.number().min(-MAX_NUMBER).max(MAX_NUMBER)),
  ...optionalFields(FLAG_FIELDS, z.boolean()),
});

export function parseDeviceInfo(json: JsonObject): Decoded<DeviceInfo> {
  const parsed = deviceInfoSchema.safeParse(json);
  if (!parsed.success) return undecodable('unexpected-fields', 'The device info has no usable devId.');
  return decoded({ ...parsed.data, fields: json });
}

function optionalFields<Name extends string, Type extends z.ZodType>(
  names: readonly Name[],
  type: Type,
): Record<Name, z.ZodCatch<z.ZodOptional<Type>>> {
  const shape = {} as Record<Name, z.ZodCatch<z.ZodOptional<Type>>>;
  for (const name of names) shape[name] = type.optional().catch(undefined);
  return shape;
}
