import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DecodedMessage, decodeCapture, MediaExtractor, summaryLines, transcriptLine } from '@towpath/camera';
import { errorCode, TowpathError } from '@towpath/core';
import type { CaptureReport } from '@towpath/net';
import { ReportedError } from '../../cli/failure.ts';
import type { Io } from '../../cli/io.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatBytes } from '../../cli/table.ts';

interface DecodeOptions {
  json?: boolean;
  extract?: string;
}

/** Decodes each file as far as it goes; what cannot be read is said on standard error. */
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
      io.out(json ? JSON.stringify(message.json) : transcriptLine(message));
      extractor?.take(message);
    };
    const { report, summary } = decodeCapture(bytes, onMessage);
    if (json) io.out(JSON.stringify({ summary }));
    else for (const line of summaryLines(summary)) io.out(io.style('dim', line));
    showProblems(io, file, report);
    if (report.packets === 0) empty ??= nothingFound(file, report);
  }
  if (extractor && extract !== undefined) {
    const bytes = extractor.files.reduce((sum, { bytes }) => sum + bytes, 0);
    io.err(`${extractor.files.length} files, ${formatBytes(bytes)}, extracted to ${extract}`);
  }
  if (empty !== undefined) throw empty;
}

function showProblems(io: Io, file: string, { problems, problemCount, foreign }: CaptureReport): void {
  for (const { position, message } of problems) io.err(io.style('yellow', `${file}, at ${position}: ${message}`));
  const rest = problemCount - problems.length;
  if (rest > 0) io.err(io.style('yellow', `${file}: ${rest} further problems`));
  if (foreign > 0) io.err(io.style('dim', `${file}: ${foreign} packets of other protocols were passed over`));
}

function nothingFound(file: string, { format, foreign }: CaptureReport): TowpathError {
  const why = foreign > 0 ? `${foreign} packets, none of them of a camera` : 'no packet could be read';
  return new ReportedError(
    'nothing-decoded',
    `${file} (${format}): ${why}. Next: check that it is a recording of UDP traffic.`,
    {
      target: file,
    },
  );
}

/** Extracted names are plain file names by contract, so a file cannot leave the folder. */
function folderTarget(folder: string) {
  mkdirSync(folder, { recursive: true });
  return {
    create: (name: string, data: Uint8Array) => writeFileSync(join(folder, name), data),
    append: (name: string, data: Uint8Array) => appendFileSync(join(folder, name), data),
  };
}

async function readBytes(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new TowpathError('file-unreadable', `${file} cannot be read (${errorCode(cause)}).`, { target: file, cause });
  }
}
