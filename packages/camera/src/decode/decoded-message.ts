import type { CaptureDirection } from '@towpath/net/capture';
import type { AvFrame } from '../artemis/av.ts';
import type { JsonObject } from '../artemis/json.ts';
import type { ItemRecord } from '../artemis/record.ts';

/** Kind of a message. `connect_ack` is the camera's greeting, which has no frame header. */
export type MessageKind =
  | 'connect_ack'
  | 'request'
  | 'response'
  | 'event'
  | 'av'
  | 'talk'
  | 'thumbnail'
  | 'file'
  | 'unknown';

/** One message of a recorded conversation as it is printed; the order of the keys is part of the format. */
export interface MessageJson {
  dir: CaptureDirection;
  channel: number;
  /** Index of the DRW in which it begins, and of the one in which it ends. */
  index: number;
  last_index?: number;
  msgType?: number;
  seq?: number;
  /** Bytes after the frame header. */
  length?: number;
  pad_byte7?: number;
  /** The client's UDP port, if the recorder stored it. */
  lport?: number;
  kind: MessageKind;
  text?: string;
  b64_len?: number;
  json_text?: string;
  json?: JsonObject;
  cmdId?: unknown;
  av?: AvJson;
  item?: ItemJson;
  /** The payload does not have the format of its type. */
  decode_error?: true;
  /** The packet that completed it. */
  record: number;
}

/** Sub-header and deciphered data of an audio/video frame. */
export interface AvJson {
  frame_no: number;
  /** Live frames count microseconds, playback frames milliseconds. */
  ts_us?: number;
  ts_ms?: number;
  video_len: number;
  audio_len: number;
  key: number;
  width: number;
  height: number;
  audio_type: number;
  video_type: number;
  check_ok: boolean;
  /** Bytes after the data. */
  trailing: number;
  /** False when the data is longer than the frame; then the two fields below are absent. */
  complete: boolean;
  decrypted_sha256?: string;
  decrypted_head?: string;
}

/** A thumbnail or a file. */
export interface ItemJson {
  dirNum: number;
  mediaNum: number;
  mediaId: number;
  data_len: number;
  data_sha256: string;
  /** Begins and ends like a JPEG. */
  jpeg: boolean;
  /** Files only: the end check is correct. */
  check_ok?: boolean;
}

/** A message and its content. */
export interface DecodedMessage {
  readonly json: MessageJson;
  /** When the packet that completed it was recorded; undefined without timestamps. */
  readonly timeMs: number | undefined;
  /** Number of the connection it belongs to, from 0 in the order in which they appear. */
  readonly connection: number;
  readonly av: AvFrame | undefined;
  readonly item: ItemRecord | undefined;
}

/** A message without its end. */
export interface IncompleteJson {
  dir: CaptureDirection;
  channel: number;
  index: number;
  last_index: number;
  msgType: number;
  seq: number;
  length: number;
  pad_byte7: number;
  lport?: number;
  /** Number of bytes present after the frame header. */
  have: number;
  record: number;
}

/** The payload of a DRW with bytes outside of any message: its beginning is missing, or they are damaged. */
export interface OrphanJson {
  dir: CaptureDirection;
  channel: number;
  index: number;
  len: number;
  sha256: string;
  zeros: boolean;
  ends_jpeg_eoi: boolean;
  record: number;
}

/** Readable part of a response whose beginning is missing. */
export interface PartialTextJson {
  record: number;
  channel: number;
  index: number;
  /** Least number of full fragments before it that explains the alignment of its text. */
  full_fragments_before: number;
  plaintext_tail: string;
}

export interface DrwCounts {
  unique_indices: number;
  first: number;
  last: number;
  missing: number;
  duplicates: number;
  payload_bytes: number;
}

/** Packets whose fields contradict their length, under `dir/malformed`: number of distinct ones. */
export interface MalformedCount {
  distinct: number;
}

export interface DrwAckCounts {
  unique: number;
  min: number;
  max: number;
}

/** Messages over Bluetooth LE. */
export interface BleJson {
  write: string[];
  notifications: number;
  cmd?: number;
  length?: number;
  json?: JsonObject;
}

export interface PictureJson {
  record: number;
  channel: number;
  dirNum: number;
  mediaNum: number;
  len: number;
  sha256: string;
}

/** Everything except the messages; the order of the keys is part of the format. */
export interface ConversationSummary {
  records: number;
  packet_types: { tx: Record<string, number>; rx: Record<string, number> };
  /** Packets that were recorded only in part; absent when there are none. */
  truncated_records?: number;
  /** By `dir/channel`, with the client's port when there is more than one. */
  drw: Record<string, DrwCounts | MalformedCount>;
  drw_ack: Record<string, DrwAckCounts | MalformedCount>;
  ble?: BleJson;
  partial_plaintext?: PartialTextJson[];
  incomplete: IncompleteJson[];
  orphan_fragments: OrphanJson[];
  /** What was omitted because a limit was reached; absent when nothing was. */
  over_limit?: number;
  binary_summary: {
    av_frames_complete: number;
    thumbnail_items_complete: number;
    file_items_complete: number;
    jpeg_complete: PictureJson[];
    jpeg_tail_fragments: number;
  };
}
