import { adtsFormat } from '../adts.ts';

/** RTP packets (RFC 3550) with H.264 (RFC 6184) and AAC (RFC 3640). */

const HEADER_BYTES = 12;

/** Payload of one packet: with all headers below the smallest MTU of tunnels. */
const MAX_PAYLOAD_BYTES = 1_200;

/** Type of a fragmentation unit (RFC 6184 §5.8). */
const FU_A = 28;

const NalType = { sps: 7, pps: 8, delimiter: 9 } as const;

export const VIDEO_CLOCK_HZ = 90_000;
export const VIDEO_PAYLOAD_TYPE = 96;
export const AUDIO_PAYLOAD_TYPE = 97;

/** Splits an Annex-B access unit into its NAL units, without start codes and trailing zeros. */
export function nalUnits(accessUnit: Uint8Array): Uint8Array[] {
  const starts: number[] = [];
  for (let at = 0; at + 2 < accessUnit.length; at++) {
    if (accessUnit[at] === 0 && accessUnit[at + 1] === 0 && accessUnit[at + 2] === 1) {
      starts.push(at + 3);
      at += 2;
    }
  }
  return starts.flatMap((start, n) => {
    let end = starts[n + 1] === undefined ? accessUnit.length : starts[n + 1]! - 3;
    while (end > start && accessUnit[end - 1] === 0) end--;
    return end > start ? [accessUnit.subarray(start, end)] : [];
  });
}

/** Returns the parameter sets of an access unit: what a decoder needs before its first picture. */
export function parameterSets(accessUnit: Uint8Array): { sps: Uint8Array; pps: Uint8Array } | undefined {
  const units = nalUnits(accessUnit);
  const sps = units.find((unit) => (unit[0]! & 31) === NalType.sps && unit.length >= 4);
  const pps = units.find((unit) => (unit[0]! & 31) === NalType.pps);
  return sps && pps ? { sps, pps } : undefined;
}

/** A stream of RTP packets of one source, and its sender reports. */
export class RtpStream {
  readonly ssrc: number;
  readonly payloadType: number;
  readonly clockHz: number;
  #sequence: number;
  readonly #offset: number;
  #packets = 0;
  #octets = 0;

  /** @param random three 32-bit numbers: source, first sequence number, offset of time stamps (RFC 3550 §5.1) */
  constructor(payloadType: number, clockHz: number, random: readonly [number, number, number]) {
    this.payloadType = payloadType;
    this.clockHz = clockHz;
    this.ssrc = random[0] >>> 0;
    this.#sequence = random[1] & 0xffff;
    this.#offset = random[2] >>> 0;
  }

  /** Number of the next packet. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Time stamp of a moment of the stream, ms. */
  stamp(atMs: number): number {
    return (this.#offset + Math.round((atMs * this.clockHz) / 1_000)) % 2 ** 32;
  }

  /** Packets of one H.264 access unit in Annex-B form. */
  h264(accessUnit: Uint8Array, atMs: number): Uint8Array[] {
    const payloads = nalUnits(accessUnit)
      .filter((unit) => (unit[0]! & 31) !== NalType.delimiter)
      .flatMap(fragments);
    return payloads.map((payload, n) => this.#packet(payload, atMs, n === payloads.length - 1));
  }

  /** The packet of one AAC frame in ADTS; empty when it has no data. */
  aac(frame: Uint8Array, atMs: number): Uint8Array[] {
    const data = frame.subarray(adtsFormat(frame).headerBytes);
    if (data.length === 0 || data.length > 0x1fff) return [];
    // One access unit: 16 bits of headers; 13 bits of size, 3 of index.
    const head = Uint8Array.of(0, 16, data.length >> 5, (data.length & 31) << 3);
    return [this.#packet(Buffer.concat([head, data]), atMs, true)];
  }

  /** A sender report with the relation of wall time and time stamps (RFC 3550 §6.4.1), and the source's name. */
  report(wallTimeMs: number, atMs: number): Uint8Array {
    const out = Buffer.alloc(28 + 20);
    const ntpSeconds = Math.floor(wallTimeMs / 1_000) + 2_208_988_800;
    out.writeUInt16BE(0x80c8, 0);
    out.writeUInt16BE(6, 2);
    out.writeUInt32BE(this.ssrc, 4);
    out.writeUInt32BE(ntpSeconds % 2 ** 32, 8);
    out.writeUInt32BE(Math.floor(((wallTimeMs % 1_000) / 1_000) * 2 ** 32), 12);
    out.writeUInt32BE(this.stamp(atMs), 16);
    out.writeUInt32BE(this.#packets % 2 ** 32, 20);
    out.writeUInt32BE(this.#octets % 2 ** 32, 24);
    // Source description with CNAME, padded with zeros to whole words.
    out.writeUInt16BE(0x81ca, 28);
    out.writeUInt16BE(4, 30);
    out.writeUInt32BE(this.ssrc, 32);
    out.writeUInt8(1, 36);
    out.writeUInt8(7, 37);
    out.write('towpath', 38, 'latin1');
    return out;
  }

  #packet(payload: Uint8Array, atMs: number, marker: boolean): Uint8Array {
    const out = Buffer.alloc(HEADER_BYTES + payload.length);
    out[0] = 0x80;
    out[1] = (marker ? 0x80 : 0) | this.payloadType;
    out.writeUInt16BE(this.#sequence, 2);
    out.writeUInt32BE(this.stamp(atMs), 4);
    out.writeUInt32BE(this.ssrc, 8);
    out.set(payload, HEADER_BYTES);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#packets++;
    this.#octets += payload.length;
    return out;
  }
}

/** A NAL unit as it is, or cut into fragmentation units. */
function fragments(unit: Uint8Array): Uint8Array[] {
  if (unit.length <= MAX_PAYLOAD_BYTES) return [unit];
  const header = unit[0]!;
  const pieces: Uint8Array[] = [];
  const size = MAX_PAYLOAD_BYTES - 2;
  for (let at = 1; at < unit.length; at += size) {
    const data = unit.subarray(at, at + size);
    const start = at === 1 ? 0x80 : 0;
    const end = at + size >= unit.length ? 0x40 : 0;
    pieces.push(Buffer.concat([Uint8Array.of((header & 0xe0) | FU_A, start | end | (header & 31)), data]));
  }
  return pieces;
}
