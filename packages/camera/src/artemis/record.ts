import { type Decoded, decoded, undecodable } from './result.ts';

/** Header of every thumbnail and file on channels 4 and 3. docs/protocol/artemis.md, "Items". */
export const RECORD_HEADER_BYTES = 72;

const DEVICE_ID_BYTES = 32;
const CHECK_BYTES = 8;

/** One thumbnail or file of the camera. */
export interface ItemRecord {
  /** The `devId` of the device info, such as a MAC address in text form. */
  readonly deviceId: string;
  readonly dirNum: number;
  readonly mediaNum: number;
  /** Files: the item's `mediaId`. Thumbnails: presumably the same, at the offset of the end check. */
  readonly mediaId: number;
  /** Eight bytes. Files: a copy of the last bytes of the data. Thumbnails: other content. */
  readonly check: Uint8Array;
  /** A view of the frame's body. */
  readonly data: Uint8Array;
}

/** Encodes the body of a thumbnail frame. `deviceId` is cut to 31 characters. */
export function encodeThumbnailRecord(item: Omit<ItemRecord, 'check'>): Uint8Array {
  const out = encodeHead(item);
  new DataView(out.buffer).setUint32(40, item.mediaId, true);
  return out;
}

/** Encodes the body of a file frame with its end check. `deviceId` is cut to 31 characters. */
export function encodeFileRecord(item: Omit<ItemRecord, 'check'>): Uint8Array {
  const out = encodeHead(item);
  out.set(item.data.subarray(-CHECK_BYTES), 40);
  new DataView(out.buffer).setUint32(48, item.mediaId, true);
  return out;
}

export function decodeThumbnailRecord(body: Uint8Array): Decoded<ItemRecord> {
  return decodeRecord(body, 40);
}

export function decodeFileRecord(body: Uint8Array): Decoded<ItemRecord> {
  return decodeRecord(body, 48);
}

/** True when a file's end check is correct. Data shorter than the check is compared as far as it goes. */
export function fileCheckHolds(record: ItemRecord): boolean {
  const tail = record.data.subarray(-CHECK_BYTES);
  return Buffer.compare(tail, record.check.subarray(0, tail.length)) === 0;
}

function encodeHead(item: Omit<ItemRecord, 'check'>): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(RECORD_HEADER_BYTES + item.data.length);
  out.set(Buffer.from(item.deviceId, 'latin1').subarray(0, DEVICE_ID_BYTES - 1), 0);
  const view = new DataView(out.buffer);
  view.setUint16(32, item.dirNum, true);
  view.setUint16(34, item.mediaNum, true);
  view.setUint32(36, item.data.length, true);
  out.set(item.data, RECORD_HEADER_BYTES);
  return out;
}

function decodeRecord(body: Uint8Array, mediaIdAt: number): Decoded<ItemRecord> {
  if (body.length < RECORD_HEADER_BYTES) {
    return undecodable('truncated', `A record of ${body.length} bytes is shorter than its header.`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const dataLength = view.getUint32(36, true);
  if (dataLength > body.length - RECORD_HEADER_BYTES) {
    return undecodable('truncated', `A record of ${dataLength} bytes has only ${body.length - RECORD_HEADER_BYTES}.`);
  }
  const nul = body.subarray(0, DEVICE_ID_BYTES).indexOf(0);
  const idLength = nul < 0 ? DEVICE_ID_BYTES : nul;
  return decoded({
    deviceId: Buffer.from(body.buffer, body.byteOffset, idLength).toString('latin1'),
    dirNum: view.getUint16(32, true),
    mediaNum: view.getUint16(34, true),
    mediaId: view.getUint32(mediaIdAt, true),
    check: body.subarray(40, 40 + CHECK_BYTES),
    data: body.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + dataLength),
  });
}
