import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { errorCode, TowpathError } from '@towpath/core';
import { type AvFrame, VideoType } from '../../artemis/av.ts';

/** Boundary of the parts of a stream (RFC 2046 §5.1.1); ffmpeg writes the same. */
export const BOUNDARY = 'towpath';

/** What ffmpeg may still have to read, about two seconds of video; more is left out up to the next key frame. */
const MAX_QUEUED_BYTES = 1024 * 1024;

/**
 * Turns a live stream into motion JPEG. The camera's H.264 is converted by ffmpeg, which has to be installed; motion
 * JPEG of the camera itself passes unchanged.
 *
 * @param write sends a piece to the viewer; false while the viewer is slow
 * @param signal ends the stream
 * @throws TowpathError `program-missing` without ffmpeg; as `frames`
 */
export async function motionJpeg(
  frames: AsyncIterable<AvFrame>,
  write: (bytes: Uint8Array) => boolean,
  signal: AbortSignal,
): Promise<void> {
  let transcoder: Transcoder | undefined;
  let awaitingKey = false;
  try {
    for await (const frame of frames) {
      if (frame.video.length === 0) continue;
      if (frame.videoType === VideoType.mjpeg) {
        write(part(frame.video));
        continue;
      }
      transcoder ??= await Transcoder.start(write, signal);
      if (frame.keyFrame) awaitingKey = false;
      if (transcoder.queuedBytes > MAX_QUEUED_BYTES) awaitingKey = true;
      if (!awaitingKey) transcoder.write(frame.video);
    }
  } finally {
    await transcoder?.close();
  }
}

function part(jpeg: Uint8Array): Uint8Array {
  const head = `--${BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: ${jpeg.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), jpeg, Buffer.from('\r\n')]);
}

/** One process of ffmpeg. */
class Transcoder {
  readonly #child;
  readonly #ended: Promise<unknown>;

  private constructor(child: ReturnType<typeof startFfmpeg>) {
    this.#child = child;
    this.#ended = once(child, 'exit').catch(() => {});
  }

  static async start(write: (bytes: Uint8Array) => boolean, signal: AbortSignal): Promise<Transcoder> {
    const child = startFfmpeg();
    try {
      await once(child, 'spawn', { signal });
    } catch (cause) {
      child.kill();
      if (signal.aborted) throw signal.reason;
      throw new TowpathError(
        'program-missing',
        `Motion JPEG needs ffmpeg, which cannot be started (${errorCode(cause)}). Next: install ffmpeg, or use live.mp4 or RTSP.`,
        { cause, kind: 'local' },
      );
    }
    // Writing to a process that has ended is noticed by its end.
    child.stdin.on('error', () => {});
    child.on('error', () => {});
    child.stdout.on('data', (bytes: Buffer) => write(bytes));
    return new Transcoder(child);
  }

  get queuedBytes(): number {
    return this.#child.stdin.writableLength;
  }

  write(bytes: Uint8Array): void {
    this.#child.stdin.write(bytes);
  }

  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

function startFfmpeg() {
  const input = ['-loglevel', 'quiet', '-fflags', 'nobuffer', '-probesize', '32', '-f', 'h264', '-i', 'pipe:0'];
  const output = ['-an', '-c:v', 'mjpeg', '-q:v', '5', '-f', 'mpjpeg', '-boundary_tag', BOUNDARY, 'pipe:1'];
  return spawn('ffmpeg', [...input, ...output], { stdio: ['pipe', 'pipe', 'ignore'] });
}
