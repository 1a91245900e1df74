/** Metadata of a picture in EXIF (CIPA DC-008, "Exif 2.32"): as much of it as photo programs sort and search by. */

export interface PictureMetadata {
  /** Name of the camera. */
  readonly camera: string;
  /** Its device id. */
  readonly serial: string | undefined;
  /** When it was taken, ISO 8601 with offset: `2026-05-01T18:30:12+02:00`. */
  readonly takenAt: string | undefined;
}

const Tag = {
  model: 0x0110,
  dateTime: 0x0132,
  exifFolder: 0x8769,
  version: 0x9000,
  original: 0x9003,
  digitized: 0x9004,
  offset: 0x9010,
  offsetOriginal: 0x9011,
  serial: 0xa431,
} as const;

const Type = { ascii: 2, long: 4, undefined: 7 } as const;

interface Field {
  readonly tag: number;
  readonly type: number;
  readonly data: Buffer;
}

const EXIF = Buffer.from('Exif\0\0', 'latin1');
const TIFF_HEADER_BYTES = 8;
const FIELD_BYTES = 12;
const MAX_TEXT_BYTES = 128;

/**
 * Returns a JPEG with metadata. A picture that has EXIF already, or is no JPEG, is returned as it is: what the camera
 * wrote is not replaced.
 */
export function withExif(jpeg: Uint8Array, metadata: PictureMetadata): Uint8Array {
  if (jpeg[0] !== 0xff || jpeg[1] !== 0xd8 || hasExif(jpeg)) return jpeg;
  const body = Buffer.concat([EXIF, tiff(metadata)]);
  const head = Buffer.alloc(4);
  head.writeUInt16BE(0xffe1, 0);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), head, body, jpeg.subarray(2)]);
}

/** Looks through the segments before the picture's data. */
function hasExif(jpeg: Uint8Array): boolean {
  const bytes = Buffer.from(jpeg.buffer, jpeg.byteOffset, jpeg.length);
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1]!;
    if (marker === 0xda || marker === 0xd9) return false;
    if (marker === 0xe1 && bytes.subarray(at + 4, at + 10).equals(EXIF)) return true;
    at += 2 + bytes.readUInt16BE(at + 2);
  }
  return false;
}

function tiff({ camera, serial, takenAt }: PictureMetadata): Buffer {
  const match = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}:\d{2}:\d{2})([+-]\d{2}:\d{2})$/.exec(takenAt ?? '');
  const date = match && text(`${match[1]}:${match[2]}:${match[3]} ${match[4]}`);
  const offset = match && text(match[5]!);
  const details: Field[] = [{ tag: Tag.version, type: Type.undefined, data: Buffer.from('0232') }];
  if (date && offset) {
    details.push(
      { tag: Tag.original, type: Type.ascii, data: date },
      { tag: Tag.digitized, type: Type.ascii, data: date },
    );
    details.push({ tag: Tag.offset, type: Type.ascii, data: offset });
    details.push({ tag: Tag.offsetOriginal, type: Type.ascii, data: offset });
  }
  if (serial !== undefined) details.push({ tag: Tag.serial, type: Type.ascii, data: text(serial) });
  const main: Field[] = [{ tag: Tag.model, type: Type.ascii, data: text(camera) }];
  if (date) main.push({ tag: Tag.dateTime, type: Type.ascii, data: date });
  const pointer = Buffer.alloc(4);
  main.push({ tag: Tag.exifFolder, type: Type.long, data: pointer });
  pointer.writeUInt32LE(TIFF_HEADER_BYTES + folder(main, TIFF_HEADER_BYTES).length);
  const first = folder(main, TIFF_HEADER_BYTES);
  const header = Buffer.from([0x49, 0x49, 0x2a, 0, TIFF_HEADER_BYTES, 0, 0, 0]);
  return Buffer.concat([header, first, folder(details, TIFF_HEADER_BYTES + first.length)]);
}

/** An image file directory at `start`, followed by the values that do not fit into it. */
function folder(fields: readonly Field[], start: number): Buffer {
  const table = Buffer.alloc(2 + fields.length * FIELD_BYTES + 4);
  const values: Buffer[] = [];
  let valueAt = start + table.length;
  table.writeUInt16LE(fields.length, 0);
  for (const [n, { tag, type, data }] of fields.entries()) {
    const at = 2 + n * FIELD_BYTES;
    table.writeUInt16LE(tag, at);
    table.writeUInt16LE(type, at + 2);
    table.writeUInt32LE(type === Type.long ? 1 : data.length, at + 4);
    if (data.length <= 4) data.copy(table, at + 8);
    else {
      table.writeUInt32LE(valueAt, at + 8);
      // Values begin at even offsets.
      const padded = Buffer.alloc(data.length + (data.length % 2));
      data.copy(padded);
      values.push(padded);
      valueAt += padded.length;
    }
  }
  return Buffer.concat([table, ...values]);
}

function text(value: string): Buffer {
  const ascii = value
    .normalize('NFKD')
    .replace(/[^\x20-\x7e]/g, '')
    .slice(0, MAX_TEXT_BYTES);
  return Buffer.from(`${ascii}\0`, 'latin1');
}
