import { TowpathError } from '@towpath/core';
import { addressToBytes } from '../address/ip.ts';
import type { Endpoint } from '../endpoint.ts';
import { LinkType } from './link-layer.ts';

const ETHERNET_BYTES = 14;
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const UDP_HEADER_BYTES = 8;
const RECORD_HEADER_BYTES = 16;
const HOP_LIMIT = 64;
const UDP = 17;

/** What fits a UDP datagram over IPv4: 65,535 less both headers. */
export const MAX_UDP_PAYLOAD_BYTES = 65_507;

export type CaptureErrorCode = 'bad-address' | 'payload-too-long';

/** A packet that no capture file can hold. */
export class CaptureError extends TowpathError<CaptureErrorCode> {}

export interface PcapWriterOptions {
  /** `raw` leaves out the Ethernet header. @default 'ethernet' */
  linkType?: 'ethernet' | 'raw';
  /** @default 'us' */
  precision?: 'us' | 'ns';
}

/** A datagram to be written. */
export interface PcapPacket {
  /** Milliseconds since 1970, with fractions. */
  timeMs: number;
  source: Endpoint;
  destination: Endpoint;
  /** The UDP payload. */
  data: Uint8Array;
}

/**
 * Makes a pcap file of UDP datagrams: little-endian, IPv4 or IPv6 with correct checksums, so that Wireshark reads it.
 * Write {@link PcapWriter.header} first, then the records in any number.
 */
export class PcapWriter {
  readonly #ethernet: boolean;
  readonly #nanoseconds: boolean;

  constructor({ linkType = 'ethernet', precision = 'us' }: PcapWriterOptions = {}) {
    this.#ethernet = linkType === 'ethernet';
    this.#nanoseconds = precision === 'ns';
  }

  /** The 24 bytes at the beginning of the file. */
  header(): Uint8Array {
    const out = new Uint8Array(24);
    const view = new DataView(out.buffer);
    view.setUint32(0, this.#nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, true);
    view.setUint16(4, 2, true);
    view.setUint16(6, 4, true);
    view.setUint32(16, 262_144, true);
    view.setUint32(20, this.#ethernet ? LinkType.ethernet : LinkType.raw, true);
    return out;
  }

  /**
   * One record, headers included.
   * @throws CaptureError `bad-address` when an address is no IP address or the two are of different families,
   *   `payload-too-long` beyond {@link MAX_UDP_PAYLOAD_BYTES}
   */
  record(packet: PcapPacket): Uint8Array {
    const source = addressToBytes(packet.source.address);
    const destination = addressToBytes(packet.destination.address);
    if (source === undefined || destination === undefined || source.length !== destination.length) {
      const pair = `${packet.source.address} and ${packet.destination.address}`;
      throw new CaptureError('bad-address', `${pair} are not two IP addresses of one family.`);
    }
    if (packet.data.length > MAX_UDP_PAYLOAD_BYTES) {
      const message = `${packet.data.length} bytes do not fit a datagram; ${MAX_UDP_PAYLOAD_BYTES} do.`;
      throw new CaptureError('payload-too-long', message);
    }
    const linkBytes = this.#ethernet ? ETHERNET_BYTES : 0;
    const ipBytes = source.length === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    const frameBytes = linkBytes + ipBytes + UDP_HEADER_BYTES + packet.data.length;
    const out = new Uint8Array(RECORD_HEADER_BYTES + frameBytes);
    this.#recordHeader(out, packet.timeMs, frameBytes);
    const frame = out.subarray(RECORD_HEADER_BYTES);
    if (this.#ethernet) writeEthernet(frame, source, destination);
    const ip = frame.subarray(linkBytes);
    if (source.length === 4) writeIpv4(ip, source, destination);
    else writeIpv6(ip, source, destination);
    writeUdp(ip.subarray(ipBytes), packet, source, destination);
    return out;
  }

  #recordHeader(out: Uint8Array, timeMs: number, frameBytes: number): void {
    const perMs = this.#nanoseconds ? 1_000_000 : 1000;
    let seconds = Math.floor(timeMs / 1000);
    let fraction = Math.round((timeMs - seconds * 1000) * perMs);
    if (fraction >= 1000 * perMs) {
      fraction = 0;
      seconds++;
    }
    const view = new DataView(out.buffer);
    view.setUint32(0, seconds, true);
    view.setUint32(4, fraction, true);
    view.setUint32(8, frameBytes, true);
    view.setUint32(12, frameBytes, true);
  }
}

/** Locally administered MAC addresses that end like the IP addresses. */
function writeEthernet(frame: Uint8Array, source: Uint8Array, destination: Uint8Array): void {
  frame.set([0x02, 0x00], 0);
  frame.set(destination.subarray(-4), 2);
  frame.set([0x02, 0x00], 6);
  frame.set(source.subarray(-4), 8);
  frame.set(source.length === 4 ? [0x08, 0x00] : [0x86, 0xdd], 12);
}

function writeIpv4(ip: Uint8Array, source: Uint8Array, destination: Uint8Array): void {
  ip[0] = 0x45;
  writeU16(ip, 2, ip.length);
  ip[8] = HOP_LIMIT;
  ip[9] = UDP;
  ip.set(source, 12);
  ip.set(destination, 16);
  writeU16(ip, 10, checksum(sum(ip.subarray(0, IPV4_HEADER_BYTES))));
}

function writeIpv6(ip: Uint8Array, source: Uint8Array, destination: Uint8Array): void {
  ip[0] = 0x60;
  writeU16(ip, 4, ip.length - IPV6_HEADER_BYTES);
  ip[6] = UDP;
  ip[7] = HOP_LIMIT;
  ip.set(source, 8);
  ip.set(destination, 24);
}

/** RFC 768; the checksum covers the addresses as well, and 0 is written as its equal 0xffff. */
function writeUdp(udp: Uint8Array, packet: PcapPacket, source: Uint8Array, destination: Uint8Array): void {
  writeU16(udp, 0, packet.source.port);
  writeU16(udp, 2, packet.destination.port);
  writeU16(udp, 4, udp.length);
  udp.set(packet.data, UDP_HEADER_BYTES);
  writeU16(udp, 6, checksum(sum(source) + sum(destination) + UDP + udp.length + sum(udp)) || 0xffff);
}

/** Sum of the 16-bit words, the last byte filled up with zero (RFC 1071). */
function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  if (bytes.length % 2 === 1) total += bytes[bytes.length - 1]! << 8;
  return total;
}

function checksum(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}
