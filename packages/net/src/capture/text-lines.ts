/** Longest line that is looked at. The longest that holds a datagram has 2 × 65,507 hex digits and some fields. */
export const MAX_LINE_BYTES = 262_144;

const NEWLINE = 0x0a;

/** How much of a file shows whether it is UTF-16. */
const SAMPLE_BYTES = 4_096;

/**
 * Tells whether a file is text in UTF-16 and in which order its bytes are: by the byte order mark, or, as programs of Windows
 * also write it, by zeros in every second byte. Letters of the first 256 code points are enough: recordings are ASCII.
 */
export function utf16Order(bytes: Uint8Array): 'little' | 'big' | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'little';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'big';
  const sample = bytes.subarray(0, Math.min(SAMPLE_BYTES, bytes.length - (bytes.length % 2)));
  if (sample.length < 4) return undefined;
  const isText = (byte: number) => byte === 0x09 || byte === 0x0a || byte === 0x0d || (byte >= 0x20 && byte !== 0x7f);
  const all = (zerosAt: 0 | 1) => sample.every((byte, at) => (at % 2 === zerosAt ? byte === 0 : isText(byte)));
  if (all(1)) return 'little';
  return all(0) ? 'big' : undefined;
}

/**
 * The lines of a text file one after the other, without making one string of it.
 * Takes UTF-8 and, as shells on Windows write it, UTF-16, see {@link utf16Order}.
 * @param onLine gets each line without its end, and its number from 1; a line that is too long comes as undefined
 */
export function forEachLine(bytes: Uint8Array, onLine: (line: string | undefined, number: number) => void): void {
  const text = asUtf8(bytes);
  let at = 0;
  for (let number = 1; at < text.length; number++) {
    const found = text.indexOf(NEWLINE, at);
    const end = found < 0 ? text.length : found;
    const trimmed = end > at && text[end - 1] === 0x0d ? end - 1 : end;
    onLine(trimmed - at > MAX_LINE_BYTES ? undefined : text.toString('utf8', at, trimmed), number);
    at = end + 1;
  }
}

function asUtf8(bytes: Uint8Array): Buffer {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const order = utf16Order(bytes);
  if (order !== undefined) {
    const even = Buffer.from(buffer.subarray(0, buffer.length - (buffer.length % 2)));
    const text = (order === 'big' ? even.swap16() : even).toString('utf16le').replace(/^\uFEFF/, '');
    return Buffer.from(text, 'utf8');
  }
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return buffer.subarray(3);
  return buffer;
}
