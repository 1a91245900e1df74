import { type JsonObject, parseJsonObject } from './json.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/**
 * A message of channel 6: JSON in clear, then a NUL. Only `evtId` 4 was observed. docs/protocol/artemis.md, "Events".
 */
export interface CameraEvent {
  readonly evtId: number;
  /** All fields of the message. */
  readonly fields: JsonObject;
}

/** Encodes the body of an event frame. */
export function encodeEvent(fields: JsonObject): Uint8Array {
  return Buffer.from(`${JSON.stringify(fields)}\0`, 'utf8');
}

export function decodeEvent(body: Uint8Array): Decoded<CameraEvent> {
  const nul = body.indexOf(0);
  const end = nul < 0 ? body.length : nul;
  const json = parseJsonObject(Buffer.from(body.buffer, body.byteOffset, end).toString('utf8'));
  if (!json.ok) return json;
  const { evtId } = json.value;
  if (typeof evtId !== 'number') return undecodable('unexpected-fields', 'The event has no numeric evtId.');
  return decoded({ evtId, fields: json.value });
}
