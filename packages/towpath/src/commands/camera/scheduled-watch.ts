import type { CameraClient } from '@towpath/camera';
import { errorMessage, isAbort } from '@towpath/core';
import { timeLimit } from './time-limit.ts';
import { runVisits } from '@towpath/camera/outputs';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatMs } from '../../cli/table.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { lockPictures } from '../../config/pictures-lock.ts';
import { MIN_WAKE_MS } from '../../daemon/config/quantities.ts';
import { visitCamera } from './hotspot.ts';
import { cameraTime } from './info.ts';
import { type CameraRuntime, cameraRuntime } from './target.ts';
import { itemName, unreadableText } from './media.ts';
import {
  checkComplete,
  NOTHING_MISSING,
  raceTeller,
  type Say,
  type Shortfall,
  speaker,
  tell,
  WatchedFolder,
  type WatchOptions,
} from './watch.ts';

/**
 * `towpath camera watch --wake`: on a schedule, wakes the camera, joins its hotspot, downloads what the folder lacks, and
 * leaves. The camera falls asleep by itself when nobody is connected.
 */
export async function scheduledWatch(runtime: Runtime, host: string, options: WatchOptions): Promise<void> {
  if (options.output === undefined) {
    throw new UsageError('With --wake, a folder is needed. Next: add --output FOLDER.');
  }
  if (options.every * 1_000 < MIN_WAKE_MS) {
    throw new UsageError(`With --wake, --every is at least ${MIN_WAKE_MS / 60_000} minutes, such as --every 2h.`);
  }
  const { clock, random, log } = runtime;
  using _lock = lockPictures(options.output);
  const visiting = cameraRuntime(runtime);
  const say = speaker(runtime, options.json ?? false);
  let shortfall = NOTHING_MISSING;
  let first = true;
  using limit = timeLimit(runtime, options.for);
  const { signal } = limit;
  try {
    await runVisits(
      { clock, random, log },
      {
        times: { everyMs: options.every * 1_000 },
        signal,
        visit: async (until) => {
          const { damaged, unreadable, ...missing } = await visit(visiting, host, options, say, {
            first,
            signal: until,
          });
          first = false;
          shortfall = {
            ...missing,
            damaged: shortfall.damaged + damaged,
            unreadable: Math.max(shortfall.unreadable, unreadable),
          };
        },
        onFailed: (error, againInMs) => {
          const next = againInMs === undefined ? 'at the next visit' : `in ${formatMs(againInMs)}`;
          const message = errorMessage(error);
          say('failed', `${oneLine(message)} Tried again ${next}.`, { message, againInMs: againInMs ?? null });
        },
        onIdle: (nextInMs) => say('asleep', `next visit in ${formatMs(nextInMs)}`, { nextInMs: Math.round(nextInMs) }),
      },
    );
  } catch (error) {
    if (!isAbort(error) || runtime.signal.aborted) throw error;
  }
  checkComplete(shortfall);
}

/** One visit. @returns what could not be fetched */
async function visit(
  runtime: CameraRuntime,
  host: string,
  options: WatchOptions,
  say: Say,
  { first, signal }: { first: boolean; signal: AbortSignal },
): Promise<Shortfall> {
  const hooks = {
    tell: (step: string, phase: string, text: string) => say(step, text, { phase }),
    onClient: (camera: CameraClient) => tell(camera, say),
    race: raceTeller(say),
    signal,
  };
  return await visitCamera(runtime, host, options, hooks, async (camera, until) => {
    await using folder = await WatchedFolder.open({ runtime, camera, signal: until, say }, options);
    let unreadable = 0;
    if (folder === undefined) return NOTHING_MISSING;
    const onUnreadable = (count: number) => {
      unreadable = count;
    };
    const items = await Array.fromAsync(camera.mediaList({ signal: until, onUnreadable }));
    if (unreadable > 0) say('warning', unreadableText(unreadable), { unreadable });
    const fresh = folder.news(items.reverse(), first);
    for (const item of fresh) say('picture', `${itemName(item)} taken ${cameraTime(item.mediaTime)}`, { item });
    await folder.fetch(fresh);
    return { ...folder.shortfall, unreadable };
  });
}
