import { MAX_RECORD_BYTES } from './captured-packet.ts';
import { IpReader } from './ip-reader.ts';
import { ipOffset, isKnownLinkType } from './link-layer.ts';
import type { PacketSink } from './packet-sink.ts';

const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const Block = { interface: 1, oldPacket: 2, simplePacket: 3, enhancedPacket: 6 } as const;
const Option = { end: 0, timeResolution: 9, timeOffset: 14 } as const;

/** Interfaces of one section; a machine has tens. */
export const MAX_INTERFACES = 1024;

interface CapturedInterface {
  readonly linkType: number;
  /** Longest packet kept, in bytes; 0 means no limit. */
  readonly snapshotBytes: number;
  /** Units of its time stamps in a millisecond. */
  readonly ticksPerMs: number;
  readonly offsetMs: number;
}

/** The pcapng file format: several sections, several interfaces, both byte orders (draft-ietf-opsawg-pcapng). */
export function isPcapng(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0) === SECTION_HEADER;
}

export function readPcapng(bytes: Uint8Array, sink: PacketSink): void {
  const reader = new PcapngReader(bytes, sink);
  reader.read();
}

class PcapngReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #sink: PacketSink;
  readonly #ip: IpReader;
  #littleEndian = true;
  #interfaces: CapturedInterface[] = [];
  #frame = 0;

  constructor(bytes: Uint8Array, sink: PacketSink) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#sink = sink;
    this.#ip = new IpReader(sink);
  }

  read(): void {
    let at = 0;
    while (at < this.#bytes.length) {
      const end = this.#blockEnd(at);
      if (end < 0) break;
      this.#block(at, end - 4);
      at = end;
    }
    this.#ip.finish();
  }

  /** Returns the end of the block at `at`; -1 when it cannot be determined, and reading ends. */
  #blockEnd(at: number): number {
    const left = this.#bytes.length - at;
    if (left < 12) {
      this.#sink.problem('truncated-file', this.#frame, 'The file ends inside a block header.');
      return -1;
    }
    if (this.#u32(at) === SECTION_HEADER) {
      const magic = this.#view.getUint32(at + 8, true);
      this.#littleEndian = magic === BYTE_ORDER_MAGIC;
      if (!this.#littleEndian && this.#view.getUint32(at + 8, false) !== BYTE_ORDER_MAGIC) {
        this.#sink.problem('damaged', this.#frame, 'A section without its byte order mark.');
        return -1;
      }
      this.#interfaces = [];
    }
    const length = this.#u32(at + 4);
    if (length < 12 || length % 4 !== 0) {
      this.#sink.problem('damaged', this.#frame, `A block of ${length} bytes cannot be.`);
      return -1;
    }
    if (length > left) {
      this.#sink.problem('truncated-file', this.#frame, 'The file ends inside a block.');
      return -1;
    }
    return at + length;
  }

  /** @param end where the block's repeated length begins */
  #block(at: number, end: number): void {
    switch (this.#u32(at)) {
      case Block.interface:
        if (end - at >= 16) this.#interface(at + 8, end);
        break;
      case Block.enhancedPacket:
        if (end - at >= 28) this.#packet(this.#u32(at + 8), at + 12, this.#u32(at + 20), at + 28, end);
        break;
      case Block.oldPacket:
        if (end - at >= 28) this.#packet(this.#u16(at + 8), at + 12, this.#u32(at + 20), at + 28, end);
        break;
      case Block.simplePacket:
        if (end - at >= 12) this.#simplePacket(at + 8, end);
        break;
      default:
        break;
    }
  }

  #interface(at: number, end: number): void {
    if (this.#interfaces.length >= MAX_INTERFACES) {
      this.#sink.problem('limit-reached', this.#frame, `More than ${MAX_INTERFACES} interfaces.`);
      return;
    }
    const linkType = this.#u16(at);
    if (!isKnownLinkType(linkType)) {
      this.#sink.problem('unsupported-link-type', this.#frame, `Link type ${linkType} is not read.`);
    }
    let ticksPerMs = 1000;
    let offsetMs = 0;
    for (let option = at + 8; option + 4 <= end; ) {
      const code = this.#u16(option);
      const length = this.#u16(option + 2);
      const value = option + 4;
      if (code === Option.end || value + length > end) break;
      if (code === Option.timeResolution && length >= 1) ticksPerMs = ticksOf(this.#bytes[value]!);
      if (code === Option.timeOffset && length >= 8) {
        offsetMs = Number(this.#view.getBigInt64(value, this.#littleEndian)) * 1000;
      }
      option = value + Math.ceil(length / 4) * 4;
    }
    this.#interfaces.push({ linkType, snapshotBytes: this.#u32(at + 4), ticksPerMs, offsetMs });
  }

  #packet(interfaceId: number, timeAt: number, captured: number, dataAt: number, end: number): void {
    this.#frame++;
    const from = this.#interfaces[interfaceId];
    if (from === undefined) {
      this.#sink.problem('damaged', this.#frame, `A packet of interface ${interfaceId}, which was not described.`);
      return;
    }
    const ticks = this.#u32(timeAt) * 2 ** 32 + this.#u32(timeAt + 4);
    this.#frameBytes(from, dataAt, captured, end, ticks / from.ticksPerMs + from.offsetMs);
  }

  /** It has no time stamp and belongs to the first interface. */
  #simplePacket(at: number, end: number): void {
    this.#frame++;
    const from = this.#interfaces[0];
    if (from === undefined) {
      this.#sink.problem('damaged', this.#frame, 'A packet before the first interface was described.');
      return;
    }
    const original = this.#u32(at);
    const limit = from.snapshotBytes === 0 ? original : Math.min(original, from.snapshotBytes);
    this.#frameBytes(from, at + 4, Math.min(limit, end - at - 4), end, undefined);
  }

  #frameBytes(from: CapturedInterface, at: number, length: number, end: number, timeMs: number | undefined): void {
    if (length > MAX_RECORD_BYTES || at + length > end) {
      this.#sink.problem('damaged', this.#frame, `A packet of ${length} bytes does not fit its block.`);
      return;
    }
    this.#sink.startAt(timeMs);
    const packet = this.#bytes.subarray(at, at + length);
    const offset = ipOffset(from.linkType, packet);
    if (offset >= 0) this.#ip.packet(packet.subarray(offset), this.#frame, timeMs);
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, this.#littleEndian);
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, this.#littleEndian);
  }
}

/** if_tsresol: a power of ten, or of two when the top bit is set, per second. */
function ticksOf(resolution: number): number {
  const exponent = resolution & 0x7f;
  return (resolution & 0x80 ? 2 ** exponent : 10 ** exponent) / 1000;
}
