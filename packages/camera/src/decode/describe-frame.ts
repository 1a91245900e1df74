import { hash } from 'node:crypto';
import { AV_HEADER_BYTES, type AvFrame, decodeAvFrame } from '../artemis/av.ts';
import { decodeText } from '../artemis/cipher.ts';
import { type Frame, MessageType } from '../artemis/frame.ts';
import { parseJsonObject } from '../artemis/json.ts';
import { decodeFileRecord, decodeThumbnailRecord, fileCheckHolds, type ItemRecord } from '../artemis/record.ts';
import type { AvJson, ItemJson, MessageJson, MessageKind } from './decoded-message.ts';

/** Bytes of deciphered video that are printed: enough for its first unit. */
const HEAD_BYTES = 16;

/** Content of a frame in addition to its JSON. */
export interface FrameContent {
  av: AvFrame | undefined;
  item: ItemRecord | undefined;
}

const NOTHING: FrameContent = { av: undefined, item: undefined };

/** Adds `kind` and everything that follows it, except `record`, to `json`. */
export function describeFrame(json: Omit<MessageJson, 'kind' | 'record'>, frame: Frame): FrameContent {
  const into = json as Partial<MessageJson>;
  into.kind = kindOf(frame.type);
  switch (frame.type) {
    case MessageType.request:
    case MessageType.response:
      describeCommand(into, frame.body);
      return NOTHING;
    case MessageType.event:
      describeEvent(into, frame.body);
      return NOTHING;
    case MessageType.liveAv:
    case MessageType.playbackAv:
      return {
        av: describeAv(into, frame.body, frame.type === MessageType.liveAv ? 'live' : 'playback'),
        item: undefined,
      };
    case MessageType.thumbnail:
    case MessageType.file:
      return { av: undefined, item: describeItem(into, frame.body, frame.type === MessageType.file) };
    default:
      return NOTHING;
  }
}

function kindOf(type: number): MessageKind {
  switch (type) {
    case MessageType.request:
      return 'request';
    case MessageType.response:
      return 'response';
    case MessageType.event:
      return 'event';
    case MessageType.liveAv:
    case MessageType.playbackAv:
      return 'av';
    case MessageType.talk:
      return 'talk';
    case MessageType.thumbnail:
      return 'thumbnail';
    case MessageType.file:
      return 'file';
    default:
      return 'unknown';
  }
}

function describeCommand(into: Partial<MessageJson>, body: Uint8Array): void {
  const text = decodeText(body);
  const json = text.ok ? parseJsonObject(text.value) : text;
  if (!text.ok || !json.ok) {
    into.decode_error = true;
    return;
  }
  into.b64_len = textBytes(body);
  into.json_text = text.value;
  into.json = json.value;
  if (json.value.cmdId !== undefined) into.cmdId = json.value.cmdId;
}

function describeEvent(into: Partial<MessageJson>, body: Uint8Array): void {
  const text = Buffer.from(body.buffer, body.byteOffset, textBytes(body)).toString('utf8');
  const json = parseJsonObject(text);
  if (!json.ok) {
    into.decode_error = true;
    return;
  }
  into.json_text = text;
  into.json = json.value;
}

function describeAv(into: Partial<MessageJson>, body: Uint8Array, kind: 'live' | 'playback'): AvFrame | undefined {
  if (body.length < AV_HEADER_BYTES) {
    into.decode_error = true;
    return undefined;
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  // A Buffer's slice would be deciphered in place, which changes the recording.
  const frame = decodeAvFrame(new Uint8Array(body.buffer, body.byteOffset, body.length), kind);
  const time = Number(view.getBigUint64(8, true));
  const av: AvJson = {
    frame_no: view.getUint32(0, true),
    ...(kind === 'live' ? { ts_us: time } : { ts_ms: time }),
    video_len: view.getUint32(16, true),
    audio_len: view.getUint32(20, true),
    key: view.getUint32(24, true),
    width: view.getUint32(28, true),
    height: view.getUint32(32, true),
    audio_type: view.getUint32(36, true),
    video_type: body[53]!,
    check_ok: frame.ok && frame.value.intact,
    trailing: frame.ok ? frame.value.trailingBytes : 0,
    complete: frame.ok,
  };
  into.av = av;
  if (!frame.ok) return undefined;
  const data = Buffer.concat([frame.value.video, frame.value.audio]);
  av.decrypted_sha256 = hash('sha256', data, 'hex');
  av.decrypted_head = data.toString('hex', 0, HEAD_BYTES);
  return frame.value;
}

function describeItem(into: Partial<MessageJson>, body: Uint8Array, file: boolean): ItemRecord | undefined {
  const record = file ? decodeFileRecord(body) : decodeThumbnailRecord(body);
  if (!record.ok) {
    into.decode_error = true;
    return undefined;
  }
  const item = record.value;
  const json: ItemJson = {
    dirNum: item.dirNum,
    mediaNum: item.mediaNum,
    mediaId: item.mediaId,
    data_len: item.data.length,
    data_sha256: hash('sha256', item.data, 'hex'),
    jpeg: isJpeg(item.data),
  };
  if (file) json.check_ok = fileCheckHolds(item);
  into.item = json;
  return item;
}

/** Begins with SOI and ends with EOI. */
export function isJpeg(data: Uint8Array): boolean {
  return data[0] === 0xff && data[1] === 0xd8 && endsLikeJpeg(data);
}

export function endsLikeJpeg(data: Uint8Array): boolean {
  return data.length >= 2 && data[data.length - 2] === 0xff && data[data.length - 1] === 0xd9;
}

/** Bytes before the first NUL. */
function textBytes(body: Uint8Array): number {
  const nul = body.indexOf(0);
  return nul < 0 ? body.length : nul;
}
