import type { DeviceInfo } from '../artemis/device-info.ts';
import type { JsonObject } from '../artemis/json.ts';

/** What a value that a person gave became, or the sentence that says what is accepted. */
export type Parsed =
  | { readonly ok: true; readonly fields: JsonObject }
  | { readonly ok: false; readonly accepted: string };

/** One setting of a camera, in words. */
export interface Setting {
  /** `motion-pause` */
  readonly name: string;
  /** What it does, with its unit. */
  readonly what: string;
  /** Field of the device information. */
  readonly field: string;
  /**
   * False when the numbers of the field have meanings that are not known: the value is shown and set as the camera
   * counts. docs/protocol/artemis.md, "Device info".
   */
  readonly known: boolean;
  /** Returns the value in words; undefined when the camera does not have the setting. */
  show(info: DeviceInfo): string | undefined;
  /** Converts words into fields of the request. */
  parse(text: string, info: DeviceInfo): Parsed;
}

const accept = (field: string, value: number | string | boolean): Parsed => ({ ok: true, fields: { [field]: value } });
const refuse = (accepted: string): Parsed => ({ ok: false, accepted });

/** `on` and `off`; on the wire 0 and 1, or a boolean: as the camera sends it. */
function onOff(name: string, field: string, what: string): Setting {
  return {
    name,
    what: `${what} (on, off)`,
    field,
    known: true,
    show: ({ fields }) => {
      const value = fields[field];
      if (typeof value !== 'boolean' && value !== 0 && value !== 1) return undefined;
      return value ? 'on' : 'off';
    },
    parse: (text, { fields }) => {
      if (text !== 'on' && text !== 'off') return refuse('on or off');
      const on = text === 'on';
      return accept(field, typeof fields[field] === 'boolean' ? on : Number(on));
    },
  };
}

/** A whole number with a unit. */
function count(name: string, field: string, what: string, [min, max]: readonly [number, number], unit = ''): Setting {
  return {
    name,
    what: `${what} (${min} to ${max}${unit && ` ${unit}`})`,
    field,
    known: true,
    show: ({ fields }) => numberText(fields[field], unit),
    parse: (text) => {
      const value = Number(text);
      const isWhole = /^\d{1,9}$/.test(text) && value >= min && value <= max;
      return isWhole ? accept(field, value) : refuse(`a whole number from ${min} to ${max}${unit && `, ${unit}`}`);
    },
  };
}

/** A number whose meaning is not known. `offered` names the camera's own list of what it takes. */
function unknown(
  name: string,
  field: string,
  what: string,
  offered?: (info: DeviceInfo) => readonly number[],
): Setting {
  return {
    name,
    what,
    field,
    known: false,
    show: ({ fields }) => numberText(fields[field], ''),
    parse: (text, info) => {
      const value = Number(text);
      const list = offered?.(info) ?? [];
      if (!/^\d{1,9}$/.test(text)) return refuse('a number as the camera counts');
      if (list.length > 0 && !list.includes(value)) return refuse(`one of the camera's numbers ${list.join(', ')}`);
      return accept(field, value);
    },
  };
}

/** A time of day, in two fields. */
function timeOfDay(name: string, hourField: string, minuteField: string, what: string): Setting {
  return {
    name,
    what: `${what} (HH:MM)`,
    field: hourField,
    known: true,
    show: ({ fields }) => {
      const [hour, minute] = [fields[hourField], fields[minuteField]];
      if (typeof hour !== 'number' || typeof minute !== 'number') return undefined;
      return `${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}`;
    },
    parse: (text) => {
      const match = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text);
      if (match === null) return refuse('a time of day such as 06:30');
      return { ok: true, fields: { [hourField]: Number(match[1]), [minuteField]: Number(match[2]) } };
    },
  };
}

/** Printable text; device names are drawn into pictures. */
function text(name: string, field: string, what: string, maxBytes: number): Setting {
  return {
    name,
    what: `${what} (up to ${maxBytes} bytes)`,
    field,
    known: true,
    show: ({ fields }) => (typeof fields[field] === 'string' ? fields[field] : undefined),
    parse: (value) => {
      const fits = Buffer.byteLength(value) <= maxBytes && !/[\p{Cc}\p{Cf}]/u.test(value);
      return fits ? accept(field, value) : refuse(`printable text of up to ${maxBytes} bytes`);
    },
  };
}

const language: Setting = {
  name: 'language',
  what: 'language of the menu (a code that the camera lists)',
  field: 'languageCode',
  known: true,
  show: ({ languageCode }) => languageCode,
  parse: (code, info) => {
    const known = listOf(info, 'languages', 'langCode').filter((item) => typeof item === 'string');
    const accepted = known.length > 0 ? `one of ${known.join(', ')}` : 'a code of two letters';
    return (known.length > 0 ? known.includes(code) : /^[a-z]{2}$/.test(code))
      ? accept('languageCode', code)
      : refuse(accepted);
  },
};

const resolutions = (list: string) => (info: DeviceInfo) =>
  listOf(info, list, 'resolution').filter((item) => typeof item === 'number');

/** The settings that the device information has, in the order in which people look for them. */
export const SETTINGS: readonly Setting[] = [
  text('name', 'cameraName', "the camera's name", 32),
  onOff('name-in-pictures', 'cameraNameOnOff', 'draw the name into pictures'),
  onOff('strip', 'osdInfoEnable', 'draw date, temperature and battery into pictures'),
  count('photos-per-trigger', 'continuousShootCnt', 'photos at each trigger', [1, 10]),
  count('video-length', 'recordDuration', 'length of a video', [1, 600], 's'),
  onOff('sound', 'recordAudio', 'record sound with videos'),
  count('motion-pause', 'pirCoolingTime', 'pause after a trigger', [0, 3_600], 's'),
  onOff('side-motion', 'sidePirOnOff', 'sensors at the sides'),
  onOff('animal-filter', 'enableAiFilter', 'ignore triggers without an animal or a person'),
  count('timelapse-interval', 'timelapseInterval', 'interval of time-lapse pictures', [1, 86_400], 's'),
  onOff('work-time', 'workTimeOnOff', 'work only from work-from to work-to'),
  timeOfDay('work-from', 'workTimeStartHour', 'workTimeStartMin', 'start of the working hours'),
  timeOfDay('work-to', 'workTimeEndHour', 'workTimeEndMin', 'end of the working hours'),
  language,
  count('microphone', 'defaultMicVolume', 'volume of the microphone', [0, 100], '%'),
  count('speaker', 'defaultSpkVolume', 'volume of the speaker', [0, 100], '%'),
  onOff('wifi-led', 'WiFiLedEnable', 'light that shows Wi-Fi'),
  onOff('access-code', 'secureCodeOnOff', 'ask for the code at the camera itself'),
  unknown('work-mode', 'workMode', 'photo, video or time-lapse'),
  unknown('shoot-mode', 'shootMode', 'what a trigger records'),
  unknown('record-mode', 'recordMode', 'what happens when the card is full'),
  unknown('photo-resolution', 'picResolution', 'resolution of photos', resolutions('imgResolutions')),
  unknown('video-resolution', 'videoResolution', 'resolution of videos', resolutions('videoResolutions')),
  unknown('motion-sensitivity', 'pirSens', 'sensitivity of the motion sensor'),
  unknown('infrared', 'infraRedLum', 'strength of the infrared light'),
  unknown('date-format', 'dateFormat', 'order of day, month and year'),
  unknown('time-format', 'timeFormat', '12 or 24 hours'),
  unknown('mains-frequency', 'pwrFreq', '50 or 60 Hz'),
  unknown('battery-type', 'batType', 'kind of batteries'),
];

function listOf({ fields }: DeviceInfo, list: string, key: string): unknown[] {
  const { capability } = fields;
  if (typeof capability !== 'object' || capability === null) return [];
  const items = (capability as JsonObject)[list];
  if (!Array.isArray(items)) return [];
  return items.slice(0, MAX_LIST_ITEMS).map((item) => (item as JsonObject | null)?.[key]);
}

/** The recorded camera lists 22 languages. */
const MAX_LIST_ITEMS = 100;

function numberText(value: unknown, unit: string): string | undefined {
  if (typeof value !== 'number') return undefined;
  return unit === '' ? String(value) : `${value} ${unit}`;
}
