import { bytesToAddress } from '../address/ip.ts';
import type { CapturedEndpoint } from './captured-packet.ts';
import { ForwardedCopies } from './forwarded-copies.ts';
import { FragmentAssembler } from './fragments.ts';
import type { PacketSink } from './packet-sink.ts';

const UDP = 17;
const UDP_HEADER_BYTES = 8;

/** Extension headers of IPv6 that may stand before UDP and have a length in their second byte. */
const IPV6_OPTIONS = new Set([0, 43, 60, 135]);
const IPV6_FRAGMENT = 44;

/** Endpoint objects shared between packets; cleared when a recording has more. */
const MAX_SHARED_ENDPOINTS = 4096;

/** Finds UDP datagrams in IP packets and hands them to the sink. Everything else is passed over. */
export class IpReader {
  readonly #sink: PacketSink;
  readonly #fragments = new FragmentAssembler();
  readonly #copies = new ForwardedCopies();
  readonly #endpoints = new Map<string, CapturedEndpoint>();

  constructor(sink: PacketSink) {
    this.#sink = sink;
  }

  /**
   * Reads one IP packet, of either version.
   * @param timeMs on the recorder's clock
   * @returns false when the bytes are no IP packet
   */
  packet(bytes: Uint8Array, position: number, timeMs: number | undefined): boolean {
    const version = bytes.length > 0 ? bytes[0]! >>> 4 : 0;
    if (version === 4) return this.#ipv4(bytes, position, timeMs);
    if (version === 6) return this.#ipv6(bytes, position, timeMs);
    return false;
  }

  /** To be called at the end of the file. */
  finish(): void {
    const missing = this.#fragments.openCount + this.#fragments.abandoned;
    if (missing > 0) this.#sink.problem('fragments-missing', 0, `${missing} datagrams lack some of their fragments.`);
  }

  #ipv4(bytes: Uint8Array, position: number, timeMs: number | undefined): boolean {
    const headerBytes = (bytes[0]! & 0x0f) * 4;
    if (headerBytes < 20 || bytes.length < headerBytes) return false;
    // A total length of 0 is what segmentation offload leaves behind; then the packet ends where the record ends.
    const total = u16(bytes, 2) || bytes.length;
    if (total < headerBytes) return false;
    if (bytes[9] !== UDP) return true;
    const body = bytes.subarray(headerBytes, Math.min(total, bytes.length));
    const missing = Math.max(0, total - bytes.length);
    const flags = u16(bytes, 6);
    const at = (flags & 0x1fff) * 8;
    const more = (flags & 0x2000) !== 0;
    if (this.#copies.isCopy(bytes, at, timeMs)) return true;
    if (!more && at === 0) {
      this.#udp(body, missing, position, timeMs, addressAt(bytes, 12, 4), addressAt(bytes, 16, 4));
      return true;
    }
    if (missing > 0) return true;
    const from = addressAt(bytes, 12, 4);
    const to = addressAt(bytes, 16, 4);
    const whole = this.#fragments.add(`${from} ${to} ${u16(bytes, 4)}`, at, body, more);
    if (whole !== undefined) this.#udp(whole, 0, position, timeMs, from, to);
    return true;
  }

  #ipv6(bytes: Uint8Array, position: number, timeMs: number | undefined): boolean {
    if (bytes.length < 40) return false;
    const end = 40 + u16(bytes, 4);
    const missing = Math.max(0, end - bytes.length);
    const packet = bytes.subarray(0, Math.min(end, bytes.length));
    let next = bytes[6]!;
    let at = 40;
    while (IPV6_OPTIONS.has(next) && at + 8 <= packet.length) {
      next = packet[at]!;
      at += 8 + packet[at + 1]! * 8;
    }
    const from = addressAt(bytes, 8, 16);
    const to = addressAt(bytes, 24, 16);
    if (next === UDP) {
      this.#udp(packet.subarray(at), missing, position, timeMs, from, to);
    } else if (next === IPV6_FRAGMENT && at + 8 <= packet.length && packet[at] === UDP && missing === 0) {
      const offset = u16(packet, at + 2);
      const id = u16(packet, at + 4) * 65_536 + u16(packet, at + 6);
      const body = packet.subarray(at + 8);
      const whole = this.#fragments.add(`${from} ${to} ${id}`, offset & 0xfff8, body, (offset & 1) !== 0);
      if (whole !== undefined) this.#udp(whole, 0, position, timeMs, from, to);
    }
    return true;
  }

  #udp(
    datagram: Uint8Array,
    missing: number,
    position: number,
    timeMs: number | undefined,
    from: string,
    to: string,
  ): void {
    if (datagram.length < UDP_HEADER_BYTES) {
      this.#sink.problem('damaged', position, `A datagram of ${datagram.length} bytes has no room for its UDP header.`);
      return;
    }
    // 0 is a jumbogram or an offloaded packet; a length beyond the packet is what a small snapshot leaves.
    const said = u16(datagram, 4) || datagram.length + missing;
    const length = Math.max(UDP_HEADER_BYTES, said);
    const data = datagram.subarray(UDP_HEADER_BYTES, length);
    this.#sink.emit({
      position,
      timeMs,
      source: this.#endpoint(from, u16(datagram, 0)),
      destination: this.#endpoint(to, u16(datagram, 2)),
      data,
      truncated: data.length < length - UDP_HEADER_BYTES ? length - UDP_HEADER_BYTES : undefined,
    });
  }

  #endpoint(address: string, port: number): CapturedEndpoint {
    const key = `${address} ${port}`;
    let endpoint = this.#endpoints.get(key);
    if (endpoint === undefined) {
      if (this.#endpoints.size >= MAX_SHARED_ENDPOINTS) this.#endpoints.clear();
      endpoint = { address, port };
      this.#endpoints.set(key, endpoint);
    }
    return endpoint;
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function addressAt(bytes: Uint8Array, at: number, length: 4 | 16): string {
  if (length === 4) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
  return bytesToAddress(bytes.subarray(at, at + length)) ?? '';
}
