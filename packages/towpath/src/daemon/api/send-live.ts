import { PassThrough } from 'node:stream';
import type { AvFrame } from '@towpath/camera';
import { LiveMp4 } from '@towpath/camera/outputs';
import { errorMessage } from '@towpath/core';
import type { FastifyReply } from 'fastify';
import type { CameraHolder } from '../cameras/camera-holder.ts';
import type { Daemon } from '../daemon.ts';

/** A reader that is slower than the video loses the connection at this many bytes. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/** Sends live video until the reader leaves. @throws TowpathError `not-connected`; as `CameraClient.live` before the first frame */
export async function sendLive(
  { runtime }: Pick<Daemon, 'runtime'>,
  holder: CameraHolder,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, runtime.signal]);
  const frames = holder.watch({ signal });
  // What fails before the first frame is an answer of its own.
  const first = await frames.next();
  const out = new PassThrough();
  out.once('close', () => gone.abort());
  void send(first, frames, out, runtime.clock)
    .catch((error: unknown) => {
      if (!signal.aborted) runtime.log.info(`Live video ended: ${errorMessage(error)}`);
    })
    .finally(() => out.end());
  return reply.type('video/mp4').send(out);
}

async function send(
  first: IteratorResult<AvFrame, void>,
  rest: AsyncIterable<AvFrame>,
  out: PassThrough,
  clock: { now(): number },
): Promise<void> {
  const write = async (bytes: Uint8Array) => {
    if (out.writableLength > MAX_QUEUED_BYTES) out.destroy();
    else out.write(bytes);
  };
  await using file = new LiveMp4({ write });
  if (!first.done) await file.add(first.value, clock.now());
  for await (const frame of rest) await file.add(frame, clock.now());
}
