/** Longest line that is looked at. The longest that holds a datagram has 2 × 65,507 hex digits and some fields. */
export const MAX_LINE_BYTES = 262_144;

const NEWLINE = 0x0a;

/**
 * The lines of a text file one after the other, without making one string of it.
 * Takes UTF-8 and, as shells on Windows write it, UTF-16 with a byte order mark.
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
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return Buffer.from(buffer.toString('utf16le', 2), 'utf8');
  if (bytes[0] === 0xfe && bytes[1] === 0xff) {
    const even = Buffer.from(buffer.subarray(2, buffer.length - (buffer.length % 2)));
    return Buffer.from(even.swap16().toString('utf16le'), 'utf8');
  }
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return buffer.subarray(3);
  return buffer;
}
