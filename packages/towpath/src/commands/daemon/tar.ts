/** A file of an archive. */
export interface TarEntry {
  /** At most 99 characters of ASCII. */
  readonly name: string;
  readonly data: Uint8Array;
}

const BLOCK = 512;

/** A tar archive (POSIX.1-1988 ustar) of plain files. */
export function tar(entries: readonly TarEntry[], modifiedAtMs: number): Uint8Array {
  const blocks: Buffer[] = [];
  for (const { name, data } of entries) {
    const padded = Buffer.alloc(Math.ceil(data.length / BLOCK) * BLOCK);
    padded.set(data);
    blocks.push(header(name, data.length, modifiedAtMs), padded);
  }
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function header(name: string, size: number, modifiedAtMs: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  block.write(name.slice(0, 99), 0, 'ascii');
  block.write(octal(0o600, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(Math.floor(modifiedAtMs / 1_000), 11), 136);
  block.write('        ', 148);
  block.write('0', 156);
  block.write('ustar\0', 257);
  block.write('00', 263);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}
