/** Most bytes that one line of a hexdump shows; wider dumps are not in use. */
const MAX_BYTES_PER_LINE = 32;

/** An offset or address, then (after a colon or two spaces) hex digits: the shape of a hexdump's line. */
const DUMP_LINE = /^\s*(0x)?([0-9a-fA-F]{4,16})(:\s+|\s\s)(?=[0-9a-fA-F]{2})/;

/**
 * The bytes of one line of a hexdump: those of tcpdump (`0x0010:  4500 0032 …  E..2`), of Frida, `hexdump -C`, `xxd`
 * and Wireshark (`0010  f1 d0 …   ....`). The text column is recognised by the two spaces before it.
 * @returns undefined when the line is no such line
 */
export function hexdumpLine(line: string): number[] | undefined {
  const head = DUMP_LINE.exec(line);
  if (head === null) return undefined;
  const bytes: number[] = [];
  let at = head[0].length;
  while (bytes.length < MAX_BYTES_PER_LINE) {
    const byte = hexByte(line, at);
    if (byte < 0) break;
    bytes.push(byte);
    at += 2;
    if (line[at] !== ' ') continue;
    at++;
    // `hexdump -C` leaves a wider gap in the middle of its sixteen bytes.
    if (line[at] === ' ') {
      if (bytes.length !== 8 || hexByte(line, at + 1) < 0 || line[at + 3] !== ' ') break;
      at++;
    }
  }
  return bytes.length === 0 ? undefined : bytes;
}

/** Bytes written as pairs of hex digits with spaces between them, up to the first thing that is none. */
export function spacedHex(text: string, limit: number): Uint8Array {
  const out: number[] = [];
  for (const pair of text.trim().split(/[\s:]+/)) {
    if (out.length >= limit || !/^[0-9a-fA-F]{2}$/.test(pair)) break;
    out.push(Number.parseInt(pair, 16));
  }
  return Uint8Array.from(out);
}

function hexByte(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
