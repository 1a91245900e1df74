import { errorCode, errorMessage, isAbort, TowpathError } from '@towpath/core';
import type { DeletedMedia, DeleteMedia } from '@towpath/dashboard/api';
import type { CameraHolder } from './camera-holder.ts';

/**
 * Deletes items from the card, from this machine, or from both. What is not here is deleted from the card only when that
 * was asked for in so many words.
 * @throws TowpathError `confirmation-required`; the signal's reason.
 */
export async function eraseMedia(
  holder: CameraHolder,
  request: DeleteMedia,
  signal: AbortSignal,
): Promise<DeletedMedia> {
  const { catalog, config, pictures } = holder;
  if (request.confirm !== config.name) {
    throw new TowpathError('confirmation-required', `To delete, "confirm" must be the camera's name, ${config.name}.`);
  }
  const result: DeletedMedia = { deleted: [], failed: [] };
  using _turn = await pictures.work.acquire(signal);
  for (const id of request.items) {
    try {
      const item = catalog.cardItem(id);
      if (catalog.item(id) === undefined) throw new TowpathError('not-found', `${id} is not there.`);
      if (request.from !== 'disk' && item !== undefined) {
        if (!request.evenUnsaved && !(await catalog.library.holdsAll(item))) {
          throw new TowpathError(
            'not-saved',
            `${id} is not, or not completely, on this machine. Next: download it first.`,
          );
        }
        holder.requireAwake();
        await holder.client.deleteItem(item, { signal });
        catalog.deletedFromCard(id);
      }
      if (request.from !== 'card') await catalog.removeFiles(id);
      result.deleted.push(id);
      holder.itemChanged(id);
    } catch (error) {
      if (isAbort(error)) throw error;
      result.failed.push({ id, problem: { code: errorCode(error), message: errorMessage(error) } });
    }
  }
  return result;
}
