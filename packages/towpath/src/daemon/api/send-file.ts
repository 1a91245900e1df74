import type { FileHandle } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { errorCode, openRegular, TowpathError } from '@towpath/core';
import type { FastifyReply, FastifyRequest } from 'fastify';

const TYPES: Readonly<Record<string, string>> = {
  '.jpg': 'image/jpeg',
  '.mp4': 'video/mp4',
  '.avi': 'video/x-msvideo',
};

/** First and last byte that a `Range` header asks for; `invalid` when it cannot be had, undefined without one. */
export function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | 'invalid' | undefined {
  if (header === undefined) return undefined;
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim());
  // Several ranges are answered with the whole file, which RFC 9110 allows.
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  if (first === '')
    return size === 0 || Number(last) === 0 ? 'invalid' : { start: Math.max(0, size - Number(last)), end: size - 1 };
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return start >= size || end < start ? 'invalid' : { start, end };
}

/** Sends a picture or video, whole or in part. @throws TowpathError `not-found` when it is gone. */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  path: string,
  options: { download: boolean },
): Promise<FastifyReply> {
  const file = await openedFile(path);
  const { size } = await file.stat();
  const range = parseRange(request.headers.range, size);
  reply.header('accept-ranges', 'bytes').header('cache-control', 'private, max-age=3600');
  reply.type(TYPES[extname(path)] ?? 'application/octet-stream');
  // Names of files consist of digits and a few signs: see the library of the camera package.
  if (options.download) reply.header('content-disposition', `attachment; filename="${basename(path)}"`);
  if (range === 'invalid') {
    await file.close();
    return reply.status(416).header('content-range', `bytes */${size}`).send();
  }
  if (range === undefined) return reply.header('content-length', size).send(file.createReadStream());
  const { start, end } = range;
  return reply
    .status(206)
    .header('content-range', `bytes ${start}-${end}/${size}`)
    .header('content-length', end - start + 1)
    .send(file.createReadStream({ start, end }));
}

/** A video may be large. Its stream closes it. */
async function openedFile(path: string): Promise<FileHandle> {
  try {
    return await openRegular(path, { maxBytes: Number.POSITIVE_INFINITY });
  } catch (cause) {
    if (errorCode(cause) !== 'ENOENT') throw cause;
    throw new TowpathError('not-found', 'The file is not here any more.', { cause, kind: 'refused' });
  }
}
