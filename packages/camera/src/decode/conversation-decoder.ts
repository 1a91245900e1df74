import type { CapturedPacket, CaptureDirection } from '@towpath/net/capture';
import { CipherSet, DRW_HEADER_BYTES, HEADER_BYTES, MessageType } from '@towpath/pppp/codec';
import type { Frame } from '../artemis/frame.ts';
import { MalformedPackets } from './acknowledgements.ts';
import { BleConversation } from './ble-conversation.ts';
import type { ChannelStream } from './channel-stream.ts';
import { type Connection, Connections } from './connections.ts';
import type { ConversationSummary, DecodedMessage, MessageJson } from './decoded-message.ts';
import { describeFrame, isJpeg } from './describe-frame.ts';
import { DirectionFinder } from './direction-finder.ts';
import type { Fragment } from './fragment-run.ts';
import { Seen } from './index-set.ts';
import { Findings } from './findings.ts';
import { PacketTypes } from './packet-types.ts';
import { streamCounts } from './stream-counts.ts';

const MAGIC = 0xf1;
const SUB_MAGIC = 0xd1;
const OTHER_SUB_MAGIC = 0xd2;

/** The kind of packet that starts or ends a conversation. */
const HANDSHAKE = new Set<number>([MessageType.PUNCH_PKT, MessageType.P2P_RDY, MessageType.CLOSE]);

export interface ConversationDecoderOptions {
  /** Called with each message, while the packet that completes it is being pushed. */
  onMessage: (message: DecodedMessage) => void;
  /**
   * Which endpoint is the camera, where packets do not show it; from a pass over all packets.
   * @default derived from the packets pushed so far
   */
  directions?: DirectionFinder | undefined;
}

/**
 * Decodes captured packets into the conversation between a client and a camera. Besides counters its memory is bounded,
 * independent of the length of the recording: incomplete frames, and fragments whose frame may still begin.
 */
export class ConversationDecoder {
  readonly #onMessage: (message: DecodedMessage) => void;
  readonly #directions: DirectionFinder;
  readonly #observes: boolean;
  readonly #ciphers = new CipherSet();
  readonly #connections: Connections;
  readonly #types = new PacketTypes();
  readonly #ble = new BleConversation();
  readonly #malformedData = new MalformedPackets();
  readonly #malformedAcks = new MalformedPackets();
  readonly #findings = new Findings();
  #record = 0;
  #timeMs: number | undefined;
  #overLimit = 0;
  #summary: ConversationSummary | undefined;

  constructor({ onMessage, directions }: ConversationDecoderOptions) {
    this.#onMessage = onMessage;
    this.#directions = directions ?? new DirectionFinder();
    this.#observes = directions === undefined;
    this.#connections = new Connections({
      onGreeting: (stream, fragment) => this.#greeting(stream, fragment),
      onFrame: (stream, frame, first, last) => this.#frame(stream, frame, first, last),
      onOrphan: (stream, fragment) => this.#findings.orphan(stream, fragment),
      onIncomplete: (stream, header, first, last, have) => this.#findings.incomplete(stream, header, first, last, have),
    });
  }

  /** Takes the next packet. Its `data` must not be changed afterwards. Has no effect after {@link finish}. */
  push(packet: CapturedPacket): void {
    if (this.#summary !== undefined) return;
    this.#record = packet.record;
    this.#timeMs = packet.timeMs;
    if (packet.proto === 'ble') {
      const direction = packet.direction ?? 'rx';
      this.#types.countBle(direction, packet.truncated !== undefined);
      this.#ble.push(packet, direction);
      return;
    }
    const data = this.#clear(packet.data);
    const direction = packet.direction ?? this.#findDirection(packet, data);
    const type = data.length >= HEADER_BYTES && data[0] === MAGIC ? data[1]! : -1;
    this.#types.count(direction, type, packet.truncated !== undefined);
    if (packet.truncated !== undefined) return;
    if (type === MessageType.DRW) this.#drw(packet, direction, data);
    else if (type === MessageType.DRW_ACK) this.#drwAck(packet, direction, data);
    else if (HANDSHAKE.has(type)) this.#connectionOf(packet, direction).handshake = true;
  }

  /** Ends the conversation and reports everything that is left. Returns the same summary on every call. */
  finish(): ConversationSummary {
    this.#summary ??= this.#summarise();
    return this.#summary;
  }

  #clear(data: Uint8Array): Uint8Array {
    return data[0] === MAGIC ? data : (this.#ciphers.open(data)?.clear ?? data);
  }

  #findDirection(packet: CapturedPacket, clear: Uint8Array): CaptureDirection {
    if (this.#observes) this.#directions.observe(packet, clear);
    return this.#directions.direction(packet);
  }

  #connectionOf(packet: CapturedPacket, direction: CaptureDirection): Connection {
    return this.#connections.of(direction === 'tx' ? packet.source : packet.destination);
  }

  #drw(packet: CapturedPacket, direction: CaptureDirection, data: Uint8Array): void {
    const end = Math.min(data.length, HEADER_BYTES + ((data[2]! << 8) | data[3]!));
    if (end <= DRW_HEADER_BYTES || (data[4] !== SUB_MAGIC && data[4] !== OTHER_SUB_MAGIC)) {
      this.#malformedData.add(direction, data);
      return;
    }
    const channel = data[5]!;
    const index = (data[6]! << 8) | data[7]!;
    const payload = data.subarray(DRW_HEADER_BYTES, end);
    let connection = this.#connectionOf(packet, direction);
    let stream = this.#connections.stream(connection, direction, channel);
    let seen = stream?.push(index, payload, packet.record) ?? Seen.overLimit;
    if (seen === Seen.other) {
      // Other data with the same index after a handshake on the same port belongs to another session.
      if (connection.localPort !== undefined && connection.handshake) {
        connection = this.#connections.restart(direction === 'tx' ? packet.source : packet.destination);
        stream = this.#connections.stream(connection, direction, channel);
        seen = stream?.push(index, payload, packet.record) ?? Seen.overLimit;
      } else {
        stream?.countDuplicate();
      }
    }
    if (seen === Seen.overLimit) this.#overLimit++;
    if (seen === Seen.first) connection.handshake = false;
  }

  #drwAck(packet: CapturedPacket, direction: CaptureDirection, data: Uint8Array): void {
    const payloadBytes = (data[2]! << 8) | data[3]!;
    const count = data.length >= DRW_HEADER_BYTES ? (data[6]! << 8) | data[7]! : -1;
    if (count < 0 || payloadBytes !== 4 + 2 * count || data.length < HEADER_BYTES + payloadBytes) {
      this.#malformedAcks.add(direction, data);
      return;
    }
    const acks = this.#connections.acks(this.#connectionOf(packet, direction), direction, data[5]!);
    if (acks === undefined) {
      this.#overLimit++;
      return;
    }
    for (let at = DRW_HEADER_BYTES; at < HEADER_BYTES + payloadBytes; at += 2) {
      acks.add((data[at]! << 8) | data[at + 1]!);
    }
  }

  #greeting({ id }: ChannelStream, fragment: Fragment): void {
    const json: MessageJson = {
      dir: id.direction,
      channel: id.channel,
      index: fragment.index,
      ...(id.localPort === undefined ? {} : { lport: id.localPort }),
      kind: 'connect_ack',
      text: 'ACK',
      record: this.#record,
    };
    this.#onMessage({ json, timeMs: this.#timeMs, connection: id.connection, av: undefined, item: undefined });
  }

  #frame({ id }: ChannelStream, frame: Frame, first: Fragment, last: Fragment): void {
    const json: Omit<MessageJson, 'kind' | 'record'> = {
      dir: id.direction,
      channel: id.channel,
      index: first.index,
      last_index: last.index,
      msgType: frame.type,
      seq: frame.seq,
      length: frame.body.length,
      pad_byte7: frame.pad,
      ...(id.localPort === undefined ? {} : { lport: id.localPort }),
    };
    const { av, item } = describeFrame(json, frame);
    const message = json as MessageJson;
    message.record = this.#record;
    if (av !== undefined) this.#findings.avFrames++;
    if (item !== undefined) this.#findings.item(message, item, isJpeg(item.data));
    this.#onMessage({ json: message, timeMs: this.#timeMs, connection: id.connection, av, item });
  }

  #summarise(): ConversationSummary {
    for (const connection of this.#connections.all) this.#connections.settle(connection);
    const { drw, drwAck } = streamCounts(this.#connections.all);
    this.#malformedData.addTo(drw);
    this.#malformedAcks.addTo(drwAck);
    const ble = this.#ble.summary();
    const { partial, incomplete, orphans, omitted } = this.#findings.sorted();
    const overLimit = this.#overLimit + omitted;
    return {
      ...this.#types.summary(),
      drw,
      drw_ack: drwAck,
      ...(ble === undefined ? {} : { ble }),
      ...(partial.length === 0 ? {} : { partial_plaintext: partial }),
      incomplete,
      orphan_fragments: orphans,
      ...(overLimit === 0 ? {} : { over_limit: overLimit }),
      binary_summary: this.#findings.binary(),
    };
  }
}
