import { CodecError } from './codec-error.ts';

/** A device key on the wire: 20 ASCII bytes and four zeros (docs/protocol/pppp.md, "Rendezvous messages"). */
export const DSK_BYTES = 24;

const MAX_DSK_LENGTH = 20;

/** Reads a device key up to its first NUL; the empty string when none was given, undefined when it is not ASCII. */
export function readDsk(bytes: Uint8Array, at: number): string | undefined {
  let text = '';
  for (let i = 0; i < MAX_DSK_LENGTH; i++) {
    const byte = bytes[at + i]!;
    if (byte === 0) break;
    if (byte < 0x20 || byte > 0x7e) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** @throws CodecError `field-out-of-range` when the key is longer than 20 or not printable ASCII. */
export function writeDsk(target: Uint8Array, at: number, dsk: string): void {
  if (!/^[\x20-\x7e]{0,20}$/.test(dsk)) {
    throw new CodecError('field-out-of-range', 'A device key (DSK) is at most 20 printable ASCII characters.');
  }
  for (let i = 0; i < dsk.length; i++) target[at + i] = dsk.charCodeAt(i);
}
