import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type AvFrame, type CameraClient, CameraState } from '@towpath/camera';
import { AbortedError, errorCode, isAbort, TowpathError } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { counted, formatBytes, formatMs } from '../../cli/table.ts';
import { notWritten } from '../../config/private-file.ts';
import { type TargetOptions, withCamera } from './target.ts';
import { printJson } from '../../cli/json-output.ts';

interface LiveOptions extends TargetOptions {
  /** A file for Annex-B video, or `-` for standard output. */
  output?: string;
  /** Annex-B video to standard output. */
  stdout?: boolean;
  /** A file for MP4 with sound. */
  mp4?: string;
  /** Replace an existing file. */
  force?: boolean;
  /** Seconds, from the first picture on. */
  duration?: number;
  /** The same, by its earlier name. */
  for?: number;
}

/** Takes the frames of a stream. */
interface Recorder extends AsyncDisposable {
  add(frame: AvFrame): Promise<void>;
  /** Ends the recording. @returns what to report besides the counts */
  end(): Promise<object>;
}

export async function live(runtime: Runtime, host: string, options: LiveOptions): Promise<void> {
  const { io } = runtime;
  const output = outputOf(options);
  if (output === '-' && io.piped === false) {
    throw new UsageError(
      'Video is not written to a terminal. Next: pipe it (… | ffplay -f h264 -) or give --mp4 FILE.',
    );
  }
  if (output !== '-' && !options.force && existsSync(output)) {
    throw new UsageError(`${output} exists. Next: choose another name or add --force.`);
  }
  await using recorder = await openRecorder(runtime, output, options.mp4 !== undefined);
  const totals = { frames: 0, keyFrames: 0, bytes: 0, interruptions: 0, lostFrames: 0, missingMs: 0 };
  const isAway = await withCamera(runtime, host, options, async (camera) => {
    camera.events.on('lost', ({ message }) => {
      totals.interruptions++;
      io.err(io.style('yellow', `Interrupted: ${message} Waiting for the camera …`));
    });
    const seconds = options.duration ?? options.for;
    const hooks = {
      onLost: (frames: number) => {
        totals.lostFrames += frames;
      },
      onMissing: (ms: number) => {
        totals.missingMs = Math.round(ms);
      },
    };
    for await (const frame of framesFor(runtime, camera, seconds, hooks)) {
      await recorder.add(frame);
      if (frame.video.length === 0) continue;
      totals.frames++;
      totals.bytes += frame.video.length;
      if (frame.keyFrame) totals.keyFrames++;
    }
    return camera.state !== CameraState.CONNECTED;
  });
  const more = await recorder.end();
  if (options.json && output !== '-') printJson(io, 'recorded', { output, ...totals, ...more });
  else {
    const file = output === '-' ? '' : `${output}: `;
    const frames = `${counted(totals.frames, 'frame')}, ${counted(totals.keyFrames, 'key frame')}`;
    const lost = totals.lostFrames > 0 ? `, ${counted(totals.lostFrames, 'lost frame')}` : '';
    io.err(io.style('dim', `${file}${frames}, ${formatBytes(totals.bytes)}${lost}`));
  }
  if (totals.frames === 0 && !runtime.signal.aborted) {
    const message = 'The camera sent no picture that video can begin with. Next: restart the camera.';
    throw new TowpathError('transfer-stalled', message, { kind: 'unreachable', target: host });
  }
  if (totals.missingMs > 0 && !runtime.signal.aborted) {
    const message = `The last ${formatMs(totals.missingMs)} of the recording are missing: the camera sent no more pictures. Next: wake the camera or come closer.`;
    throw new TowpathError('session-closed', message, { kind: 'unreachable', target: host });
  }
  if (isAway && !runtime.signal.aborted) {
    const message = 'The camera was lost before the end of the recording and did not come back: the rest is missing.';
    throw new TowpathError('session-closed', message, { kind: 'unreachable', target: host });
  }
}

/** Time limit of the first picture, ms. */
const FIRST_PICTURE_MS = 15_000;

/** At the end of a recording, a longer time without a picture is a gap, ms; a camera sends 15 pictures per second. */
const LAST_PICTURE_MS = 1_000;

/** After such a gap a picture is waited for this long, ms: the path or this machine may only have been slow. */
const LATE_PICTURE_MS = 1_000;

function outputOf({ output, stdout, mp4 }: LiveOptions): string {
  const chosen = [output, stdout ? '-' : undefined, mp4].filter((name) => name !== undefined);
  if (chosen.length > 1 && !(stdout && output === '-')) {
    throw new UsageError('Only one of --mp4, --stdout and --output can be given.');
  }
  if (mp4 === '-') throw new UsageError('MP4 is written to a file. Next: give a name, or use --stdout for H.264.');
  return chosen[0] ?? '-';
}

interface FramesHooks {
  /** Called with the number of frames that came damaged or were not read in time. */
  onLost(frames: number): void;
  /** Called with the time without pictures up to the end, ms, when the camera sent no more. */
  onMissing(ms: number): void;
}

/**
 * Yields the frames of the live stream until Ctrl-C, which is an ordinary end of a recording, or for some time from the
 * first picture on.
 */
async function* framesFor(
  { clock, signal }: Runtime,
  camera: CameraClient,
  seconds: number | undefined,
  { onLost, onMissing }: FramesHooks,
): AsyncGenerator<AvFrame, void, undefined> {
  const over = new AbortController();
  const end = () => over.abort(new AbortedError('Time limit reached.'));
  const limit = (seconds ?? Number.POSITIVE_INFINITY) * 1_000;
  // The first picture may take longer than a short recording; without any the command ends nevertheless.
  let timer = clock.timer(Math.max(limit, FIRST_PICTURE_MS), end);
  let begun = false;
  let lastPictureAt = 0;
  let timeUpAt = Number.POSITIVE_INFINITY;
  const timeUp = () => {
    timeUpAt = clock.now();
    if (timeUpAt - lastPictureAt < LAST_PICTURE_MS) end();
    else timer = clock.timer(LATE_PICTURE_MS, end);
  };
  try {
    for await (const frame of camera.live({ signal: AbortSignal.any([signal, over.signal]), onLost })) {
      if (frame.video.length > 0) {
        lastPictureAt = clock.now();
        if (!begun) {
          begun = true;
          timer.cancel();
          timer = clock.timer(limit, timeUp);
        }
      }
      yield frame;
      if (lastPictureAt >= timeUpAt) return;
    }
  } catch (error) {
    // A camera that stays away is closed, which ends the recording; what there is is reported.
    if (!isAbort(error) && !signal.aborted && errorCode(error) !== 'client-closed') throw error;
  } finally {
    timer.cancel();
  }
  const missingMs = timeUpAt - lastPictureAt;
  if (begun && Number.isFinite(timeUpAt) && missingMs >= LAST_PICTURE_MS) onMissing(missingMs);
}

async function openRecorder(runtime: Runtime, output: string, mp4: boolean): Promise<Recorder> {
  const sink = await openSink(runtime, output);
  if (!mp4) {
    return {
      add: ({ video }) => (video.length > 0 ? sink.write(video) : Promise.resolve()),
      end: async () => ({}),
      [Symbol.asyncDispose]: async () => sink[Symbol.asyncDispose](),
    };
  }
  const { LiveMp4 } = await import('@towpath/camera/outputs');
  const file = new LiveMp4({ write: (bytes) => sink.write(bytes) });
  return {
    add: (frame) => file.add(frame, runtime.clock.now()),
    end: async () => {
      const { durationMs, soundFrames, leftOut } = await file.close();
      return { durationMs: Math.round(durationMs), soundFrames, leftOut };
    },
    [Symbol.asyncDispose]: async () => {
      try {
        // After a failure the file is as complete as it can be.
        await file.close();
      } finally {
        await sink[Symbol.asyncDispose]();
      }
    },
  };
}

interface Sink extends AsyncDisposable {
  write(bytes: Uint8Array): Promise<void>;
}

/** @throws TowpathError `disk-full`, `disk-failed` */
async function openSink({ io }: Runtime, output: string): Promise<Sink> {
  if (output === '-') return { write: (bytes) => io.write(bytes), [Symbol.asyncDispose]: async () => {} };
  const failed = (cause: unknown) => notWritten(output, cause);
  const file = await open(output, 'w', 0o644).catch((cause: unknown) => {
    throw failed(cause);
  });
  return {
    write: async (bytes) => {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, at).catch((cause: unknown) => {
          throw failed(cause);
        });
        at += bytesWritten;
      }
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}
