import {
  type DamagedVideo,
  type DownloadEvent,
  type DownloadMediaOptions,
  type DownloadSummary,
  downloadMedia,
  type ItemName,
  MediaLibrary,
  type MediaSource,
} from '@towpath/camera';
import { TowpathError } from '@towpath/core';
import type { Io } from '../../cli/io.ts';
import { bar, ProgressLine } from '../../cli/progress.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { counted, formatBytes, formatMs } from '../../cli/table.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { lockPictures } from '../../config/pictures-lock.ts';
import { cameraSeconds, emptyCardText, itemName, lostText, unreadableText } from './media.ts';
import { type TargetOptions, withCamera } from './target.ts';
import { printJson } from '../../cli/json-output.ts';

interface FetchOptions extends TargetOptions {
  /** Folder. */
  output: string;
  /** ms since the Unix epoch. */
  since?: number;
  newOnly?: boolean;
  limit?: number;
  items?: { dirNum: number; mediaNum: number }[];
  cameraTimeZone?: string;
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
  const summary = await withCamera(runtime, host, options, async (camera) => {
    camera.events.on('lost', ({ message }) => {
      // The progress line is drawn in place.
      if (io.interactive) io.draw('');
      io.err(io.style('yellow', `Interrupted: ${message} Waiting for the camera …`));
    });
    const fetched = await fetchInto(
      { camera, io, json, clock, log, signal, timeZone: options.cameraTimeZone },
      output,
      what,
      {
        ...(since === undefined ? {} : { since: cameraSeconds(since) }),
        ...(newOnly === undefined ? {} : { newOnly }),
        ...(limit === undefined ? {} : { limit }),
        ...(items === undefined ? {} : { items }),
      },
    );
    if (!json && fetched.listed + fetched.unreadable === 0) io.err(await emptyCardText(camera, signal));
    return fetched;
  });
  report(io, summary, output, json);
  const incomplete = incompleteness(summary);
  if (incomplete.length > 0) {
    const { failed, missing, unreadable } = summary;
    const onlyDamaged = failed.length + missing.length + unreadable === 0;
    const next = onlyDamaged
      ? 'remove such a file and run the command again to try once more'
      : 'run the command again';
    throw new TowpathError('items-failed', `${incomplete.join('; ')}. Next: ${next}.`);
  }
}

/** What of a download is missing, in words; nothing when all is there. */
function incompleteness({ failed, damaged, missing, unreadable }: DownloadSummary): string[] {
  const parts: string[] = [];
  const names = (items: readonly ItemName[]) => items.map(itemName).join(', ');
  if (failed.length > 0) parts.push(`not downloaded: ${names(failed.map(({ item }) => item))}`);
  if (damaged.length > 0) parts.push(`saved without some of their frames: ${damaged.map(damagedText).join(', ')}`);
  if (missing.length > 0) parts.push(`not on the card: ${names(missing)}`);
  if (unreadable > 0) parts.push(unreadableText(unreadable));
  return parts;
}

function damagedText({ item, lostFrames }: DamagedVideo): string {
  return `${itemName(item)} (${counted(lostFrames, 'frame')})`;
}

/** Everything that a download on the command line needs. */
export interface FetchComponents extends Pick<Runtime, 'io' | 'clock' | 'log' | 'signal'> {
  camera: MediaSource;
  json: boolean;
  /** Zone of the camera's clock; the machine's own when undefined. */
  timeZone?: string | undefined;
}

/** Downloads into a folder and shows the progress. */
export async function fetchInto(
  { camera, io, json, clock, log, signal, timeZone }: FetchComponents,
  folder: string,
  what: 'files' | 'thumbnails',
  choice: Pick<DownloadMediaOptions, 'since' | 'newOnly' | 'limit' | 'items'>,
): Promise<DownloadSummary> {
  const line = new ProgressLine(io);
  using _lock = lockPictures(folder);
  await using library = await MediaLibrary.open({ clock, log }, { folder, timeZone });
  try {
    return await downloadMedia({
      client: camera,
      library,
      clock,
      what,
      signal,
      ...choice,
      onEvent: (event) => (json ? printJson(io, event.type, eventJson(event)) : show(io, line, event)),
    });
  } finally {
    line.clear();
  }
}

function show(io: Io, line: ProgressLine, event: DownloadEvent): void {
  switch (event.type) {
    case 'listed':
      io.err(`${event.listed} on the card, ${event.present} already downloaded, ${event.wanted} to download`);
      return;
    case 'saved':
      line.clear();
      io.out(event.path);
      if (event.lostFrames) io.err(io.style('yellow', lostText(event.item, event.lostFrames)));
      return;
    case 'failed':
      line.clear();
      io.err(io.style('yellow', oneLine(event.error.message)));
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
  const { saved, present, bytes, elapsedMs, failed, damaged } = summary;
  if (json) {
    const failures = failed.map(({ item, error }) => ({
      item: itemName(item),
      code: error.code,
      message: error.message,
    }));
    const incomplete = damaged.map(({ item, lostFrames }) => ({ item: itemName(item), lostFrames }));
    printJson(io, 'downloaded', { ...summary, failed: failures, damaged: incomplete, folder });
    return;
  }
  const mark = failed.length + damaged.length === 0 ? io.style('green', '✓') : io.style('yellow', '!');
  const already = present === 0 ? `in ${folder}` : `${counted(present, 'file')} already in ${folder}`;
  if (saved === 0) {
    io.err(`${mark} nothing saved, ${already}`);
    return;
  }
  const rate = elapsedMs > 0 ? `, ${formatBytes((bytes * 1_000) / elapsedMs)}/s` : '';
  io.err(`${mark} ${saved} saved (${formatBytes(bytes)} in ${formatMs(elapsedMs)}${rate}), ${already}`);
}
