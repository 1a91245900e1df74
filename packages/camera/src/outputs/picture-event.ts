import type { MediaItem } from '../artemis/media-item.ts';
import { entryKey } from '../media/media-index.ts';
import { topicId } from './mqtt/discovery.ts';

/** A new picture or video on the camera's card. */
export interface PictureEvent {
  /** Device id of the camera. */
  readonly camera: string;
  readonly item: MediaItem;
  /** When it was taken, ISO 8601 with offset; undefined when the camera gave no time. */
  readonly takenAt: string | undefined;
  /** The picture; undefined for videos, and when it could not be downloaded. */
  readonly jpeg: Uint8Array | undefined;
  /** Path of its file on this machine, where it has one. */
  readonly file?: string | undefined;
}

/** Returns the id of an event. It is the same whenever the picture is told of, so that receivers recognise a repetition. */
export function pictureId({ camera, item }: Pick<PictureEvent, 'camera' | 'item'>): string {
  return `${topicId(camera)}-${entryKey(item).replaceAll(/[^a-zA-Z0-9]+/g, '-')}`;
}

/** Returns an event without its picture, as it is sent to other programs. */
export function eventJson({ camera, item, takenAt, jpeg }: PictureEvent): Record<string, unknown> {
  const { dirNum, mediaNum, fileType, mediaId } = item;
  const kind = fileType === 0 ? 'photo' : 'video';
  return {
    event_type: 'picture',
    id: pictureId({ camera, item }),
    camera,
    kind,
    dirNum,
    mediaNum,
    mediaId,
    takenAt: takenAt ?? null,
    bytes: jpeg?.length ?? null,
  };
}
