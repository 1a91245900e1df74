import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Clock,
  errorCode,
  errorMessage,
  type Log,
  makeFolder,
  Mutex,
  readRegular,
  silentLog,
  Wakeup,
} from '@towpath/core';
import { z } from 'zod';
import type { MediaItem } from '../../artemis/media-item.ts';
import { FileType } from '../../artemis/media-item.ts';
import { diskError, replaceFile, syncFolder } from '../../store/disk.ts';
import { type PictureEvent, pictureId } from '../picture-event.ts';

export interface EventQueueOptions {
  /** Where the events are kept, a folder for one receiver. Without one they are kept in memory only. */
  readonly folder?: string | undefined;
  /** The oldest event is lost when there are more. @default 10000 */
  readonly maxEvents?: number;
  /** Of so many events the pictures are kept, the newest; older ones are told of without. @default 20 */
  readonly maxPictures?: number;
}

/** At one a minute they last a week. */
const MAX_EVENTS = 10_000;
const MAX_PICTURES = 20;
/** Larger pictures are told of without their data. */
const MAX_PICTURE_BYTES = 4 * 1024 * 1024;
/** A file of an event is a few hundred bytes. */
const MAX_FILE_BYTES = 64 * 1024;

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** `000000000017-4711.json`: order, and the process that wrote it, so that two processes do not take one name. */
const NAME = /^(\d{12})-\d{1,10}\.json$/;

const itemSchema: z.ZodType<MediaItem> = z.object({
  fileType: z.number(),
  dirNum: z.number(),
  mediaNum: z.number(),
  durationMs: z.number(),
  mediaId: z.number(),
  mediaTime: z.number(),
});

const eventSchema = z.object({
  version: z.literal(1),
  camera: z.string().max(64),
  item: itemSchema,
  takenAt: z.string().max(64).nullable(),
  file: z.string().max(4_096).nullable(),
});

interface Waiting {
  readonly id: string;
  readonly event: Omit<PictureEvent, 'jpeg'>;
  /** Without its ending; undefined for an event that is in memory only. */
  readonly name: string | undefined;
  /** In memory, when there is no folder. */
  jpeg: Uint8Array | undefined;
  /** Its picture is a file beside it. */
  hasPicture: boolean;
}

/**
 * Events that one receiver has not taken yet, oldest first. They survive the end of the process, also a kill: an event is on
 * disk when {@link put} resolves, and leaves it when the receiver has taken it. A receiver may therefore get an event twice;
 * its id tells.
 */
export class EventQueue {
  readonly #log: Log;
  readonly #folder: string | undefined;
  readonly #maxEvents: number;
  readonly #maxPictures: number;
  readonly #added: Wakeup;
  readonly #changing = new Mutex();
  #waiting: Waiting[] = [];
  #next = 0;

  private constructor(clock: Clock, log: Log, { folder, maxEvents, maxPictures }: EventQueueOptions) {
    this.#log = log;
    this.#folder = folder;
    this.#maxEvents = maxEvents ?? MAX_EVENTS;
    this.#maxPictures = maxPictures ?? MAX_PICTURES;
    this.#added = new Wakeup({ clock });
  }

  /**
   * Opens a queue with what waited when the last process ended; what cannot be read is removed.
   * @throws CameraError `permission-denied`, `disk-full`, `disk-failed`
   */
  static async open(
    { clock, log = silentLog }: { clock: Clock; log?: Log | undefined },
    options: EventQueueOptions = {},
  ): Promise<EventQueue> {
    const queue = new EventQueue(clock, log, options);
    if (options.folder !== undefined) await queue.#load(options.folder);
    return queue;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Adds an event; one with the same id that waits already is not added again. It is on disk when this resolves. */
  async put(event: PictureEvent): Promise<void> {
    const id = pictureId(event);
    using _turn = await this.#changing.acquire();
    if (this.#waiting.some((waiting) => waiting.id === id)) return;
    const { jpeg, ...rest } = event;
    const picture = jpeg !== undefined && jpeg.length <= MAX_PICTURE_BYTES ? jpeg : undefined;
    this.#waiting.push(await this.#store(id, rest, picture));
    const old = this.#waiting[this.#waiting.length - 1 - this.#maxPictures];
    if (old !== undefined) await this.#removePicture(old);
    if (this.#waiting.length > this.#maxEvents) {
      this.#log.warn('The receiver is away for too long: the oldest event is lost.', { waiting: this.#maxEvents });
      await this.#removeFiles(this.#waiting.shift());
    }
    this.#added.wake();
  }

  /** Returns the oldest event with its picture; waits for one. One caller at a time. @throws the signal's reason */
  async first(signal: AbortSignal): Promise<PictureEvent> {
    for (;;) {
      signal.throwIfAborted();
      const waiting = this.#waiting[0];
      if (waiting !== undefined) return { ...waiting.event, jpeg: await this.#picture(waiting) };
      await this.#added.wait(Number.POSITIVE_INFINITY, signal);
    }
  }

  /** Removes an event that was taken. */
  async remove(event: PictureEvent): Promise<void> {
    using _turn = await this.#changing.acquire();
    const id = pictureId(event);
    const at = this.#waiting.findIndex((waiting) => waiting.id === id);
    if (at >= 0) await this.#removeFiles(this.#waiting.splice(at, 1)[0]);
  }

  async #store(id: string, event: Omit<PictureEvent, 'jpeg'>, jpeg: Uint8Array | undefined): Promise<Waiting> {
    const folder = this.#folder;
    if (folder === undefined) return { id, event, name: undefined, jpeg, hasPicture: false };
    const name = `${String(this.#next++).padStart(12, '0')}-${process.pid}`;
    const { camera, item, takenAt, file } = event;
    const said = { version: 1, camera, item, takenAt: takenAt ?? null, file: file ?? null };
    // A picture that is in a file already is not copied.
    const hasPicture = jpeg !== undefined && file === undefined;
    try {
      if (hasPicture) await replaceFile(join(folder, `${name}.jpg`), jpeg, { mode: FILE_MODE });
      const options = { mode: FILE_MODE, syncFolder: true };
      await replaceFile(join(folder, `${name}.json`), `${JSON.stringify(said)}\n`, options);
      return { id, event, name, jpeg: undefined, hasPicture };
    } catch (error) {
      this.#log.warn(`An event is in memory only, and lost when the program ends: ${errorMessage(error)}`);
      await rm(join(folder, `${name}.jpg`), { force: true }).catch(() => {});
      return { id, event, name: undefined, jpeg, hasPicture: false };
    }
  }

  async #picture({ event, name, jpeg, hasPicture }: Waiting): Promise<Uint8Array | undefined> {
    if (jpeg !== undefined) return jpeg;
    const own = hasPicture && this.#folder !== undefined ? join(this.#folder, `${name}.jpg`) : undefined;
    const path = own ?? (event.item.fileType === FileType.photo ? event.file : undefined);
    if (path === undefined) return undefined;
    try {
      return await readRegular(path, { maxBytes: MAX_PICTURE_BYTES });
    } catch (error) {
      // Deleted meanwhile: the event matters more than its picture.
      if (errorCode(error) !== 'ENOENT') this.#log.warn(`${path} was not read: ${errorMessage(error)}`);
      return undefined;
    }
  }

  async #removePicture(waiting: Waiting): Promise<void> {
    waiting.jpeg = undefined;
    if (!waiting.hasPicture || this.#folder === undefined) return;
    waiting.hasPicture = false;
    await this.#remove(`${waiting.name}.jpg`);
  }

  async #removeFiles(waiting: Waiting | undefined): Promise<void> {
    if (waiting?.name === undefined || this.#folder === undefined) return;
    await this.#remove(`${waiting.name}.json`);
    if (waiting.hasPicture) await this.#remove(`${waiting.name}.jpg`);
  }

  async #remove(name: string): Promise<void> {
    const path = join(this.#folder ?? '', name);
    await rm(path, { force: true }).catch((error: unknown) => {
      this.#log.warn(`${path} was not removed; its event is sent again at the next start: ${errorMessage(error)}`);
    });
  }

  async #load(folder: string): Promise<void> {
    try {
      await makeFolder(folder, FOLDER_MODE);
      const names = new Set(await readdir(folder));
      const kept = new Set<string>();
      for (const file of [...names].sort()) {
        const number = NAME.exec(file)?.[1];
        if (number === undefined) continue;
        this.#next = Math.max(this.#next, Number(number) + 1);
        const event = await readEvent(join(folder, file));
        if (event === undefined) continue;
        const name = file.slice(0, -'.json'.length);
        const hasPicture = names.has(`${name}.jpg`);
        kept.add(file).add(`${name}.jpg`);
        this.#waiting.push({ id: pictureId(event), event, name, jpeg: undefined, hasPicture });
      }
      // What a killed process had not completed.
      for (const file of names) if (!kept.has(file)) await rm(join(folder, file), { force: true });
      if (this.#waiting.length > 0) this.#log.info('Events wait from before', { waiting: this.#waiting.length });
      await syncFolder(folder);
    } catch (error) {
      throw diskError(error, folder);
    }
  }
}

async function readEvent(path: string): Promise<Omit<PictureEvent, 'jpeg'> | undefined> {
  const text = (await readRegular(path)).toString();
  if (text.length > MAX_FILE_BYTES) return undefined;
  const parsed = eventSchema.safeParse(parseJson(text));
  if (!parsed.success) return undefined;
  const { camera, item, takenAt, file } = parsed.data;
  return { camera, item, takenAt: takenAt ?? undefined, ...(file !== null && { file }) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A damaged file is an expected case.
    return undefined;
  }
}
