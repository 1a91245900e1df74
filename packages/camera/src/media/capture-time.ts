/** When an item was taken, with the zone of the camera's clock. */
export interface CaptureTime {
  /** Milliseconds since the Unix epoch. */
  readonly epochMs: number;
  /** ISO 8601 with the zone's offset: `2026-05-01T18:30:12+02:00`. */
  readonly iso: string;
  /** The same for a file name: `20260501T183012+0200`. */
  readonly compact: string;
}

/**
 * Returns the moment of an item's time stamp.
 *
 * @param mediaTime seconds of the camera's local wall time, counted as if they were UTC; 0 when unknown
 * @param timeZone the zone of the camera's clock: an IANA name, or `±HH:MM`; the machine's own zone when undefined
 * @returns undefined when the time stamp is 0 or no date
 * @throws RangeError when the zone is unknown
 */
export function captureTime(mediaTime: number, timeZone?: string): CaptureTime | undefined {
  const wallMs = mediaTime * 1000;
  if (!(mediaTime > 0) || Number.isNaN(new Date(wallMs).getTime())) return undefined;
  const offset = offsetAtWall(wallMs, timeZone);
  const wall = new Date(wallMs).toISOString().slice(0, 19);
  const sign = offset < 0 ? '-' : '+';
  const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60].map((n) =>
    String(n).padStart(2, '0'),
  );
  return {
    epochMs: wallMs - offset * 60_000,
    iso: `${wall}${sign}${hours}:${minutes}`,
    compact: `${wall.replaceAll(/[-:]/g, '')}${sign}${hours}${minutes}`,
  };
}

/**
 * Returns the current difference of a zone's wall time from UTC, minutes.
 *
 * @param timeZone an IANA name or `±HH:MM`; the machine's own zone when undefined
 * @throws RangeError when the zone is unknown
 */
export function utcOffsetMinutes(epochMs: number, timeZone?: string): number {
  if (timeZone === undefined) return -new Date(epochMs).getTimezoneOffset();
  const fixed = /^([+-])(\d{2}):?(\d{2})$/.exec(timeZone);
  if (fixed) return (fixed[1] === '-' ? -1 : 1) * (Number(fixed[2]) * 60 + Number(fixed[3]));
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  const part = Object.fromEntries(format.formatToParts(epochMs).map(({ type, value }) => [type, Number(value)]));
  const wallMs = Date.UTC(part.year!, part.month! - 1, part.day, part.hour, part.minute, part.second);
  return Math.round((wallMs - epochMs) / 60_000);
}

/** The offset for which the zone shows a wall time; of the two moments of a repeated hour, the first. */
function offsetAtWall(wallMs: number, timeZone: string | undefined): number {
  const before = utcOffsetMinutes(wallMs - 24 * 3_600_000, timeZone);
  if (utcOffsetMinutes(wallMs - before * 60_000, timeZone) === before) return before;
  return utcOffsetMinutes(wallMs - utcOffsetMinutes(wallMs, timeZone) * 60_000, timeZone);
}
