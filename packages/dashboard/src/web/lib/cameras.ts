import type { Camera, MediaItem, OutputProblem } from '../../api/cameras.ts';
import type { Tone } from './peers.ts';

/** Below this a battery is shown as low, percent. */
export const LOW_BATTERY_PERCENT = 15;
/** Above this a card is shown as nearly full. */
export const FULL_CARD_RATIO = 0.9;

const STATES: Readonly<Record<Camera['state'], string>> = {
  connecting: 'Connecting',
  connected: 'Connected',
  reconnecting: 'Reconnecting',
  waiting: 'Not reached',
  asleep: 'Asleep',
  stopped: 'Stopped',
};

export function cameraWords(camera: Pick<Camera, 'state' | 'path'>): string {
  if (camera.state === 'connected' && camera.path?.kind === 'relay') return 'Connected, relayed';
  return STATES[camera.state];
}

export function cameraTone({ state, path }: Pick<Camera, 'state' | 'path'>): Tone {
  if (state === 'connected') return path?.kind === 'relay' ? 'relay' : 'direct';
  return state === 'waiting' ? 'bad' : 'idle';
}

/** What fails at an output, beside the camera's name: `MQTT broker nas.local failed: …`. */
export function outputWords({ name }: Pick<Camera, 'name'>, { message }: Pick<OutputProblem, 'message'>): string {
  if (!message.startsWith(`${name}: `)) return message;
  const said = message.slice(name.length + 2);
  return said.charAt(0).toUpperCase() + said.slice(1);
}

/** `excellent`, `good`, `fair`, `weak` of a Wi-Fi signal. */
export function signalWords(dbm: number): string {
  if (dbm >= -55) return 'excellent';
  if (dbm >= -67) return 'good';
  if (dbm >= -78) return 'fair';
  return 'weak';
}

/** Share of the card that is used, 0 to 1. */
export function cardRatio({ totalMb, freeMb }: { totalMb: number; freeMb: number }): number {
  return totalMb <= 0 ? 0 : Math.min(1, Math.max(0, 1 - freeMb / totalMb));
}

/** `90 days, at most 20 GB`, `for ever`. */
export function retentionWords(
  { keepDays, keepBytes }: Camera['retention'],
  formatBytes: (bytes: number) => string,
): string {
  const parts = [
    ...(keepDays === null ? [] : [`${keepDays} days`]),
    ...(keepBytes === null ? [] : [`at most ${formatBytes(keepBytes)}`]),
  ];
  return parts.length === 0 ? 'for ever' : parts.join(', ');
}

/** The wall time of the camera that an item's `takenAt` says, `16:42`: the zone of the camera counts, not the reader's. */
export function wallTime(takenAt: string | null): string {
  return takenAt === null ? '' : takenAt.slice(11, 16);
}

const WEEKDAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
// biome-ignore format: one year
const MONTHS = [
  'January', 'February', 'March', 'April', 'May', 'June',
  'July', 'August', 'September', 'October', 'November', 'December',
];

/** `Thursday, 14 May 2026` of `2026-05-14`. Written out, since browsers differ in where they put the comma. */
export function dayWords(day: string): string {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day);
  const [year, month, date] = (match ?? []).slice(1).map(Number);
  const weekday = match === null ? undefined : WEEKDAYS[new Date(Date.UTC(year!, month! - 1, date)).getUTCDay()];
  const name = MONTHS[(month ?? 0) - 1];
  return weekday === undefined || name === undefined ? 'Without a date' : `${weekday}, ${date} ${name} ${year}`;
}

/** `Photo 100/318, 16:42`: the accessible name of a tile. */
export function itemLabel(item: Pick<MediaItem, 'kind' | 'name' | 'takenAt'>): string {
  const kind = item.kind === 'video' ? 'Video' : 'Photo';
  return [`${kind} ${item.name}`, wallTime(item.takenAt)].filter(Boolean).join(', ');
}

/** `0:10` of a video. */
export function lengthWords(durationMs: number): string {
  const seconds = Math.max(0, Math.round(durationMs / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
