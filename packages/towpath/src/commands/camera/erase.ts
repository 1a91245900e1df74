import { createInterface } from 'node:readline/promises';
import { UsageError } from '../../cli/failure.ts';
import type { Io } from '../../cli/io.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { counted, formatBytes } from '../../cli/table.ts';
import { itemName } from './media.ts';
import { type TargetOptions, withCamera } from './target.ts';
import { jsonLine, printJson } from '../../cli/json-output.ts';

interface EraseOptions extends TargetOptions {
  yes?: boolean;
}

interface RemoveOptions extends EraseOptions {
  items: { dirNum: number; mediaNum: number }[];
}

/** Deletes items; reads the list first, because a request needs the file type of each item. */
export async function remove(runtime: Runtime, host: string, options: RemoveOptions): Promise<void> {
  const { io, signal } = runtime;
  const wanted = new Set(options.items.map(itemName));
  if (!(await confirmed(runtime, options, `Delete ${counted(wanted.size, 'item')} from the card of ${host}?`))) return;
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
      io.out(options.json ? jsonLine('deleted', { deleted: itemName(item) }) : `deleted ${itemName(item)}`);
    }
  });
}

export async function format(runtime: Runtime, host: string, options: EraseOptions): Promise<void> {
  const { io, signal } = runtime;
  if (!(await confirmed(runtime, options, `Format the card of ${host}? Everything on it is lost.`))) return;
  const space = await withCamera(runtime, host, options, (camera) => camera.formatSdCard({ confirm: true, signal }));
  if (options.json) printJson(io, 'formatted', { formatted: true, ...space });
  else io.out(`formatted: ${formatBytes((space.sdFreeMB ?? 0) * 1_000_000)} free`);
}

/** Asks on the terminal. A "no" is an answer, not an error. @throws UsageError when there is no terminal */
async function confirmed({ io, signal }: Runtime, { yes, json }: EraseOptions, question: string): Promise<boolean> {
  if (yes) return true;
  const answer = io.readLine ? await io.readLine(question) : await ask(io, question, signal);
  if (answer !== undefined && /^y(es)?$/i.test(answer.trim())) return true;
  if (json) printJson(io, 'not-confirmed', { confirmed: false });
  io.err('Nothing was changed.');
  return false;
}

async function ask({ interactive }: Io, question: string, signal: AbortSignal): Promise<string> {
  if (!interactive || !process.stdin.isTTY) {
    throw new UsageError(`${question} Next: add --yes; there is no terminal to ask for confirmation.`);
  }
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await reader.question(`${question} [y/N] `, { signal });
  } finally {
    reader.close();
  }
}
