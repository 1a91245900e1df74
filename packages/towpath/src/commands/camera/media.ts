import type { CameraClient, MediaItem } from '@towpath/camera';
import { isAbort, TowpathError } from '@towpath/core';
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
    let listed = 0;
    let unreadable = 0;
    const onUnreadable = (count: number) => {
      unreadable = count;
    };
    for await (const item of camera.mediaList({ signal, onUnreadable })) {
      listed++;
      if (options.since !== undefined && item.mediaTime < cameraSeconds(options.since)) continue;
      items.push(item);
      if (options.json) printJson(io, 'item', { name: itemName(item), ...item });
    }
    if (!options.json) {
      if (items.length > 0) for (const line of table(HEAD, items.map(cells), io.columns)) io.out(line);
      io.err(io.style('dim', counted(items.length, 'item')));
      if (listed + unreadable === 0) io.err(await emptyCardText(camera, signal));
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

/** Says why a list has no entries, as far as the camera tells it: a size of 0 MB is no card. */
export async function emptyCardText(
  camera: Pick<CameraClient, 'deviceInfo'>,
  signal: AbortSignal | undefined,
): Promise<string> {
  const totalMb = await cardMb(camera, signal);
  if (totalMb === 0) {
    return 'The camera has no card: it reports a size of 0 MB. Next: insert one, or check that it is inserted fully.';
  }
  return totalMb !== undefined && totalMb > 0 ? 'The card is empty.' : 'The camera has no card, or an empty one.';
}

/** @returns undefined when the camera does not tell it */
async function cardMb(
  camera: Pick<CameraClient, 'deviceInfo'>,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  try {
    return (await camera.deviceInfo({ signal })).sdTotalMB;
  } catch (error) {
    if (isAbort(error)) throw error;
    return undefined;
  }
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
