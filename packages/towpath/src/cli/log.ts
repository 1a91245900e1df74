import { type Clock, createLog, type Log, type LogLevel } from '@towpath/core';
import type { Io, Style } from './io.ts';
import { oneLine } from './terminal-text.ts';

const STYLES: Record<LogLevel, Style> = { trace: 'dim', debug: 'dim', info: 'cyan', warn: 'yellow', error: 'red' };

/** Log lines for a person on standard error: `+0.012 debug [LAN] Attempt …`. */
export function terminalLog(io: Io, clock: Clock): Log {
  const startedAt = clock.now();
  return createLog(({ level, scope, message, fields }) => {
    const time = `+${((clock.now() - startedAt) / 1_000).toFixed(3)}`;
    const rest = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => ` ${key}=${typeof value === 'object' ? JSON.stringify(value) : value}`)
      .join('');
    const told = `[${scope}] ${oneLine(message)}${io.style('dim', oneLine(rest))}`;
    io.err(`${io.style('dim', time)} ${io.style(STYLES[level], level)} ${told}`);
  });
}
