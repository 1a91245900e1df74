import { type CapturedEndpoint, type CapturedPacket, type CaptureDirection, PcapWriter } from '@towpath/net/capture';
import { ConversationDecoder } from '../src/decode/conversation-decoder.ts';
import type { ConversationSummary, DecodedMessage, MessageJson } from '../src/decode/decoded-message.ts';

/** Packets and recordings that the tests make up; addresses of RFC 5737. */

export const CLIENT: CapturedEndpoint = { address: '192.0.2.20', port: 50_000 };
export const CAMERA: CapturedEndpoint = { address: '192.0.2.1', port: 41_000 };

export function drw(channel: number, index: number, data: Uint8Array): Uint8Array {
  const length = data.length + 4;
  return Buffer.concat([Buffer.from([0xf1, 0xd0, length >> 8, length, 0xd1, channel, index >> 8, index]), data]);
}

export function drwAck(channel: number, ...indices: number[]): Uint8Array {
  const bytes = [0xf1, 0xd1, 0, 4 + 2 * indices.length, 0xd1, channel, indices.length >> 8, indices.length];
  return Uint8Array.from([...bytes, ...indices.flatMap((index) => [index >> 8, index & 0xff])]);
}

/** Cuts a stream of bytes into DRWs of at most `size` bytes. */
export function drws(channel: number, stream: Uint8Array, size = 1024, firstIndex = 0): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += size) {
    out.push(drw(channel, (firstIndex + out.length) & 0xffff, stream.subarray(at, at + size)));
  }
  return out;
}

export interface Sent {
  dir: CaptureDirection;
  data: Uint8Array;
  client?: CapturedEndpoint;
}

export function packet({ dir, data, client = CLIENT }: Sent, record: number): CapturedPacket {
  return {
    record,
    position: record,
    timeMs: record * 10,
    direction: dir,
    source: dir === 'tx' ? client : CAMERA,
    destination: dir === 'tx' ? CAMERA : client,
    proto: 'udp',
    data,
    truncated: undefined,
    characteristic: undefined,
  };
}

export function rx(...datagrams: Uint8Array[]): Sent[] {
  return datagrams.map((data) => ({ dir: 'rx', data }));
}

export function tx(...datagrams: Uint8Array[]): Sent[] {
  return datagrams.map((data) => ({ dir: 'tx', data }));
}

export interface Decoded {
  messages: MessageJson[];
  decoded: DecodedMessage[];
  summary: ConversationSummary;
}

export function decode(sent: readonly Sent[]): Decoded {
  const decoded: DecodedMessage[] = [];
  const decoder = new ConversationDecoder({ onMessage: (message) => decoded.push(message) });
  sent.forEach((one, at) => {
    decoder.push(packet(one, at + 1));
  });
  const summary = decoder.finish();
  return { decoded, messages: decoded.map(({ json }) => json), summary };
}

/** The same packets in a pcap file, which does not say who sent them. */
export function asPcap(sent: readonly Sent[]): Uint8Array {
  const writer = new PcapWriter({ linkType: 'raw' });
  const endpoint = ({ address, port }: CapturedEndpoint) => ({
    address: address ?? '192.0.2.20',
    port: port ?? 50_000,
  });
  const records = sent.map(({ dir, data, client = CLIENT }, at) => {
    const [source, destination] = dir === 'tx' ? [client, CAMERA] : [CAMERA, client];
    const timeMs = 1_700_000_000_000 + at;
    return writer.record({ timeMs, source: endpoint(source), destination: endpoint(destination), data });
  });
  return Buffer.concat([writer.header(), ...records]);
}
