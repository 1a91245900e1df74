import type { MediaItem } from '@towpath/camera';
import { TowpathError } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { counted, table } from '../../cli/table.ts';
import { cameraTime } from './info.ts';
import { type TargetOptions, withCamera } from './target.ts';
import { printJson } from '../../cli/json-output.ts';

interface MediaOptions extends TargetOptions {
  /** ms since the Unix epoch. */
  since?: number;
}

export async function media(runtime: Runtime, host: string, options: MediaOptions): Promise<void> {
  const { io, signal } = runtime;
  await withCamera(runtime, host, options, async (camera) => {
    const items: MediaItem[] = [];
    let unreadable = 0;
    const onUnreadable = (count: number) => {
      unreadable = count;
    };
    for await (const item of camera.mediaList({ signal, onUnreadable })) {
      if (options.since !== undefined && item.mediaTime < cameraSeconds(options.since)) continue;
      items.push(item);
      if (options.json) printJson(io, 'item', { name: itemName(item), ...item });
    }
    if (!options.json) {
      if (items.length > 0) for (const line of table(HEAD, items.map(cells), io.columns)) io.out(line);
      io.err(io.style('dim', counted(items.length, 'item')));
    }
    if (unreadable > 0) {
      throw new TowpathError('items-failed', `${unreadableText(unreadable)}. Next: look at them on the camera itself.`);
    }
  });
}

const HEAD = ['ITEM', 'TAKEN', 'KIND'];

function cells(item: MediaItem): string[] {
  const kind = item.fileType === 0 ? 'photo' : `video ${(item.durationMs / 1_000).toFixed(1)} s`;
  return [itemName(item), cameraTime(item.mediaTime), kind];
}

/** `100/318`, as `--items` takes it. */
export function itemName({ dirNum, mediaNum }: { dirNum: number; mediaNum: number }): string {
  return `${dirNum}/${mediaNum}`;
}

/** Says that a part of the card's list is not known. */
export function unreadableText(entries: number): string {
  return `not readable in the card's list: ${counted(entries, 'entry', 'entries')}`;
}

/** Says that a saved video lacks frames. */
export function lostText(item: Parameters<typeof itemName>[0], lostFrames: number): string {
  return `Video ${itemName(item)} was saved without ${counted(lostFrames, 'frame')} that came damaged or followed a damaged one.`;
}

/** Converts ms of this machine's clock to the camera's clock: local time counted as if it were UTC, s. */
export function cameraSeconds(ms: number): number {
  return (ms - new Date(ms).getTimezoneOffset() * 60_000) / 1_000;
}
