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

/** Finds UDP datagrams in IP packets and passes them to the sink. Everything else is ignored. */
export class IpReader {
  readonly #sink: PacketSink;
  readonly #fragments = new FragmentAssembler();
  readonly #copies = new ForwardedCopies();
  readonly #endpoints = new Map<number | string, CapturedEndpoint>();

  constructor(sink: PacketSink) {
    this.#sink = sink;
  }

  /** Reads one IP packet, of either version. @param timeMs on the recorder's clock */
  packet(bytes: Uint8Array, position: number, timeMs: number | undefined): void {
    const version = bytes.length > 0 ? bytes[0]! >>> 4 : 0;
    if (version === 4) this.#ipv4(bytes, position, timeMs);
    else if (version === 6) this.#ipv6(bytes, position, timeMs);
  }

  /** To be called at the end of the file. */
  finish(): void {
    const missing = this.#fragments.openCount + this.#fragments.abandoned;
    if (missing > 0) this.#sink.problem('fragments-missing', 0, `${missing} datagrams lack some of their fragments.`);
  }

  #ipv4(bytes: Uint8Array, position: number, timeMs: number | undefined): void {
    const headerBytes = (bytes[0]! & 0x0f) * 4;
    if (headerBytes < 20 || bytes.length < headerBytes || bytes[9] !== UDP) return;
    // A total length of 0 is what segmentation offload leaves behind; then the packet ends where the record ends.
    const total = u16(bytes, 2) || bytes.length;
    if (total < headerBytes || this.#copies.isCopy(bytes, timeMs)) return;
    const body = bytes.subarray(headerBytes, Math.min(total, bytes.length));
    const missing = Math.max(0, total - bytes.length);
    const flags = u16(bytes, 6);
    const at = (flags & 0x1fff) * 8;
    const more = (flags & 0x2000) !== 0;
    if (!more && at === 0) {
      this.#udp(bytes, body, missing, position, timeMs);
    } else if (missing === 0) {
      const key = Buffer.from(bytes.subarray(12, 20)).toString('latin1') + String(u16(bytes, 4));
      const whole = this.#fragments.add(key, at, body, more);
      if (whole !== undefined) this.#udp(bytes, whole, 0, position, timeMs);
    }
  }

  #ipv6(bytes: Uint8Array, position: number, timeMs: number | undefined): void {
    if (bytes.length < 40) return;
    const end = 40 + u16(bytes, 4);
    const missing = Math.max(0, end - bytes.length);
    const packet = bytes.subarray(0, Math.min(end, bytes.length));
    let next = bytes[6]!;
    let at = 40;
    while (IPV6_OPTIONS.has(next) && at + 8 <= packet.length) {
      next = packet[at]!;
      at += 8 + packet[at + 1]! * 8;
    }
    if (next === UDP) {
      this.#udp(bytes, packet.subarray(at), missing, position, timeMs);
    } else if (next === IPV6_FRAGMENT && at + 8 <= packet.length && packet[at] === UDP && missing === 0) {
      const offset = u16(packet, at + 2);
      const key = Buffer.concat([bytes.subarray(8, 40), packet.subarray(at + 4, at + 8)]).toString('latin1');
      const whole = this.#fragments.add(key, offset & 0xfff8, packet.subarray(at + 8), (offset & 1) !== 0);
      if (whole !== undefined) this.#udp(bytes, whole, 0, position, timeMs);
    }
  }

  /** @param ip the packet whose header has the addresses @param missing bytes that the recorder left out */
  #udp(ip: Uint8Array, datagram: Uint8Array, missing: number, position: number, timeMs: number | undefined): void {
    if (datagram.length < UDP_HEADER_BYTES) {
      this.#sink.problem('damaged', position, `A datagram of ${datagram.length} bytes has no room for its UDP header.`);
      return;
    }
    // 0 is a jumbogram or an offloaded packet; a length beyond the packet is what a small snapshot leaves.
    const said = u16(datagram, 4) || datagram.length + missing;
    const length = Math.max(UDP_HEADER_BYTES, said);
    const data = datagram.subarray(UDP_HEADER_BYTES, length);
    const ipv4 = ip[0]! >>> 4 === 4;
    this.#sink.emit({
      position,
      timeMs,
      source: ipv4 ? this.#endpoint4(ip, 12, u16(datagram, 0)) : this.#endpoint6(ip, 8, u16(datagram, 0)),
      destination: ipv4 ? this.#endpoint4(ip, 16, u16(datagram, 2)) : this.#endpoint6(ip, 24, u16(datagram, 2)),
      data,
      truncated: data.length < length - UDP_HEADER_BYTES ? length - UDP_HEADER_BYTES : undefined,
    });
  }

  #endpoint4(ip: Uint8Array, at: number, port: number): CapturedEndpoint {
    const key = (u16(ip, at) * 65_536 + u16(ip, at + 2)) * 65_536 + port;
    return this.#endpoints.get(key) ?? this.#share(key, ip.subarray(at, at + 4), port);
  }

  #endpoint6(ip: Uint8Array, at: number, port: number): CapturedEndpoint {
    const address = ip.subarray(at, at + 16);
    const key = `${Buffer.from(address).toString('latin1')} ${port}`;
    return this.#endpoints.get(key) ?? this.#share(key, address, port);
  }

  #share(key: number | string, address: Uint8Array, port: number): CapturedEndpoint {
    if (this.#endpoints.size >= MAX_SHARED_ENDPOINTS) this.#endpoints.clear();
    const endpoint = { address: bytesToAddress(address), port };
    this.#endpoints.set(key, endpoint);
    return endpoint;
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
