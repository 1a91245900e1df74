const DAY_MS = 86_400_000;

/** `2026-01-04 20:28:52,313`, `[23:53:58.138]`, `17:54:09.597647` at the beginning of a line. */
const WALL_TIME = /^\s*\[?(?:(\d{4})-(\d\d)-(\d\d)[ T])?(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?/;

/** Seconds since 1970, as `tcpdump -tt` writes them. */
const EPOCH_TIME = /^\s*(\d{9,10}\.\d+)\s/;

/** Reads the times at the beginning of lines. Times without a date go on past midnight. */
export class TextClock {
  #lastMs = Number.NEGATIVE_INFINITY;
  #daysMs = 0;

  /** Milliseconds on some clock that only goes forward by days; undefined when the line begins with no time. */
  read(line: string): number | undefined {
    const epoch = EPOCH_TIME.exec(line);
    if (epoch !== null) return Number(epoch[1]) * 1000;
    const wall = WALL_TIME.exec(line);
    if (wall === null) return undefined;
    const [, year, month, day, hours, minutes, seconds, fraction = ''] = wall;
    const ofDayMs = (Number(hours) * 60 + Number(minutes)) * 60_000 + Number(`${seconds}.${fraction || '0'}`) * 1000;
    if (year !== undefined) return Date.UTC(Number(year), Number(month) - 1, Number(day)) + ofDayMs;
    if (this.#daysMs + ofDayMs < this.#lastMs - DAY_MS / 2) this.#daysMs += DAY_MS;
    this.#lastMs = this.#daysMs + ofDayMs;
    return this.#lastMs;
  }
}
