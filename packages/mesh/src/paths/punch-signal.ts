import { ByteReader, ByteWriter } from '@towpath/membership';
import { addressToBytes, bytesToAddress, type Endpoint, isPort } from '@towpath/net';

/** What members tell each other in an attack on hard NATs: docs/protocol/mesh.md, "Punching". */
export interface PunchSignal {
  /**
   * - `predicted`: the sender's NAT has just given out `endpoint.port`, the next ports are `step` apart
   * - `predicted-reply`: the same, in answer to `predicted`
   * - `search`: many ports of `endpoint.address` are open; the receiver searches for one
   */
  readonly type: 'predicted' | 'predicted-reply' | 'search';
  readonly endpoint: Endpoint;
  readonly step: number;
}

const KIND = 2;
const VERSION = 1;
/** First two bytes of such a signal. */
export const PUNCH_SIGNAL: { readonly kind: number; readonly version: number } = { kind: KIND, version: VERSION };
const TYPES: readonly PunchSignal['type'][] = ['predicted', 'predicted-reply', 'search'];
/** Steps are between -MAX_STEP and MAX_STEP. */
const MAX_STEP = 32;

/** Encodes a signal. */
export function encodePunchSignal({ type, endpoint, step }: PunchSignal): Uint8Array {
  const address = addressToBytes(endpoint.address) ?? new Uint8Array(4);
  return new ByteWriter()
    .u8(KIND)
    .u8(VERSION)
    .u8(TYPES.indexOf(type))
    .u8(step + 128)
    .u16(endpoint.port)
    .u8(address.length)
    .raw(address)
    .done();
}

/** Reads a signal; undefined when it is none. Never throws. */
export function decodePunchSignal(bytes: Uint8Array): PunchSignal | undefined {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== KIND || reader.u8() !== VERSION) return undefined;
  const type = TYPES[reader.u8()];
  const step = reader.u8() - 128;
  const port = reader.u16();
  const length = reader.u8();
  if (length !== 4 && length !== 16) return undefined;
  const address = bytesToAddress(reader.raw(length));
  if (reader.failed || reader.left > 0 || type === undefined || address === undefined) return undefined;
  if (!isPort(port) || Math.abs(step) > MAX_STEP) return undefined;
  return { type, endpoint: { address, port }, step };
}
