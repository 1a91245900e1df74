import type { Endpoint } from '../src/index.ts';
import { type CapturedPacket, type CaptureReport, PcapWriter, readCapture } from '../src/capture/index.ts';

/** Packets that the tests put into files; addresses of RFC 5737 and RFC 3849, bytes made up. */

export const CLIENT: Endpoint = { address: '192.0.2.20', port: 50_000 };
export const DEVICE: Endpoint = { address: '192.0.2.1', port: 40_000 };
export const CLIENT6: Endpoint = { address: '2001:db8::20', port: 50_000 };
export const DEVICE6: Endpoint = { address: '2001:db8::1', port: 40_000 };

export interface ReadBack {
  packets: CapturedPacket[];
  report: CaptureReport;
}

export function readAll(bytes: Uint8Array, accept?: (packet: CapturedPacket) => boolean): ReadBack {
  const packets: CapturedPacket[] = [];
  const report = readCapture(bytes, { onPacket: (packet) => packets.push(packet), accept });
  return { packets, report };
}

export function hex(data: Uint8Array): string {
  return Buffer.from(data).toString('hex');
}

/** The bytes `first`, `first + 1`, … */
export function counting(length: number, first = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (first + at) & 0xff);
}

/** A raw IP packet, as the writer makes it. */
export function ipPacket(data: Uint8Array, source: Endpoint = CLIENT, destination: Endpoint = DEVICE): Uint8Array {
  return new PcapWriter({ linkType: 'raw' }).record({ timeMs: 0, source, destination, data }).subarray(16);
}

export interface PcapOptions {
  linkType: number;
  littleEndian?: boolean;
  nanoseconds?: boolean;
}

/** A pcap file made by hand, byte by byte. */
export function pcapFile(
  frames: readonly { seconds: number; fraction: number; bytes: Uint8Array }[],
  { linkType, littleEndian = true, nanoseconds = false }: PcapOptions,
): Uint8Array {
  const words = (...values: number[]): Buffer => {
    const out = Buffer.alloc(values.length * 4);
    values.forEach((value, i) => {
      if (littleEndian) out.writeUInt32LE(value, i * 4);
      else out.writeUInt32BE(value, i * 4);
    });
    return out;
  };
  const version = littleEndian ? Buffer.from([2, 0, 4, 0]) : Buffer.from([0, 2, 0, 4]);
  const header = [words(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4), version, words(0, 0, 65_535, linkType)];
  const records = frames.flatMap(({ seconds, fraction, bytes }) => [
    words(seconds, fraction, bytes.length, bytes.length),
    bytes,
  ]);
  return Buffer.concat([...header, ...records]);
}

/** Groups of two bytes as tcpdump prints them, with the text column when `ascii`. */
export function tcpdumpHex(bytes: Uint8Array, ascii: boolean): string {
  return dumpLines(bytes, (row, at) => {
    const groups = (hex(row).match(/.{1,4}/g) ?? []).join(' ');
    const text = ascii ? `  ${' '.repeat(39 - groups.length)}${printable(row)}` : '';
    return `\t0x${at.toString(16).padStart(4, '0')}:  ${groups}${text}`;
  });
}

/** Single bytes with an address before and text behind them, as Frida and Wireshark print them. */
export function byteHex(bytes: Uint8Array, address: (at: number) => string): string {
  return dumpLines(bytes, (row, at) => {
    const pairs = (hex(row).match(/../g) ?? []).join(' ');
    return `${address(at)}  ${pairs.padEnd(47)}  ${printable(row)}`;
  });
}

function dumpLines(bytes: Uint8Array, line: (row: Uint8Array, at: number) => string): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) lines.push(line(bytes.subarray(at, at + 16), at));
  return lines.join('\n');
}

function printable(row: Uint8Array): string {
  return Buffer.from(row)
    .toString('latin1')
    .replace(/[^\x20-\x7e]/g, '.');
}
