import { type CapturedEndpoint, type CaptureDirection, NO_ENDPOINT } from './captured-packet.ts';
import { FollowStream } from './follow-stream.ts';
import { hexdumpLine, spacedHex } from './hex-text.ts';
import { IpReader } from './ip-reader.ts';
import { ipOffset, LinkType } from './link-layer.ts';
import type { PacketFields, PacketSink } from './packet-sink.ts';
import { TextClock } from './text-clock.ts';
import {
  bleHeader,
  directionIn,
  hexField,
  isTcpdumpHeader,
  isWiresharkFrame,
  peerField,
  sizeIn,
  valueField,
  wiresharkAddresses,
  wiresharkDataSize,
  wiresharkPorts,
  wiresharkSummary,
  wiresharkTime,
} from './text-headers.ts';
import { forEachLine } from './text-lines.ts';

/** Longest packet taken from a hexdump: the longest IP packet and its link header. */
const MAX_DUMP_BYTES = 65_600;

/** Longest value of a Bluetooth LE attribute (Bluetooth Core, part F §3.2.9). */
const MAX_VALUE_BYTES = 512;

/** The size of a packet that is no datagram: an ICMP error, whose details quote the datagram that it is about. */
const NO_PAYLOAD = -1;

/** A packet whose header line was seen and whose bytes are being collected. */
interface Block {
  /**
   * `frame`: bytes begin with an IP or link header; `payload`, `ble`: they are what UDP or Bluetooth carried;
   * `bare`: no line said anything about them.
   */
  kind: 'frame' | 'payload' | 'ble' | 'bare';
  position: number;
  timeMs: number | undefined;
  bytes: number[];
  direction: CaptureDirection | undefined;
  source: CapturedEndpoint;
  destination: CapturedEndpoint;
  sizeBytes: number | undefined;
  characteristic: string | undefined;
}

/**
 * Packets in text: what tcpdump prints with -x, -xx or -X, what Wireshark exports as plain text, what a Frida hook prints
 * (a line with direction and size, then a hexdump), a followed stream, and log lines with `hex=`. All may be in one file.
 */
export function readText(bytes: Uint8Array, sink: PacketSink): void {
  const reader = new TextReader(sink);
  forEachLine(bytes, (line, number) => {
    if (line === undefined) sink.problem('limit-reached', number, 'The line is too long and was left out.');
    else reader.line(line, number);
  });
  reader.finish();
}

class TextReader {
  readonly #sink: PacketSink;
  readonly #ip: IpReader;
  readonly #clock = new TextClock();
  readonly #stream: FollowStream;
  #block: Block | undefined;
  /** A received value that may turn out to be the recording program's own write, seen while it was being set. */
  #heldValue: PacketFields | undefined;
  #withoutBytes = 0;

  constructor(sink: PacketSink) {
    this.#sink = sink;
    this.#ip = new IpReader(sink);
    this.#stream = new FollowStream((packet) =>
      this.#emit({ ...packet, timeMs: undefined, proto: 'udp', truncated: undefined }),
    );
  }

  line(line: string, number: number): void {
    const dumped = hexdumpLine(line);
    if (dumped !== undefined) this.#dumped(dumped, line, number);
    else if (line.trim() === '') this.#gap();
    else if (this.#stream.line(line, number)) this.#endBlock();
    else if (!this.#logLine(line, number) && !this.#wireshark(line, number)) this.#header(line, number);
  }

  finish(): void {
    this.#stream.finish();
    this.#endBlock();
    this.#flushHeld();
    this.#ip.finish();
    if (this.#withoutBytes > 0) {
      this.#sink.problem('bad-line', 0, `${this.#withoutBytes} packets were logged without their bytes.`);
    }
  }

  #dumped(bytes: number[], line: string, number: number): void {
    const before = this.#block;
    if ((before === undefined || before.kind === 'bare') && this.#stream.dumped(line, bytes, number, before)) {
      this.#block = undefined;
      return;
    }
    this.#block ??= newBlock('bare', number, undefined);
    const room = MAX_DUMP_BYTES - this.#block.bytes.length;
    for (let i = 0; i < bytes.length && i < room; i++) this.#block.bytes.push(bytes[i]!);
  }

  /** A blank line ends a dump; before it, it only separates header and dump. */
  #gap(): void {
    if (this.#block !== undefined && this.#block.bytes.length > 0) this.#endBlock();
  }

  #logLine(line: string, number: number): boolean {
    const field = hexField(line);
    if (field === undefined) return false;
    this.#endBlock();
    const direction = directionIn(line);
    const data = Buffer.from(field.hex, 'hex');
    const peer = peerField(line) ?? NO_ENDPOINT;
    this.#emit({
      position: number,
      timeMs: this.#clock.read(line),
      direction,
      source: direction === 'rx' ? peer : NO_ENDPOINT,
      destination: direction === 'rx' ? NO_ENDPOINT : peer,
      data,
      truncated: field.leftOut > 0 ? data.length + field.leftOut : undefined,
    });
    return true;
  }

  #wireshark(line: string, number: number): boolean {
    const summary = wiresharkSummary(line);
    if (summary !== undefined || (isWiresharkFrame(line) && !this.#awaitsDetails())) {
      this.#endBlock();
      this.#sink.startAt(0);
      const seconds = summary?.seconds;
      this.#block = newBlock('frame', number, seconds === undefined ? undefined : seconds * 1000);
      return true;
    }
    const block = this.#block;
    if (block?.kind !== 'frame') return false;
    const seconds = wiresharkTime(line);
    if (seconds !== undefined) {
      block.timeMs = seconds * 1000;
      return true;
    }
    const addresses = wiresharkAddresses(line);
    if (addresses !== undefined) {
      block.source = { address: addresses.source, port: undefined };
      block.destination = { address: addresses.destination, port: undefined };
      return true;
    }
    const ports = wiresharkPorts(line);
    if (ports !== undefined) {
      block.source = { address: block.source.address, port: ports.source };
      block.destination = { address: block.destination.address, port: ports.destination };
      return true;
    }
    if (/^Internet Control Message Protocol/.test(line)) block.sizeBytes = NO_PAYLOAD;
    const size = wiresharkDataSize(line);
    if (size !== undefined && block.sizeBytes !== NO_PAYLOAD) block.sizeBytes = size;
    return size !== undefined;
  }

  /** A summary was seen, and nothing of what it sums up. */
  #awaitsDetails(): boolean {
    return this.#block?.kind === 'frame' && this.#block.bytes.length === 0;
  }

  #header(line: string, number: number): void {
    const ble = bleHeader(line);
    if (ble !== undefined) {
      this.#endBlock();
      this.#block = { ...newBlock('ble', number, this.#clock.read(line)), ...ble };
      return;
    }
    if (this.#block?.kind === 'ble') {
      const value = valueField(line);
      if (value !== undefined) this.#block.bytes.push(...spacedHex(value, MAX_VALUE_BYTES));
      return;
    }
    if (isTcpdumpHeader(line)) {
      this.#endBlock();
      this.#block = newBlock('frame', number, this.#clock.read(line));
      return;
    }
    const direction = directionIn(line);
    const sizeBytes = sizeIn(line);
    if (direction === undefined || sizeBytes === undefined) return;
    this.#endBlock();
    this.#block = { ...newBlock('payload', number, this.#clock.read(line)), direction, sizeBytes };
  }

  #endBlock(): void {
    const block = this.#block;
    this.#block = undefined;
    if (block === undefined) return;
    if (block.bytes.length === 0 || (block.sizeBytes === NO_PAYLOAD && ipStart(Uint8Array.from(block.bytes)) < 0)) {
      // A summary without a dump is how Wireshark prints packets that carry no plain data.
      if (block.kind !== 'frame') this.#withoutBytes++;
      return;
    }
    const bytes = Uint8Array.from(block.bytes);
    const wholeFrame = block.kind === 'frame' && (block.sizeBytes === undefined || bytes.length > block.sizeBytes);
    if (wholeFrame || block.kind === 'bare') {
      const at = ipStart(bytes);
      if (at >= 0) {
        this.#flushHeld();
        this.#sink.startAt(block.timeMs);
        this.#ip.packet(bytes.subarray(at), block.position, block.timeMs);
        return;
      }
      if (wholeFrame) {
        this.#sink.problem('bad-line', block.position, 'The dump is no IP packet.');
        return;
      }
    }
    const size = block.sizeBytes ?? bytes.length;
    this.#emit({
      position: block.position,
      timeMs: block.timeMs,
      direction: block.direction,
      source: block.source,
      destination: block.destination,
      proto: block.kind === 'ble' ? 'ble' : 'udp',
      data: bytes.subarray(0, size),
      truncated: size > bytes.length ? size : undefined,
      characteristic: block.characteristic,
    });
  }

  #emit(fields: PacketFields): void {
    const held = this.#heldValue;
    const ownWrite = held !== undefined && fields.direction === 'tx' && sameValue(held, fields);
    if (ownWrite) this.#heldValue = undefined;
    else this.#flushHeld();
    if (fields.proto === 'ble' && fields.direction === 'rx') this.#heldValue = fields;
    else this.#sink.emit(fields);
  }

  #flushHeld(): void {
    if (this.#heldValue !== undefined) this.#sink.emit(this.#heldValue);
    this.#heldValue = undefined;
  }
}

function sameValue(a: PacketFields, b: PacketFields): boolean {
  return b.proto === 'ble' && a.characteristic === b.characteristic && Buffer.compare(a.data, b.data) === 0;
}

function newBlock(kind: Block['kind'], position: number, timeMs: number | undefined): Block {
  return {
    kind,
    position,
    timeMs,
    bytes: [],
    direction: undefined,
    source: NO_ENDPOINT,
    destination: NO_ENDPOINT,
    sizeBytes: undefined,
    characteristic: undefined,
  };
}

/** Where the IP packet begins in a dump that may or may not show the link header; -1 when nowhere. */
function ipStart(bytes: Uint8Array): number {
  for (const linkType of [LinkType.raw, LinkType.ethernet, LinkType.linuxCooked, LinkType.linuxCooked2]) {
    const at = ipOffset(linkType, bytes);
    if (at >= 0 && looksLikeIp(bytes.subarray(at))) return at;
  }
  return -1;
}

function looksLikeIp(bytes: Uint8Array): boolean {
  if (bytes.length < 20) return false;
  const version = bytes[0]! >>> 4;
  if (version === 6) return bytes.length >= 40 && bytes[0] === 0x60;
  const headerBytes = (bytes[0]! & 0x0f) * 4;
  return version === 4 && headerBytes >= 20 && ((bytes[2]! << 8) | bytes[3]!) >= headerBytes && bytes[8] !== 0;
}
