import {
  type DownloadEvent,
  type DownloadMediaOptions,
  type DownloadSummary,
  downloadMedia,
  MediaLibrary,
  type MediaSource,
} from '@towpath/camera';
import { TowpathError } from '@towpath/core';
import type { Io } from '../../cli/io.ts';
import { bar, ProgressLine } from '../../cli/progress.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatBytes, formatMs } from '../../cli/table.ts';
import { cameraSeconds, itemName } from './media.ts';
import { type TargetOptions, withCamera } from './target.ts';

interface FetchOptions extends TargetOptions {
  /** Folder. */
  output: string;
  /** ms since the Unix epoch. */
  since?: number;
  newOnly?: boolean;
  limit?: number;
  items?: { dirNum: number; mediaNum: number }[];
}

export function download(runtime: Runtime, host: string, options: FetchOptions): Promise<void> {
  return fetchMedia(runtime, host, options, 'files');
}

export function thumbnails(runtime: Runtime, host: string, options: FetchOptions): Promise<void> {
  return fetchMedia(runtime, host, options, 'thumbnails');
}

async function fetchMedia(runtime: Runtime, host: string, options: FetchOptions, what: 'files' | 'thumbnails') {
  const { io, clock, log, signal } = runtime;
  const { output, since, newOnly, limit, items, json = false } = options;
  const wanted = items === undefined ? undefined : new Set(items.map(itemName));
  const summary = await withCamera(runtime, host, options, (camera) =>
    fetchInto({ camera, io, json, clock, log, signal }, output, what, {
      ...(since === undefined ? {} : { since: cameraSeconds(since) }),
      ...(newOnly === undefined ? {} : { newOnly }),
      ...(limit === undefined ? {} : { limit }),
      ...(wanted === undefined ? {} : { select: (item) => wanted.has(itemName(item)) }),
    }),
  );
  report(io, summary, output, json);
  if (summary.failed.length > 0) {
    const names = summary.failed.map(({ item }) => itemName(item)).join(', ');
    throw new TowpathError(
      'items-failed',
      `${summary.failed.length} items could not be had: ${names}. Next: run it again.`,
    );
  }
}

/** Everything that a download on the command line needs. */
export interface FetchComponents extends Pick<Runtime, 'io' | 'clock' | 'log' | 'signal'> {
  camera: MediaSource;
  json: boolean;
}

/** Downloads into a folder and shows how it goes. */
export async function fetchInto(
  { camera, io, json, clock, log, signal }: FetchComponents,
  folder: string,
  what: 'files' | 'thumbnails',
  choice: Pick<DownloadMediaOptions, 'since' | 'newOnly' | 'limit' | 'select'>,
): Promise<DownloadSummary> {
  const line = new ProgressLine(io);
  await using library = await MediaLibrary.open({ folder, clock, log });
  try {
    return await downloadMedia({
      client: camera,
      library,
      clock,
      what,
      signal,
      ...choice,
      onEvent: (event) => (json ? io.out(JSON.stringify(eventJson(event))) : show(io, line, event)),
    });
  } finally {
    line.clear();
  }
}

function show(io: Io, line: ProgressLine, event: DownloadEvent): void {
  switch (event.type) {
    case 'listed':
      io.err(`${event.listed} on the card, ${event.present} here already, ${event.wanted} to fetch`);
      return;
    case 'saved':
      line.clear();
      io.out(event.path);
      return;
    case 'failed':
      line.clear();
      io.err(io.style('yellow', `${itemName(event.item)}: ${event.error.message}`));
      return;
    case 'bytes': {
      const { done, wanted, bytes, bytesPerSecond } = event.progress;
      line.show(
        `${bar(done / Math.max(1, wanted))} ${done}/${wanted}  ${formatBytes(bytes)}  ${formatBytes(bytesPerSecond)}/s`,
      );
      return;
    }
    default:
      event satisfies never;
  }
}

function eventJson(event: DownloadEvent): object {
  if (event.type === 'failed') {
    const { error, ...rest } = event;
    return { ...rest, error: { code: error.code, message: error.message } };
  }
  return event;
}

function report(io: Io, summary: DownloadSummary, folder: string, json: boolean): void {
  const { saved, present, bytes, elapsedMs, failed } = summary;
  if (json) {
    const failures = failed.map(({ item, error }) => ({
      item: itemName(item),
      code: error.code,
      message: error.message,
    }));
    io.out(JSON.stringify({ ...summary, failed: failures, folder }));
    return;
  }
  const rate = elapsedMs > 0 ? `, ${formatBytes((bytes * 1_000) / elapsedMs)}/s` : '';
  io.err(
    `${io.style('green', '✓')} ${saved} saved (${formatBytes(bytes)} in ${formatMs(elapsedMs)}${rate}), ${present} were here, in ${folder}`,
  );
}
