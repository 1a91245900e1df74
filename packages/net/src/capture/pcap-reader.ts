import { MAX_RECORD_BYTES } from './captured-packet.ts';
import { IpReader } from './ip-reader.ts';
import { ipOffset, isKnownLinkType } from './link-layer.ts';
import type { PacketSink } from './packet-sink.ts';

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;

/** The pcap file format, both byte orders, µs and ns (draft-ietf-opsawg-pcap). */
export function isPcap(bytes: Uint8Array): boolean {
  return magicOf(bytes) !== undefined;
}

export function readPcap(bytes: Uint8Array, sink: PacketSink): void {
  const magic = magicOf(bytes);
  if (magic === undefined || bytes.length < FILE_HEADER_BYTES) {
    sink.problem('truncated-file', 0, `A pcap file of ${bytes.length} bytes has no room for its header.`);
    return;
  }
  const { littleEndian, fractionsPerMs } = magic;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // The upper half of the word may say that frames end in a check sequence.
  const linkType = view.getUint32(20, littleEndian) & 0xffff;
  if (!isKnownLinkType(linkType)) {
    sink.problem('unsupported-link-type', 0, `Link type ${linkType} is not read; capture on an Ethernet or IP device.`);
    return;
  }
  const ip = new IpReader(sink);
  let at = FILE_HEADER_BYTES;
  for (let frame = 1; at < bytes.length; frame++) {
    if (at + RECORD_HEADER_BYTES > bytes.length) {
      sink.problem('truncated-file', frame, 'The file ends inside a record header.');
      break;
    }
    const captured = view.getUint32(at + 8, littleEndian);
    if (captured > MAX_RECORD_BYTES) {
      sink.problem('damaged', frame, `A record of ${captured} bytes; the limit is ${MAX_RECORD_BYTES}.`);
      break;
    }
    const seconds = view.getUint32(at, littleEndian);
    const timeMs = seconds * 1000 + view.getUint32(at + 4, littleEndian) / fractionsPerMs;
    at += RECORD_HEADER_BYTES;
    if (at + captured > bytes.length) sink.problem('truncated-file', frame, 'The file ends inside a packet.');
    const packet = bytes.subarray(at, at + captured);
    at += captured;
    sink.startAt(timeMs);
    const offset = ipOffset(linkType, packet);
    if (offset >= 0) ip.packet(packet.subarray(offset), frame, timeMs);
  }
  ip.finish();
}

function magicOf(bytes: Uint8Array): { littleEndian: boolean; fractionsPerMs: number } | undefined {
  if (bytes.length < 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 4);
  for (const littleEndian of [true, false]) {
    const magic = view.getUint32(0, littleEndian);
    if (magic === MAGIC_MICROSECONDS) return { littleEndian, fractionsPerMs: 1000 };
    if (magic === MAGIC_NANOSECONDS) return { littleEndian, fractionsPerMs: 1_000_000 };
  }
  return undefined;
}
