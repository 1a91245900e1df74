import { oneLine } from '../../cli/terminal-text.ts';
import type { FileHandle } from 'node:fs/promises';
import { errorCode, openRegular, readFailure, TowpathError } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { wrap } from '../../cli/table.ts';
import { type LogLine, logPath } from '../../daemon/log/file-log.ts';
import { printJson } from '../../cli/json-output.ts';

interface LogsOptions extends CommonOptions {
  lines: number;
  follow?: boolean;
  level: string;
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];
const POLL_MS = 250;
/** Before what is left of a line on a narrow terminal. */
const INDENT = '  ';
/** Both files of the log together are smaller. */
const MAX_READ_BYTES = 16_000_000;

/** Prints the end of the log, and goes on with what is added. @throws TowpathError `file-unreadable`. */
export async function logs(runtime: Runtime, options: LogsOptions): Promise<void> {
  const { io, clock, signal, configFolder } = runtime;
  const least = LEVELS.indexOf(options.level);
  if (least < 1) throw new UsageError('--level must be debug, info, warn or error.');
  const path = logPath(configFolder);
  const before = await readFrom(`${path}.1`, 0);
  let { text, end } = await readFrom(path, 0);
  const isShown = (line: string) => LEVELS.indexOf(parse(line)?.level ?? 'error') >= least;
  const lines = `${before.text}${text}`.split('\n').filter((line) => line !== '' && isShown(line));
  if (lines.length === 0 && !options.follow && end === 0) {
    throw new TowpathError('file-unreadable', `There is no log at ${path}. Next: towpath up`, { kind: 'local' });
  }
  for (const line of lines.slice(-options.lines)) show(runtime, options, line);
  while (options.follow && !signal.aborted) {
    await clock.sleep(POLL_MS, signal).catch(() => {});
    ({ text, end } = await readFrom(path, end));
    for (const line of text.split('\n')) if (line !== '' && isShown(line)) show(runtime, options, line);
  }
  if (signal.aborted) io.err('');
}

/** Whole lines from an offset on; from the beginning when the file was replaced by a shorter one. */
async function readFrom(path: string, offset: number): Promise<{ text: string; end: number }> {
  let file: FileHandle;
  try {
    file = await openRegular(path, { maxBytes: Number.POSITIVE_INFINITY });
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return { text: '', end: 0 };
    throw readFailure(path, cause);
  }
  try {
    const { size } = await file.stat();
    const from = size < offset ? 0 : offset;
    const bytes = Buffer.alloc(Math.min(size - from, MAX_READ_BYTES));
    await file.read(bytes, 0, bytes.length, from);
    const last = bytes.lastIndexOf(0x0a) + 1;
    return { text: bytes.subarray(0, last).toString(), end: from + last };
  } finally {
    await file.close();
  }
}

function show({ io }: Runtime, { json }: CommonOptions, text: string): void {
  const line = parse(text);
  if (json) {
    printJson(io, 'log', line ?? { text });
    return;
  }
  if (line === undefined) {
    io.out(text);
    return;
  }
  const { time, level, scope, message, fields = {} } = line;
  const rest = Object.entries(fields)
    .map(([key, value]) => ` ${key}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .join('');
  const at = new Date(time);
  const stamp = `${at.toLocaleDateString('sv')} ${at.toTimeString().slice(0, 8)}`;
  const whole = `${stamp} ${level.padEnd(5)} [${scope}] ${oneLine(message + rest)}`;
  const [first = '', ...more] = io.piped ? [whole] : wrap(whole, io.columns - INDENT.length);
  io.out(first);
  for (const part of more) io.out(`${INDENT}${part}`);
}

function parse(text: string): LogLine | undefined {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    // A line that a crash cut off is shown as it is.
    return undefined;
  }
}
