import type { Io } from './io.ts';

/** Columns aligned with two spaces between them; numbers to the right. */
export function columns(rows: readonly (readonly string[])[], numeric: readonly number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, at) => {
        const width = widths[at] ?? 0;
        return numeric.includes(at) ? cell.padStart(width) : at === row.length - 1 ? cell : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
}

/** `1 member`, `2 members`. */
export function counted(count: number, noun: string, plural: string = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`;
}

/** `1.4 MB`, `312 kB`, `87 B`: powers of 1000, as file managers count. */
export function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes / 1_000;
  let at = 0;
  while (value >= 1_000 && at < units.length - 1) {
    value /= 1_000;
    at++;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

/** `42 ms`, `1.3 s`, `4 min`. */
export function formatMs(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** Wider than any piped reader cares for, and than most terminals. */
const UNLIMITED = 10_000;

/**
 * A table with a head, in as many columns as the terminal has: where it does not fit, each row becomes a block of lines
 * that begins with its first cell.
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  width: number,
  numeric: readonly number[] = [],
): string[] {
  const lines = columns([head, ...rows], numeric);
  if (lines.every((line) => line.length <= Math.min(width, UNLIMITED))) return lines;
  return rows.flatMap((row) => [
    row[0] ?? '',
    ...columns(
      row.slice(1).flatMap((cell, at) => (cell === '' ? [] : [[(head[at + 1] ?? '').toLowerCase(), cell]])),
    ).flatMap((line) => wrap(line, width - 2).map((part, at) => `${at === 0 ? '  ' : '    '}${part}`)),
  ]);
}

/** The width of lines on standard output; what another program reads is not wrapped. */
export function outputWidth({ columns: width, piped }: Pick<Io, 'columns' | 'piped'>): number {
  return piped === true ? Number.MAX_SAFE_INTEGER : width;
}

/** Shortens a line to `width` characters; `…` says that something is missing. */
export function cut(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, Math.max(1, width - 1)).trimEnd()}…`;
}

/** Breaks a line at spaces where possible; no part is longer than `width`. */
export function wrap(line: string, width: number): string[] {
  const limit = Math.max(10, Math.min(width, UNLIMITED));
  const parts: string[] = [];
  let rest = line;
  while (rest.length > limit) {
    const space = rest.lastIndexOf(' ', limit);
    const at = space > limit / 2 ? space : limit;
    parts.push(rest.slice(0, at).trimEnd());
    rest = rest.slice(at).trimStart();
  }
  return [...parts, rest];
}
