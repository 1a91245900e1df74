import type { MediaItem } from '@towpath/camera';
import type { Runtime } from '../../cli/runtime.ts';
import { columns } from '../../cli/table.ts';
import { cameraTime } from './info.ts';
import { type TargetOptions, withCamera } from './target.ts';

interface MediaOptions extends TargetOptions {
  /** ms since the Unix epoch. */
  since?: number;
}

export async function media(runtime: Runtime, host: string, options: MediaOptions): Promise<void> {
  const { io, signal } = runtime;
  await withCamera(runtime, host, options, async (camera) => {
    const items: MediaItem[] = [];
    for await (const item of camera.mediaList({ signal })) {
      if (options.since !== undefined && item.mediaTime < cameraSeconds(options.since)) continue;
      items.push(item);
      if (options.json) io.out(JSON.stringify({ name: itemName(item), ...item }));
    }
    if (options.json) return;
    for (const line of columns(items.map(cells))) io.out(line);
    io.err(io.style('dim', `${items.length} ${items.length === 1 ? 'item' : 'items'}`));
  });
}

function cells(item: MediaItem): string[] {
  const kind = item.fileType === 0 ? 'photo' : `video ${(item.durationMs / 1_000).toFixed(1)} s`;
  return [itemName(item), cameraTime(item.mediaTime), kind];
}

/** `100/318`, as `--items` takes it. */
export function itemName({ dirNum, mediaNum }: { dirNum: number; mediaNum: number }): string {
  return `${dirNum}/${mediaNum}`;
}

/** A moment of this machine's wall clock on the camera's: local time counted as if it were UTC, seconds. */
export function cameraSeconds(ms: number): number {
  return (ms - new Date(ms).getTimezoneOffset() * 60_000) / 1_000;
}
