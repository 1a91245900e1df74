import { AudioType, type AvFrame, VideoType } from '../artemis/av.ts';
import type { ItemRecord } from '../artemis/record.ts';
import type { DecodedMessage } from './decoded-message.ts';

/** Target of extracted media. Names are plain file names: letters, digits, dots and dashes. */
export interface MediaTarget {
  /** Creates a file; the name was not used before. */
  create(name: string, data: Uint8Array): void;
  /** Appends to a file that {@link create} created. */
  append(name: string, data: Uint8Array): void;
}

/** A file that was extracted. */
export interface ExtractedFile {
  readonly name: string;
  bytes: number;
}

const VIDEO_EXTENSION = new Map<number, string>([
  [VideoType.h264, 'h264'],
  [VideoType.h265, 'h265'],
  [VideoType.mjpeg, 'mjpeg'],
]);
const AUDIO_EXTENSION = new Map<number, string>([
  [AudioType.pcm, 'pcm'],
  [AudioType.adpcm, 'adpcm'],
  [AudioType.g711, 'g711'],
  [AudioType.aac, 'aac'],
  [AudioType.g726, 'g726'],
]);

/**
 * Writes the pictures, files, video and sound of a conversation to a {@link MediaTarget}: each picture in its own
 * file, named by its numbers on the camera's card; video and sound of one connection and channel in one stream each.
 * Damaged audio/video frames are omitted.
 */
export class MediaExtractor {
  readonly files: ExtractedFile[] = [];
  readonly #target: MediaTarget;
  readonly #byName = new Map<string, ExtractedFile>();
  readonly #repeats = new Map<string, number>();

  constructor(target: MediaTarget) {
    this.#target = target;
  }

  /** Extracts the media of one message, if any. */
  take(message: DecodedMessage): void {
    if (message.item !== undefined) this.#item(message, message.item);
    if (message.av?.intact === true) this.#av(message, message.av);
  }

  #item({ json }: DecodedMessage, item: ItemRecord): void {
    if (item.data.length === 0) return;
    const kind = json.kind === 'thumbnail' ? 'thumbnail' : 'file';
    const stem = `${kind}-${item.dirNum}-${String(item.mediaNum).padStart(4, '0')}`;
    const extension = extensionOf(item.data);
    const repeat = (this.#repeats.get(stem) ?? 0) + 1;
    this.#repeats.set(stem, repeat);
    this.#create(`${stem}${repeat === 1 ? '' : `-${repeat}`}.${extension}`, item.data);
  }

  #av({ json, connection }: DecodedMessage, frame: AvFrame): void {
    const stem = `${json.channel === 2 ? 'playback' : 'live'}-${connection + 1}`;
    if (frame.video.length > 0) this.#stream(`${stem}.${VIDEO_EXTENSION.get(frame.videoType) ?? 'video'}`, frame.video);
    if (frame.audio.length > 0) this.#stream(`${stem}.${AUDIO_EXTENSION.get(frame.audioType) ?? 'audio'}`, frame.audio);
  }

  #stream(name: string, data: Uint8Array): void {
    const file = this.#byName.get(name);
    if (file === undefined) {
      this.#create(name, data);
      return;
    }
    this.#target.append(name, data);
    file.bytes += data.length;
  }

  #create(name: string, data: Uint8Array): void {
    this.#target.create(name, data);
    const file = { name, bytes: data.length };
    this.#byName.set(name, file);
    this.files.push(file);
  }
}

/** Determines the file type by the first bytes: JPEG, MP4 (`ftyp` in the first box), AVI (RIFF). */
function extensionOf(data: Uint8Array): string {
  if (data[0] === 0xff && data[1] === 0xd8) return 'jpg';
  const text = Buffer.from(data.subarray(0, 12)).toString('latin1');
  if (text.slice(4, 8) === 'ftyp') return 'mp4';
  return text.startsWith('RIFF') && text.endsWith('AVI ') ? 'avi' : 'bin';
}
