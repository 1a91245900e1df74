import { type Endpoint, parseEndpoint } from '@towpath/net';

/** How long and how much is kept: both limits apply when both are given. */
export interface Keep {
  /** null: for ever. */
  readonly days: number | null;
  /** null: no limit. */
  readonly bytes: number | null;
}

const UNITS_BYTES: Readonly<Record<string, number>> = { MB: 1e6, GB: 1e9, TB: 1e12 };
const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000 };

/** `forever`, `90 days`, `20 GB`, `90 days | 20 GB`; undefined for anything else. */
export function parseKeep(text: string): Keep | undefined {
  if (text.trim() === 'forever') return { days: null, bytes: null };
  let keep: Keep = { days: null, bytes: null };
  for (const part of text.split('|')) {
    const days = /^\s*(\d{1,5}(?:\.\d+)?)\s*days?\s*$/.exec(part);
    const bytes = parseBytes(part);
    if (days !== null && keep.days === null && Number(days[1]) > 0) keep = { ...keep, days: Number(days[1]) };
    else if (bytes !== undefined && keep.bytes === null && bytes > 0) keep = { ...keep, bytes };
    else return undefined;
  }
  return keep;
}

/** The inverse of {@link parseKeep}. */
export function formatKeep({ days, bytes }: Keep): string {
  const parts = [
    ...(days === null ? [] : [`${days} ${days === 1 ? 'day' : 'days'}`]),
    ...(bytes === null ? [] : [bytes >= 1e9 ? `${bytes / 1e9} GB` : `${bytes / 1e6} MB`]),
  ];
  return parts.length === 0 ? 'forever' : parts.join(' | ');
}

/** `500 MB`, `1.5 GB`; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d{1,6}(?:\.\d+)?)\s*(MB|GB|TB)\s*$/i.exec(text);
  return match === null ? undefined : Number(match[1]) * (UNITS_BYTES[match[2]?.toUpperCase() ?? ''] ?? 0);
}

/** `60 s`, `5 min`, `1 h`; undefined for anything else. @returns ms */
export function parseDuration(text: string): number | undefined {
  const match = /^\s*(\d{1,6}(?:\.\d+)?)\s*(ms|s|min|h)\s*$/.exec(text);
  return match === null ? undefined : Number(match[1]) * (UNITS_MS[match[2] ?? ''] ?? 0);
}

/** A camera is woken at most this often: each time costs its batteries a minute of Wi-Fi. */
export const MIN_WAKE_MS: number = 5 * 60_000;

export const TIME_OF_DAY: RegExp = /^([01]?\d|2[0-3]):([0-5]\d)$/;

/** `06:30`; undefined for anything else. @returns minutes since midnight */
export function parseTimeOfDay(text: string): number | undefined {
  const match = TIME_OF_DAY.exec(text);
  return match === null ? undefined : Number(match[1]) * 60 + Number(match[2]);
}

/** The inverse of {@link parseTimeOfDay}. */
export function formatTimeOfDay(minutes: number): string {
  const part = (value: number) => String(value).padStart(2, '0');
  return `${part(Math.floor(minutes / 60))}:${part(minutes % 60)}`;
}

/** Where a server listens: `8554` on this machine only, `0.0.0.0:8554`; undefined for anything else. */
export function parseListen(given: number | string): Endpoint | undefined {
  const text = String(given);
  if (/^\d{1,5}$/.test(text)) return Number(text) <= 65_535 ? { address: '127.0.0.1', port: Number(text) } : undefined;
  // Without a port there is no default that two cameras could share.
  const parsed = parseEndpoint(text, 0);
  return parsed.ok && parsed.endpoint.port > 0 ? parsed.endpoint : undefined;
}
