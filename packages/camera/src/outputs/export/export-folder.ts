import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode, makeFolder, readRegular } from '@towpath/core';
import { CameraError } from '../../artemis/camera-error.ts';
import type { MediaItem } from '../../artemis/media-item.ts';
import { type CaptureTime, captureTime } from '../../media/capture-time.ts';
import { INDEX_NAME, type IndexEntry, MAX_INDEX_BYTES, parseIndex } from '../../media/media-index.ts';
import { diskError, replaceFile } from '../../store/disk.ts';
import { type CamtrapOptions, camtrapPackage } from './camtrap-dp.ts';
import { withExif } from './exif.ts';

export interface ExportOptions {
  /** A folder of `MediaLibrary`; it is only read. */
  readonly from: string;
  /** Where the copies go; created when it does not exist. */
  readonly to: string;
  /** Name of the camera, for EXIF. @default its device id */
  readonly camera?: string | undefined;
  /** Zone of the camera's clock, an IANA name or `±HH:MM`. @default the machine's own */
  readonly timeZone?: string | undefined;
  /** Also describes the files as a Camtrap DP package; they are in its folder `media` then. */
  readonly camtrap?: Pick<CamtrapOptions, 'latitude' | 'longitude' | 'contributor' | 'createdMs'> | undefined;
  readonly signal?: AbortSignal | undefined;
  onFile?(path: string): void;
}

export interface ExportSummary {
  readonly exported: number;
  /** Files of the index that are not in the folder any more. */
  readonly missing: number;
  /** Items that a Camtrap DP package cannot describe: without a time, or of a kind that it has no name for. */
  readonly undescribed: number;
}

const FILE_MODE = 0o644;
const MEDIA_FOLDER = 'media';

/**
 * Copies the pictures and videos of a folder. Photos without EXIF get the date, the zone and the camera's name; what the
 * camera wrote itself stays.
 * @throws CameraError `damaged-file` without a usable index, `bad-argument` when both folders are the same or nothing can be described, `disk-full`, `permission-denied`,
 *   `disk-failed`; the signal's reason
 */
export async function exportFolder(options: ExportOptions): Promise<ExportSummary> {
  const { from, to, timeZone, camtrap, signal, onFile } = options;
  const { deviceId, entries } = await readIndex(from);
  const camera = options.camera ?? deviceId ?? 'trail camera';
  const media = camtrap === undefined ? to : join(to, MEDIA_FOLDER);
  await makeFolder(media).catch((error: unknown) => {
    throw diskError(error, media);
  });
  if (await isSame(from, media)) throw sameFolder();
  const exported: IndexEntry[] = [];
  let missing = 0;
  for (const entry of entries) {
    signal?.throwIfAborted();
    if (entry.file === undefined) continue;
    const data = await readIfPresent(join(from, entry.file));
    if (data === undefined) {
      missing++;
      continue;
    }
    const path = join(media, entry.file);
    await writeCopy(path, data, captureTime(entry.mediaTime, timeZone), { camera, serial: deviceId });
    exported.push(entry);
    onFile?.(path);
  }
  if (camtrap !== undefined && !exported.some(({ mediaTime }) => mediaTime > 0)) {
    throw new CameraError(
      'bad-argument',
      `${from} has no item with a time, so there is nothing for Camtrap DP to describe.`,
    );
  }
  if (camtrap === undefined) return { exported: exported.length, missing, undescribed: 0 };
  const files = camtrapPackage(exported, MEDIA_FOLDER, { ...camtrap, camera, deviceId, timeZone });
  for (const [name, text] of files) await replaceFile(join(to, name), text, { mode: FILE_MODE });
  const described = (files.get('media.csv') ?? '').split('\r\n').length - 2;
  return { exported: exported.length, missing, undescribed: exported.length - described };
}

export interface ExportFileOptions {
  /** A file of a picture or video. */
  readonly from: string;
  /** Folder of the copy; created when it does not exist. */
  readonly to: string;
  readonly item: MediaItem;
  /** Name of the camera, for EXIF. */
  readonly camera: string;
  /** Its device id. */
  readonly serial: string;
  readonly timeZone?: string | undefined;
}

/**
 * Copies one file as {@link exportFolder} does.
 * @returns the path of the copy; undefined when the file is not there any more
 * @throws CameraError `bad-argument` when both folders are the same, `disk-full`, `permission-denied`, `disk-failed`
 */
export async function exportFile(options: ExportFileOptions): Promise<string | undefined> {
  const { from, to, item, camera, serial, timeZone } = options;
  await makeFolder(to).catch((error: unknown) => {
    throw diskError(error, to);
  });
  const data = await readIfPresent(from);
  if (data === undefined) return undefined;
  if (await isSame(dirname(from), to)) throw sameFolder();
  const path = join(to, basename(from));
  await writeCopy(path, data, captureTime(item.mediaTime, timeZone), { camera, serial });
  return path;
}

async function writeCopy(
  path: string,
  data: Uint8Array,
  taken: CaptureTime | undefined,
  { camera, serial }: { camera: string; serial: string | undefined },
): Promise<void> {
  const metadata = { camera, serial, takenAt: taken?.iso };
  await replaceFile(path, withExif(data, metadata), { mode: FILE_MODE, modifiedAt: taken?.epochMs });
}

function sameFolder(): CameraError {
  return new CameraError('bad-argument', 'The export needs a folder of its own. Next: choose another one.');
}

async function readIndex(folder: string): Promise<{ deviceId: string | undefined; entries: readonly IndexEntry[] }> {
  const path = join(folder, INDEX_NAME);
  const text = await readIfPresent(path);
  const index = text && parseIndex(text.toString('utf8'));
  if (!index) {
    throw new CameraError(
      'damaged-file',
      `${path} is no index of pictures. Next: name a folder of camera download or watch.`,
    );
  }
  return { deviceId: index.camera, entries: index.entries };
}

async function readIfPresent(path: string): Promise<Buffer | undefined> {
  try {
    return await readRegular(path, { maxBytes: MAX_INDEX_BYTES });
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw diskError(error, path);
  }
}

async function isSame(a: string, b: string): Promise<boolean> {
  const [one, two] = await Promise.all([stat(a), stat(b)]);
  return one.ino === two.ino && one.dev === two.dev;
}
