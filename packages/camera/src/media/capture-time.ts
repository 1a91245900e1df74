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
  return captureTimes(timeZone)(mediaTime);
}

/**
 * As {@link captureTime}, for many items: what reads the rules of a zone is made once.
 * @throws RangeError when the zone is unknown
 */
export function captureTimes(timeZone?: string): (mediaTime: number) => CaptureTime | undefined {
  const offset = offsets(timeZone);
  return (mediaTime) => captureTimeAt(mediaTime, offset);
}

function captureTimeAt(mediaTime: number, offsetAt: Offset): CaptureTime | undefined {
  const wallMs = mediaTime * 1000;
  if (!(mediaTime > 0) || Number.isNaN(new Date(wallMs).getTime())) return undefined;
  const offset = offsetAtWall(wallMs, offsetAt);
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
  return offsets(timeZone)(epochMs);
}

/** Returns the difference from UTC, minutes, at a moment. */
type Offset = (epochMs: number) => number;

function offsets(timeZone: string | undefined): Offset {
  if (timeZone === undefined) return (epochMs) => -new Date(epochMs).getTimezoneOffset();
  const fixed = /^([+-])(\d{2}):?(\d{2})$/.exec(timeZone);
  if (fixed) {
    const minutes = (fixed[1] === '-' ? -1 : 1) * (Number(fixed[2]) * 60 + Number(fixed[3]));
    return () => minutes;
  }
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
  return (epochMs) => {
    const part = Object.fromEntries(format.formatToParts(epochMs).map(({ type, value }) => [type, Number(value)]));
    const wallMs = Date.UTC(part.year!, part.month! - 1, part.day, part.hour, part.minute, part.second);
    return Math.round((wallMs - epochMs) / 60_000);
  };
}

/** The offset for which the zone shows a wall time; of the two moments of a repeated hour, the first. */
function offsetAtWall(wallMs: number, offset: Offset): number {
  const before = offset(wallMs - 24 * 3_600_000);
  if (offset(wallMs - before * 60_000) === before) return before;
  return offset(wallMs - offset(wallMs) * 60_000);
}
