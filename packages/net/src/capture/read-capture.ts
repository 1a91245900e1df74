import type { CapturedPacket, CaptureFormat, CaptureProblem } from './captured-packet.ts';
import { readJsonLines } from './json-lines-reader.ts';
import { PacketSink } from './packet-sink.ts';
import { isPcap, readPcap } from './pcap-reader.ts';
import { isPcapng, readPcapng } from './pcapng-reader.ts';
import { utf16Order } from './text-lines.ts';
import { readText } from './text-reader.ts';

/** How far into a file its format is looked for: banners of the programs that write text stand before the packets. */
const SAMPLE_BYTES = 4096;

export interface ReadCaptureOptions {
  /** Called for each packet, in the order of the file. */
  onPacket: (packet: CapturedPacket) => void;
  /**
   * Which packets of a recording of everything are meant; the others get no number. Not asked for JSON lines, whose
   * author chose the packets and numbered them by line. @default all
   */
  accept?: ((packet: CapturedPacket) => boolean) | undefined;
}

/** What a capture file was, beside its packets. */
export interface CaptureReport {
  readonly format: CaptureFormat;
  /** Packets delivered. */
  readonly packets: number;
  /** Packets that the filter refused. */
  readonly foreign: number;
  /** At most {@link MAX_PROBLEMS} of them. */
  readonly problems: readonly CaptureProblem[];
  /** All of them. */
  readonly problemCount: number;
}

/** Tells the format from the first bytes. */
export function detectCaptureFormat(bytes: Uint8Array): CaptureFormat {
  if (isPcap(bytes)) return 'pcap';
  if (isPcapng(bytes)) return 'pcapng';
  const order = utf16Order(bytes);
  const sample = bytes.subarray(0, Math.min(SAMPLE_BYTES, bytes.length - (bytes.length % 2 && order ? 1 : 0)));
  if (order === undefined && sample.includes(0)) return 'unknown';
  const raw = Buffer.from(sample);
  if (order === 'big') raw.swap16();
  const text = raw.toString(order === undefined ? 'utf8' : 'utf16le').replace(/^\uFEFF/, '');
  if (text.trim() === '') return 'unknown';
  return text.trimStart().startsWith('{') ? 'json-lines' : 'text';
}

/**
 * Reads a capture file of any format that {@link detectCaptureFormat} knows and hands on its datagrams and Bluetooth
 * values. Damaged and truncated files are read as far as they go; nothing that stands in a file makes it throw, and
 * besides the file no more is held than a few open fragments.
 * @param bytes the whole file; packets may be views of it
 */
export function readCapture(bytes: Uint8Array, options: ReadCaptureOptions): CaptureReport {
  const sink = new PacketSink(options.onPacket, options.accept);
  const format = detectCaptureFormat(bytes);
  if (format === 'pcap') readPcap(bytes, sink);
  else if (format === 'pcapng') readPcapng(bytes, sink);
  else if (format === 'json-lines') readJsonLines(bytes, sink);
  else if (format === 'text') readText(bytes, sink);
  if (format === 'unknown' || (format === 'text' && sink.packets + sink.foreign === 0)) {
    const formats = 'pcap, pcapng, JSON lines, hexdumps of tcpdump, Wireshark and Frida, log lines with hex=';
    sink.problem('unknown-format', 0, `No packets were recognised. Formats that are read: ${formats}.`);
  }
  const { packets, foreign, problems, problemCount } = sink;
  return { format, packets, foreign, problems, problemCount };
}
