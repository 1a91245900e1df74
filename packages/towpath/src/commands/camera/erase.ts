import { createInterface } from 'node:readline/promises';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatBytes } from '../../cli/table.ts';
import { itemName } from './media.ts';
import { type TargetOptions, withCamera } from './target.ts';

interface EraseOptions extends TargetOptions {
  yes?: boolean;
}

interface RemoveOptions extends EraseOptions {
  items: { dirNum: number; mediaNum: number }[];
}

/** Deletes the named items; the list is asked first, because a request must name the kind of file as well. */
export async function remove(runtime: Runtime, host: string, options: RemoveOptions): Promise<void> {
  const { io, signal } = runtime;
  const wanted = new Set(options.items.map(itemName));
  await confirm(runtime, options, `Delete ${wanted.size} items from the card of ${host}?`);
  await withCamera(runtime, host, options, async (camera) => {
    const found = [];
    for await (const item of camera.mediaList({ signal })) {
      if (wanted.delete(itemName(item))) found.push(item);
      if (wanted.size === 0) break;
    }
    if (wanted.size > 0) {
      throw new UsageError(
        `Not on the card: ${[...wanted].join(', ')}. Nothing was deleted. Next: towpath camera media`,
      );
    }
    for (const item of found) {
      await camera.deleteItem(item, { signal });
      io.out(options.json ? JSON.stringify({ deleted: itemName(item) }) : `deleted ${itemName(item)}`);
    }
  });
}

export async function format(runtime: Runtime, host: string, options: EraseOptions): Promise<void> {
  const { io, signal } = runtime;
  await confirm(runtime, options, `Format the card of ${host}? Everything on it is lost.`);
  const space = await withCamera(runtime, host, options, (camera) => camera.formatSdCard({ confirm: true, signal }));
  if (options.json) io.out(JSON.stringify({ formatted: true, ...space }));
  else io.out(`formatted: ${formatBytes((space.sdFreeMB ?? 0) * 1_000_000)} free`);
}

async function confirm({ io, signal }: Runtime, { yes }: EraseOptions, question: string): Promise<void> {
  if (yes) return;
  if (!io.interactive || !process.stdin.isTTY) {
    throw new UsageError(`${question} Next: say --yes, since nobody can be asked here.`);
  }
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await reader.question(`${question} [y/N] `, { signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new UsageError('Nothing was done.');
  } finally {
    reader.close();
  }
}
