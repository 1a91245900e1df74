import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { AbortedError, isAbort } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { formatBytes } from '../../cli/table.ts';
import { type TargetOptions, withCamera } from './target.ts';

interface LiveOptions extends TargetOptions {
  /** A file, or `-` for standard output. */
  output: string;
  /** Seconds. */
  for?: number;
}

export async function live(runtime: Runtime, host: string, options: LiveOptions): Promise<void> {
  const { io, clock } = runtime;
  const over = new AbortController();
  const signal = AbortSignal.any([runtime.signal, over.signal]);
  const totals = { frames: 0, keyFrames: 0, bytes: 0 };
  await using sink = openSink(runtime, options.output);
  await withCamera(runtime, host, options, async (camera) => {
    using _limit =
      options.for === undefined
        ? undefined
        : clock.timer(options.for * 1_000, () => over.abort(new AbortedError('Time is up.')));
    try {
      for await (const { video, keyFrame } of camera.live({ signal })) {
        if (video.length === 0) continue;
        totals.frames++;
        totals.bytes += video.length;
        if (keyFrame) totals.keyFrames++;
        await sink.write(video);
      }
    } catch (error) {
      if (!isAbort(error) || runtime.signal.aborted) throw error;
    }
  });
  if (options.json && options.output !== '-') io.out(JSON.stringify({ output: options.output, ...totals }));
  else io.err(io.style('dim', `${totals.frames} frames, ${totals.keyFrames} key frames, ${formatBytes(totals.bytes)}`));
}

interface Sink extends AsyncDisposable {
  write(bytes: Uint8Array): Promise<void>;
}

function openSink({ io }: Runtime, output: string): Sink {
  if (output === '-') return { write: (bytes) => io.write(bytes), [Symbol.asyncDispose]: async () => {} };
  const file = createWriteStream(output, { mode: 0o644 });
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        file.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    [Symbol.asyncDispose]: async () => {
      file.end();
      await finished(file);
    },
  };
}
