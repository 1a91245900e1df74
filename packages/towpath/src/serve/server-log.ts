import { type Clock, createLog, type Log, type LogLevel } from '@towpath/core';
import type { Io } from '../cli/io.ts';

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];

/**
 * The log of a server on standard error: what matters to whoever runs it, dated. `json` writes one object per line, for
 * programs that gather logs.
 */
export function serverLog(io: Io, clock: Clock, options: { json: boolean; verbose: boolean }): Log {
  const least = LEVELS.indexOf(options.verbose ? 'debug' : 'info');
  return createLog(({ level, scope, message, fields }) => {
    if (LEVELS.indexOf(level) < least) return;
    const time = new Date(clock.wallTime()).toISOString();
    const told = Object.entries(fields).filter(([, value]) => value !== undefined);
    if (options.json) {
      // What everybody looks for comes first, and no field can take its place.
      io.err(JSON.stringify({ time, level, scope, message, ...(told.length > 0 ? { fields: plain(told) } : {}) }));
      return;
    }
    const rest = told.map(([key, value]) => ` ${key}=${text(value)}`).join('');
    io.err(`${time} ${level.padEnd(5)} [${scope}] ${message}${rest}`);
  });
}

function plain(fields: [string, unknown][]): Record<string, unknown> {
  return Object.fromEntries(fields.map(([key, value]) => [key, value instanceof Error ? value.message : value]));
}

function text(value: unknown): string {
  if (value instanceof Error) return value.message;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
