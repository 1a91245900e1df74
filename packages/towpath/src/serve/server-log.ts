import { type Clock, createLog, type Log, type LogLevel } from '@towpath/core';
import type { Io } from '../cli/io.ts';
import { oneLine } from '../cli/terminal-text.ts';
import { timeText } from '../cli/time-text.ts';

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];

/**
 * The log of a server on standard error: what matters to whoever runs it, dated: in local time on a terminal, else in ISO 8601. `json` writes one object per line, for
 * programs that gather logs.
 */
export function serverLog(io: Io, clock: Clock, options: { json: boolean; verbose: boolean }): Log {
  const least = LEVELS.indexOf(options.verbose ? 'debug' : 'info');
  return createLog(({ level, scope, message, fields }) => {
    if (LEVELS.indexOf(level) < least) return;
    const now = clock.wallTime();
    const told = Object.entries(fields).filter(([, value]) => value !== undefined);
    if (options.json) {
      const time = new Date(now).toISOString();
      // What everybody looks for comes first, and no field can take its place.
      io.err(
        JSON.stringify({ time, level, scope, message, ...(told.length > 0 ? { fields: plainFields(told) } : {}) }),
      );
      return;
    }
    const rest = told.map(([key, value]) => ` ${key}=${text(value)}`).join('');
    // What a device or a member says must not look like a line of its own.
    io.err(`${timeText(io, now)} ${level.padEnd(5)} [${scope}] ${oneLine(message + rest)}`);
  });
}

/** Fields as JSON has them: an error is its message. */
export function plainFields(fields: [string, unknown][]): Record<string, unknown> {
  return Object.fromEntries(fields.map(([key, value]) => [key, value instanceof Error ? value.message : value]));
}

function text(value: unknown): string {
  if (value instanceof Error) return value.message;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
