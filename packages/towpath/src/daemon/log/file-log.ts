import { closeSync, constants, openSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Clock, createLog, type Log, type LogLevel, type LogRecord } from '@towpath/core';
import type { Io } from '../../cli/io.ts';
import { plainFields, serverLog } from '../../serve/server-log.ts';
import { terminalLog } from '../../cli/log.ts';
import { makeFolder } from '../../config/make-folder.ts';

/** The file and the one before it together hold at most twice this. */
const MAX_BYTES = 5_000_000;

/** A FIFO without O_NONBLOCK is waited for until somebody reads it. */
const FLAGS: number = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

const ORDER: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];

/** One line of the log file, as JSON. */
export interface LogLine {
  readonly time: string;
  readonly level: LogLevel;
  readonly scope: string;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** `log/towpath.log` in the state folder; the file before it ends in `.1`. */
export function logPath(stateFolder: string): string {
  return join(stateFolder, 'log', 'towpath.log');
}

/** Level that can be changed while the daemon runs. */
export interface LogControl {
  level: LogLevel;
}

/**
 * The daemon's log: everything from the level on goes to the file; standard error gets all of it with `verbose` or as JSON,
 * else warnings. A disk that is full loses lines and nothing else.
 */
export function daemonLog(
  components: { io: Io; clock: Clock },
  options: { stateFolder: string; control: LogControl; format: 'text' | 'json'; verbose: boolean },
): Log {
  const { io, clock } = components;
  const { control, format, verbose } = options;
  const file = fileSink(clock, logPath(options.stateFolder));
  const shown =
    verbose && format === 'text' ? terminalLog(io, clock) : serverLog(io, clock, { json: format === 'json', verbose });
  return createLog((record) => {
    const { level, scope, message, fields } = record;
    const rank = ORDER.indexOf(level);
    if (rank >= ORDER.indexOf(control.level)) {
      file(record);
      if (verbose || format === 'json' || rank >= ORDER.indexOf('warn')) shown.child(scope)[level](message, fields);
    } else if (verbose) shown.child(scope)[level](message, fields);
  });
}

function fileSink(clock: Clock, path: string): (record: LogRecord) => void {
  let bytes: number | undefined;
  return ({ level, scope, message, fields }) => {
    try {
      if (bytes === undefined) {
        makeFolder(dirname(path));
        bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      }
      if (bytes > MAX_BYTES) {
        renameSync(path, `${path}.1`);
        bytes = 0;
      }
      const told = plainFields(Object.entries(fields).filter(([, value]) => value !== undefined));
      const time = new Date(clock.wallTime()).toISOString();
      const line = `${JSON.stringify({ time, level, scope, message, ...(Object.keys(told).length > 0 ? { fields: told } : {}) })}\n`;
      append(path, line);
      bytes += line.length;
    } catch {
      // A full disk or a removed folder: the next line tries again.
      bytes = undefined;
    }
  };
}

function append(path: string, line: string): void {
  const file = openSync(path, FLAGS, 0o600);
  try {
    writeFileSync(file, line);
  } finally {
    closeSync(file);
  }
}
