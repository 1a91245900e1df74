import { hash } from 'node:crypto';
import { Channel } from '../artemis/frame.ts';
import type { ItemRecord } from '../artemis/record.ts';
import type { ChannelStream } from './channel-stream.ts';
import type {
  ConversationSummary,
  IncompleteJson,
  MessageJson,
  OrphanJson,
  PartialTextJson,
  PictureJson,
} from './decoded-message.ts';
import { endsLikeJpeg } from './describe-frame.ts';
import type { Fragment } from './fragment-run.ts';
import { partialTexts } from './partial-text.ts';

/** Most entries of each list of a summary; further ones are only counted. */
export const MAX_LISTED = 100_000;

/** Most orphaned fragments of responses kept for {@link partialTexts}: a response has some tens of them. */
const MAX_TEXT_FRAGMENTS = 16_384;

/** Collects the lists of a summary: fragments without a message, messages without an end, pictures. */
export class Findings {
  avFrames = 0;
  readonly #orphans: OrphanJson[] = [];
  readonly #incomplete: IncompleteJson[] = [];
  readonly #pictures: PictureJson[] = [];
  readonly #texts = new Map<ChannelStream, Fragment[]>();
  #textFragments = 0;
  #thumbnails = 0;
  #files = 0;
  #jpegTails = 0;
  #omitted = 0;

  orphan(stream: ChannelStream, fragment: Fragment): void {
    const { direction, channel } = stream.id;
    const endsJpeg = endsLikeJpeg(fragment.data);
    if (endsJpeg) this.#jpegTails++;
    if (direction === 'rx' && channel === Channel.command) this.#keepText(stream, fragment);
    if (!this.#hasRoom(this.#orphans)) return;
    this.#orphans.push({
      dir: direction,
      channel,
      index: fragment.index,
      len: fragment.data.length,
      sha256: hash('sha256', fragment.data, 'hex'),
      zeros: isZero(fragment.data),
      ends_jpeg_eoi: endsJpeg,
      record: fragment.record,
    });
  }

  incomplete(stream: ChannelStream, header: Uint8Array, first: Fragment, last: Fragment, have: number): void {
    if (!this.#hasRoom(this.#incomplete)) return;
    const { direction, channel, localPort } = stream.id;
    const view = new DataView(header.buffer, header.byteOffset, header.length);
    this.#incomplete.push({
      dir: direction,
      channel,
      index: first.index,
      last_index: last.index,
      msgType: view.getUint32(8, true),
      seq: view.getUint32(12, true),
      length: view.getUint32(16, true),
      pad_byte7: header[7]!,
      ...(localPort === undefined ? {} : { lport: localPort }),
      have,
      record: last.record,
    });
  }

  item(message: MessageJson, item: ItemRecord, jpeg: boolean): void {
    if (message.kind === 'thumbnail') this.#thumbnails++;
    else this.#files++;
    if (!jpeg || !this.#hasRoom(this.#pictures)) return;
    this.#pictures.push({
      record: message.record,
      channel: message.channel,
      dirNum: item.dirNum,
      mediaNum: item.mediaNum,
      len: item.data.length,
      sha256: message.item?.data_sha256 ?? '',
    });
  }

  /** All lists in the order of the packets. `omitted` counts entries beyond the limits. */
  sorted(): { partial: PartialTextJson[]; incomplete: IncompleteJson[]; orphans: OrphanJson[]; omitted: number } {
    const partial: PartialTextJson[] = [];
    for (const [stream, fragments] of this.#texts) {
      const inOrder = fragments.toSorted((a, b) => a.record - b.record);
      partial.push(...partialTexts(inOrder, stream.id.channel));
    }
    return {
      partial: partial.sort(byRecord),
      incomplete: this.#incomplete.sort(byRecord),
      orphans: this.#orphans.sort(byRecord),
      omitted: this.#omitted,
    };
  }

  binary(): ConversationSummary['binary_summary'] {
    return {
      av_frames_complete: this.avFrames,
      thumbnail_items_complete: this.#thumbnails,
      file_items_complete: this.#files,
      jpeg_complete: this.#pictures,
      jpeg_tail_fragments: this.#jpegTails,
    };
  }

  #keepText(stream: ChannelStream, fragment: Fragment): void {
    if (this.#textFragments >= MAX_TEXT_FRAGMENTS) return;
    this.#textFragments++;
    const known = this.#texts.get(stream);
    if (known === undefined) this.#texts.set(stream, [fragment]);
    else known.push(fragment);
  }

  #hasRoom(list: readonly unknown[]): boolean {
    if (list.length < MAX_LISTED) return true;
    this.#omitted++;
    return false;
  }
}

/** A loop: `every` with its callback takes several times as long, on every orphan. */
function isZero(data: Uint8Array): boolean {
  for (let at = 0; at < data.length; at++) if (data[at] !== 0) return false;
  return true;
}

function byRecord(a: { record: number }, b: { record: number }): number {
  return a.record - b.record;
}
