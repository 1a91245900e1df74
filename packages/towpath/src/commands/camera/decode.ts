import { appendFileSync, createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type DecodedMessage,
  decodeCapture,
  MediaExtractor,
  summaryLines,
  transcriptLine,
} from '@towpath/camera/decode';
import { readFailure, TowpathError } from '@towpath/core';
import type { CaptureReport } from '@towpath/net/capture';
import { ReportedError } from '../../cli/failure.ts';
import type { Io } from '../../cli/io.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { counted, formatBytes } from '../../cli/table.ts';
import { makeFolder } from '../../config/make-folder.ts';
import { jsonLine, printJson } from '../../cli/json-output.ts';

/** A recording is held in memory as a whole; a device or a pipe may never end. */
const MAX_FILE_BYTES = 512 * 1024 * 1024;

interface DecodeOptions {
  json?: boolean;
  extract?: string;
}

/** Decodes each file as far as possible; problems are printed on standard error. */
export async function decode(
  { io }: Runtime,
  files: string[],
  { json = false, extract }: DecodeOptions,
): Promise<void> {
  const extractor = extract === undefined ? undefined : new MediaExtractor(folderTarget(extract));
  let empty: TowpathError | undefined;
  for (const file of files) {
    const bytes = await readBytes(file);
    if (files.length > 1 && !json) io.out(io.style('bold', file));
    const onMessage = (message: DecodedMessage) => {
      io.out(json ? jsonLine('message', message.json) : transcriptLine(message));
      extractor?.take(message);
    };
    const { report, summary } = decodeCapture(bytes, onMessage);
    if (json) printJson(io, 'summary', { summary });
    else for (const line of summaryLines(summary)) io.out(io.style('dim', line));
    showProblems(io, file, report);
    if (report.packets === 0) empty ??= nothingFound(file, report);
  }
  if (extractor && extract !== undefined) {
    const bytes = extractor.files.reduce((sum, { bytes }) => sum + bytes, 0);
    io.err(`${counted(extractor.files.length, 'file')}, ${formatBytes(bytes)}, extracted to ${extract}`);
  }
  if (empty !== undefined) throw empty;
}

function showProblems(io: Io, file: string, { problems, problemCount, foreign }: CaptureReport): void {
  for (const { position, message } of problems) io.err(io.style('yellow', `${file}, at ${position}: ${message}`));
  const rest = problemCount - problems.length;
  if (rest > 0) io.err(io.style('yellow', `${file}: ${rest} further problems`));
  if (foreign > 0) io.err(io.style('dim', `${file}: ${foreign} packets of other protocols were ignored`));
}

function nothingFound(file: string, { format, foreign }: CaptureReport): TowpathError {
  const why = foreign > 0 ? `${foreign} packets, but no camera traffic` : 'no packet could be read';
  return new ReportedError(
    'nothing-decoded',
    `${file} (${format}): ${why}. Next: check that it is a recording of UDP traffic.`,
    {
      target: file,
    },
  );
}

function tooLarge(file: string): TowpathError {
  const message = `${file} is larger than ${formatBytes(MAX_FILE_BYTES)}. Next: cut the recording into smaller files, for example with editcap.`;
  return new TowpathError('file-too-large', message, { target: file, kind: 'local' });
}

/** Writes into one folder; extracted names contain no path separators. */
function folderTarget(folder: string) {
  makeFolder(folder, 0o777);
  return {
    create: (name: string, data: Uint8Array) => writeFileSync(join(folder, name), data),
    append: (name: string, data: Uint8Array) => appendFileSync(join(folder, name), data),
  };
}

async function readBytes(file: string): Promise<Uint8Array> {
  try {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of createReadStream(file) as AsyncIterable<Uint8Array>) {
      bytes += piece.length;
      if (bytes > MAX_FILE_BYTES) throw tooLarge(file);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  } catch (cause) {
    throw readFailure(file, cause);
  }
}
