import { downloadMedia } from '@towpath/camera';
import { deadline, TowpathError } from '@towpath/core';
import { deleteMediaSchema, newDownloadSchema, routes } from '@towpath/dashboard/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { CameraHolder } from '../cameras/camera-holder.ts';
import { eraseMedia } from '../cameras/erase.ts';
import type { Daemon } from '../daemon.ts';
import { part } from './routes.ts';
import { sendFile } from './send-file.ts';
import { sendLive } from './send-live.ts';

const MAX_LIMIT = 500;
/** A page waits this long for a thumbnail that has to come from the camera. */
const THUMBNAIL_MS = 10_000;

const listQuery = z.object({
  day: z
    .string()
    .regex(/^(\d{4}-\d{2}-\d{2}|unknown)$/)
    .optional(),
  after: z.string().max(100).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).optional(),
});

/** Answers about the pictures of cameras. */
export function addMediaRoutes(app: FastifyInstance, daemon: Daemon): void {
  const { signal } = daemon.runtime;
  const camera = (request: FastifyRequest) => daemon.camera(part(request, 'camera'));
  app.post(routes.checkCamera.path, (request, reply) => {
    camera(request).check();
    return reply.status(202).send({});
  });
  app.get(routes.days.path, (request) => camera(request).catalog.days());
  app.get(routes.media.path, (request) => camera(request).catalog.list(listQuery.parse(request.query)));
  app.get(routes.thumbnail.path, async (request, reply) => {
    const holder = camera(request);
    const id = part(request, 'media');
    const path = holder.catalog.thumbnailPath(id) ?? (await askThumbnail(daemon, holder, id));
    return sendFile(request, reply, path, { download: false });
  });
  app.get(routes.file.path, (request, reply) => {
    const id = part(request, 'media');
    const path = camera(request).catalog.filePath(id);
    if (path === undefined) throw notHere(id);
    return sendFile(request, reply, path, {
      download: (request.query as object | undefined) !== undefined && 'download' in (request.query as object),
    });
  });
  app.get(routes.liveFile.path, (request, reply) => sendLive(daemon, camera(request), reply));
  app.post(routes.createDownload.path, (request, reply) => {
    const { items } = newDownloadSchema.parse(request.body ?? {});
    return reply.status(202).send(daemon.downloads.start(camera(request), items));
  });
  app.get(routes.downloads.path, () => daemon.downloads.list());
  app.delete(routes.cancelDownload.path, (request, reply) => {
    const id = part(request, 'download');
    if (!daemon.downloads.cancel(id))
      throw new TowpathError('not-found', `There is no download ${id}.`, { kind: 'refused' });
    return reply.status(204).send();
  });
  app.post(routes.deleteMedia.path, (request) =>
    eraseMedia(camera(request), deleteMediaSchema.parse(request.body), signal),
  );
}

/** Fetches one thumbnail from the card. @returns its path */
async function askThumbnail(daemon: Daemon, holder: CameraHolder, id: string): Promise<string> {
  const { clock, signal } = daemon.runtime;
  const item = holder.catalog.cardItem(id);
  if (item === undefined || holder.client.state !== 'CONNECTED') throw notHere(id);
  using limit = deadline(clock, THUMBNAIL_MS, signal, () => notHere(id));
  using _turn = await holder.pictures.work.acquire(limit.signal);
  const { client, catalog } = holder;
  await downloadMedia({
    client,
    library: catalog.library,
    clock,
    what: 'thumbnails',
    among: [item],
    signal: limit.signal,
    onEvent: (event) => {
      if (event.type === 'saved') catalog.saved(event.path, event.item);
    },
  });
  const path = catalog.thumbnailPath(id);
  if (path === undefined) throw notHere(id);
  return path;
}

function notHere(id: string): TowpathError {
  return new TowpathError('not-found', `${id} is not on this machine, and cannot be fetched now.`, { kind: 'refused' });
}
