/** Bytes that tell by their value where in the stream they belong. */
export function streamBytes(from: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    const at = from + i;
    bytes[i] = (at ^ (at >> 8) ^ (at >> 16)) & 0xff;
  }
  return bytes;
}

/** Checks a stream made of {@link streamBytes} as its pieces arrive. */
export class StreamCheck {
  length = 0;
  intact = true;

  add(piece: Uint8Array): void {
    for (let i = 0; i < piece.length; i++) {
      const at = this.length + i;
      if (piece[i] !== ((at ^ (at >> 8) ^ (at >> 16)) & 0xff)) this.intact = false;
    }
    this.length += piece.length;
  }
}
