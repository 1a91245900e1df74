/** How numbers, times and names are written on the page. All functions are pure; `nowMs` and the time zone are given. */

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** The character between a number and its unit: a space on which no line breaks. */
const NBSP = '\u00a0';
/** What is shown where a value is not known. */
export const UNKNOWN = '–';

/** `1.2 MB`: decimal units, as disks and networks count. */
export function formatBytes(bytes: number | undefined): string {
  if (bytes === undefined || !Number.isFinite(bytes) || bytes < 0) return UNKNOWN;
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1_000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return `${value.toFixed(digits)}${NBSP}${BYTE_UNITS[unit]}`;
}

/** `8.4 ms`, `42 ms`, `1.3 s`: a round trip, or the time that something took. */
export function formatMs(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms) || ms < 0) return UNKNOWN;
  if (ms < 9.95) return `${ms.toFixed(1)}${NBSP}ms`;
  if (ms < 999.5) return `${Math.round(ms)}${NBSP}ms`;
  if (ms < 59_950) return `${(ms / 1_000).toFixed(1)}${NBSP}s`;
  return formatDuration(ms);
}

/** `42 s`, `12 min`, `3 h 5 min`, `2 d 4 h`: how long something has lasted, in at most two units. */
export function formatDuration(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms)) return UNKNOWN;
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds}${NBSP}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}${NBSP}min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return joined(hours, 'h', minutes % 60, 'min');
  return joined(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function joined(major: number, majorUnit: string, minor: number, minorUnit: string): string {
  const first = `${major}${NBSP}${majorUnit}`;
  return minor === 0 ? first : `${first} ${minor}${NBSP}${minorUnit}`;
}

/** `just now`, `12 min ago`, `3 h ago`, `2 d ago`: one unit, since nobody needs the minutes of last week. */
export function formatAgo(atMs: number | undefined, nowMs: number): string {
  if (atMs === undefined || !Number.isFinite(atMs)) return UNKNOWN;
  const seconds = Math.floor((nowMs - atMs) / 1_000);
  if (seconds < 10) return 'just now';
  if (seconds < 60) return `${seconds}${NBSP}s ago`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}${NBSP}min ago`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}${NBSP}h ago`;
  return `${Math.floor(hours / 24)}${NBSP}d ago`;
}

/** `in 6 d`, `in 3 h`, `expired`. */
export function formatUntil(atMs: number, nowMs: number): string {
  const left = atMs - nowMs;
  if (left <= 0) return 'expired';
  if (left < 60_000) return 'in less than a minute';
  const minutes = Math.floor(left / 60_000);
  if (minutes < 60) return `in ${minutes}${NBSP}min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `in ${hours}${NBSP}h` : `in ${Math.floor(hours / 24)}${NBSP}d`;
}

/** `0 %`, `0.4 %`, `12 %` of a ratio. */
export function formatRatio(ratio: number | undefined): string {
  if (ratio === undefined || !Number.isFinite(ratio)) return UNKNOWN;
  const percent = ratio * 100;
  const digits = percent > 0 && percent < 9.95 ? 1 : 0;
  return `${percent.toFixed(digits)}${NBSP}%`;
}

/** `2 h 3 min` needs no zone, a time of day does: `undefined` is the browser's own. */
export type Zone = string | undefined;

const formatters = new Map<string, Intl.DateTimeFormat>();

/** Building a formatter takes longer than using it a thousand times; the number of kinds is small and fixed. */
function formatter(kind: string, zone: Zone, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${kind}/${zone ?? ''}`;
  let found = formatters.get(key);
  if (found === undefined) {
    found = new Intl.DateTimeFormat('en-GB', { ...options, ...(zone === undefined ? {} : { timeZone: zone }) });
    formatters.set(key, found);
  }
  return found;
}

/** `18:30`. */
export function formatTime(atMs: number, zone?: Zone): string {
  return formatter('time', zone, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(atMs);
}

/** `18:30:12`. */
export function formatTimeSeconds(atMs: number, zone?: Zone): string {
  const options = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' } as const;
  return formatter('seconds', zone, options).format(atMs);
}

/** `1 peer`, `3 peers`. */
export function plural(count: number, one: string, many: string = `${one}s`): string {
  return `${count}${NBSP}${count === 1 ? one : many}`;
}
