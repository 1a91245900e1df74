import { type CameraClient, watchMedia } from '@towpath/camera';
import { AbortedError, isAbort } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { formatMs } from '../../cli/table.ts';
import { fetchInto } from './download.ts';
import { cameraTime } from './info.ts';
import { itemName } from './media.ts';
import { openCamera, type TargetOptions } from './target.ts';

interface WatchOptions extends TargetOptions {
  /** Folder for new pictures. */
  output?: string;
  /** Seconds. */
  every: number;
  /** Seconds. */
  for?: number;
}

/** Keeps the link until Ctrl-C or until the time is up. */
export async function watch(runtime: Runtime, host: string, options: WatchOptions): Promise<void> {
  const { clock, log } = runtime;
  const over = new AbortController();
  const signal = AbortSignal.any([runtime.signal, over.signal]);
  await using camera = openCamera(runtime, host, options);
  const say = speaker(runtime, options.json ?? false);
  tell(camera, say);
  await camera.connectWithRetries({ signal });
  using _limit =
    options.for === undefined
      ? undefined
      : clock.timer(options.for * 1_000, () => over.abort(new AbortedError('Time is up.')));
  try {
    for await (const item of watchMedia({ client: camera, clock, log, everyMs: options.every * 1_000, signal })) {
      say('picture', `${itemName(item)} taken ${cameraTime(item.mediaTime)}`, { item });
      if (options.output === undefined) continue;
      const name = itemName(item);
      await fetchInto({ ...runtime, camera, json: options.json ?? false, signal }, options.output, 'files', {
        select: (other) => itemName(other) === name,
      });
    }
  } catch (error) {
    if (!isAbort(error) || runtime.signal.aborted) throw error;
  }
}

type Say = (type: string, text: string, fields?: object) => void;

function speaker({ io, clock }: Runtime, json: boolean): Say {
  const startedAt = clock.now();
  return (type, text, fields = {}) => {
    if (json) io.out(JSON.stringify({ type, atMs: Math.round(clock.now() - startedAt), ...fields }));
    else io.out(`${io.style('dim', new Date(clock.wallTime()).toTimeString().slice(0, 8))} ${type.padEnd(9)} ${text}`);
  };
}

function tell(camera: CameraClient, say: Say): void {
  camera.events.on('state', ({ state, previous }) => say('state', `${previous} → ${state}`, { state, previous }));
  camera.events.on('event', (event) => say('event', JSON.stringify(event.fields), { event: event.fields }));
  camera.events.on('lost', ({ code, message }) => say('lost', message, { code, message }));
  camera.events.on('tryFailed', ({ error, tries, nextMs }) => {
    const next = nextMs === undefined ? 'no further try' : `next in ${formatMs(nextMs)}`;
    say('try', `${tries} failed: ${error.message} (${next})`, { tries, nextMs: nextMs ?? null, code: error.code });
  });
}
