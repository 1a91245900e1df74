import { type CapturedPacket, type CaptureReport, detectCaptureFormat, readCapture } from '@towpath/net/capture';
import { CipherSet } from '@towpath/pppp/codec';
import { ConversationDecoder } from './conversation-decoder.ts';
import type { ConversationSummary, DecodedMessage, MessageJson } from './decoded-message.ts';
import { DirectionFinder } from './direction-finder.ts';

/** Result of a capture file. */
export interface DecodedCapture {
  /** Format of the file, and problems in it. */
  readonly report: CaptureReport;
  readonly summary: ConversationSummary;
}

/**
 * Decodes a capture file of any format that {@link readCapture} supports. Packets that are neither PPPP (in the clear
 * or with a known key) nor Bluetooth LE are ignored. Never throws.
 * @param bytes the whole file
 * @param onMessage called with each message, in the order of the packets that complete them
 */
export function decodeCapture(bytes: Uint8Array, onMessage: (message: DecodedMessage) => void): DecodedCapture {
  const ciphers = new CipherSet();
  const accept = (packet: CapturedPacket): boolean =>
    packet.proto === 'ble' || ciphers.detect(packet.data) !== undefined;
  const decoder = new ConversationDecoder({ onMessage, directions: findDirections(bytes, accept, ciphers) });
  const report = readCapture(bytes, { accept, onPacket: (packet) => decoder.push(packet) });
  return { report, summary: decoder.finish() };
}

/**
 * Returns the lines of `decode --json`: one object per message, then `{"summary": …}`. All lines are created
 * before the first is returned. The result contains the file's report.
 */
export function* captureJsonLines(bytes: Uint8Array): Generator<string, CaptureReport> {
  const lines: string[] = [];
  const { report, summary } = decodeCapture(bytes, ({ json }) => lines.push(JSON.stringify(json)));
  yield* lines;
  yield JSON.stringify({ summary });
  return report;
}

/** The whole conversation as one object: the summary with its messages. */
export function conversationDocument(bytes: Uint8Array): ConversationSummary & { messages: MessageJson[] } {
  const messages: MessageJson[] = [];
  const { summary } = decodeCapture(bytes, ({ json }) => messages.push(json));
  const { incomplete, orphan_fragments, over_limit, binary_summary, ...before } = summary;
  const over = over_limit === undefined ? {} : { over_limit };
  return { ...before, messages, incomplete, orphan_fragments, ...over, binary_summary };
}

/** Where packets do not show their direction, a first pass finds the camera. */
function findDirections(
  bytes: Uint8Array,
  accept: (packet: CapturedPacket) => boolean,
  ciphers: CipherSet,
): DirectionFinder | undefined {
  if (detectCaptureFormat(bytes) === 'json-lines') return undefined;
  const finder = new DirectionFinder();
  const onPacket = (packet: CapturedPacket): void => {
    if (packet.direction === undefined) finder.observe(packet, ciphers.open(packet.data)?.clear ?? packet.data);
  };
  readCapture(bytes, { accept, onPacket });
  return finder;
}
