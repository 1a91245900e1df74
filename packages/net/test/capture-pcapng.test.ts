import { describe, expect, test } from 'vitest';
import { counting, hex, ipPacket, readAll } from './capture-samples.ts';

/** Writes blocks of a pcapng file in one byte order. */
class Blocks {
  readonly #parts: Buffer[] = [];
  readonly #little: boolean;

  constructor(littleEndian: boolean) {
    this.#little = littleEndian;
  }

  u16(...values: number[]): Buffer {
    const out = Buffer.alloc(values.length * 2);
    values.forEach((value, i) => {
      this.#little ? out.writeUInt16LE(value, i * 2) : out.writeUInt16BE(value, i * 2);
    });
    return out;
  }

  u32(...values: number[]): Buffer {
    const out = Buffer.alloc(values.length * 4);
    values.forEach((value, i) => {
      this.#little ? out.writeUInt32LE(value, i * 4) : out.writeUInt32BE(value, i * 4);
    });
    return out;
  }

  block(type: number, ...body: Uint8Array[]): this {
    const content = padded(Buffer.concat(body));
    const length = content.length + 12;
    this.#parts.push(this.u32(type, length), content, this.u32(length));
    return this;
  }

  section(): this {
    return this.block(0x0a0d0d0a, this.u32(0x1a2b3c4d), this.u16(1, 0), this.u32(0xffff_ffff, 0xffff_ffff));
  }

  /** @param resolution if_tsresol; left out when undefined */
  interface(linkType: number, resolution?: number, snapshotBytes = 0): this {
    const option = resolution === undefined ? [] : [this.u16(9, 1), Buffer.from([resolution, 0, 0, 0]), this.u16(0, 0)];
    return this.block(1, this.u16(linkType, 0), this.u32(snapshotBytes), ...option);
  }

  enhanced(interfaceId: number, ticks: number, bytes: Uint8Array): this {
    const time = this.u32(Math.floor(ticks / 2 ** 32), ticks % 2 ** 32);
    return this.block(6, this.u32(interfaceId), time, this.u32(bytes.length, bytes.length), bytes);
  }

  simple(bytes: Uint8Array): this {
    return this.block(3, this.u32(bytes.length), bytes);
  }

  file(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}

const ethernet = Buffer.concat([counting(12), Uint8Array.from([0x08, 0x00])]);

describe.each([true, false])('pcapng files, little-endian: %s', (littleEndian) => {
  test('several interfaces with their own link types and resolutions are read (B12)', () => {
    const file = new Blocks(littleEndian)
      .section()
      .interface(101)
      .interface(1, 9)
      .interface(101, 0x80 | 10)
      .block(0x0bad, counting(8))
      .enhanced(0, 1_700_000_000_000_000, ipPacket(counting(3)))
      .enhanced(1, 1_700_000_000_000_000 * 1000 + 4_000_000, Buffer.concat([ethernet, ipPacket(counting(4))]))
      .enhanced(2, 1_700_000_000 * 1024 + 512, ipPacket(counting(5)))
      .simple(ipPacket(counting(6)))
      .file();
    const { packets, report } = readAll(file);
    expect(report).toMatchObject({ format: 'pcapng', packets: 4, problems: [] });
    expect(packets.map(({ data }) => data.length)).toEqual([3, 4, 5, 6]);
    expect(packets.map(({ timeMs }) => (timeMs === undefined ? undefined : Math.round(timeMs)))).toEqual([
      0,
      4,
      500,
      undefined,
    ]);
  });

  test('each section describes its own interfaces', () => {
    const file = Buffer.concat([
      new Blocks(littleEndian)
        .section()
        .interface(101)
        .enhanced(0, 1, ipPacket(counting(3)))
        .file(),
      new Blocks(!littleEndian)
        .section()
        .interface(1)
        .enhanced(0, 2, Buffer.concat([ethernet, ipPacket(counting(4))]))
        .enhanced(1, 3, ipPacket(counting(5)))
        .file(),
    ]);
    const { packets, report } = readAll(file);
    expect(packets.map(({ data }) => hex(data))).toEqual([hex(counting(3)), hex(counting(4))]);
    expect(report.problems).toEqual([expect.objectContaining({ code: 'damaged', position: 3 })]);
  });

  test('the snapshot length of its interface cuts a simple packet', () => {
    const bytes = ipPacket(counting(40));
    const cut = bytes.subarray(0, 48);
    const blocks = new Blocks(littleEndian).section().interface(101, undefined, 48);
    const { packets } = readAll(blocks.block(3, blocks.u32(bytes.length), cut).file());
    expect(packets[0]).toMatchObject({ truncated: 40 });
    expect(packets[0]!.data.length).toBe(20);
  });

  test('a file cut anywhere gives the packets before the cut', () => {
    const file = new Blocks(littleEndian)
      .section()
      .interface(101)
      .enhanced(0, 1, ipPacket(counting(4)))
      .enhanced(0, 2, ipPacket(counting(8)))
      .file();
    for (let end = 4; end < file.length; end++) {
      const { packets } = readAll(file.subarray(0, end));
      expect(packets.length).toBeLessThanOrEqual(1);
    }
    expect(readAll(file.subarray(0, file.length - 1)).report.problems[0]?.code).toBe('truncated-file');
  });

  test('a block whose length cannot be ends the reading', () => {
    const file = new Blocks(littleEndian).section().interface(101).file();
    const damaged = Buffer.concat([file, Buffer.alloc(12)]);
    expect(readAll(damaged).report.problems).toEqual([expect.objectContaining({ code: 'damaged' })]);
  });
});
