import { z } from 'zod';
import { parseJsonObject } from './json.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/** What the camera speaks over Bluetooth LE before there is a Wi-Fi: wake it, and be told its hotspot. spec/artemis.md §12. */

const HEADER_BYTES = 8;
const START_WIFI_ID = 1;

/** The wake write is the 8-byte message, filled with zeros to the size of one characteristic value. */
const VALUE_BYTES = 20;

/** The answer seen has 72 bytes; this leaves room for long names and bounds what a stranger's advertiser can make us hold. */
export const MAX_BLE_PAYLOAD_BYTES = 4096;

/** Message `13 57`, id, length, payload. */
export interface BleMessage {
  readonly id: number;
  readonly payload: Uint8Array;
}

/** The hotspot that a woken camera opens. `password` is a secret: never log it. */
export interface HotspotCredentials {
  readonly ssid: string;
  readonly password: string;
  /** MAC address of the hotspot in text form. */
  readonly bssid: string | undefined;
}

export function encodeBleMessage({ id, payload }: BleMessage): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(out.buffer);
  view.setUint16(0, 0x5713, true);
  view.setUint16(2, id, true);
  view.setUint32(4, payload.length, true);
  out.set(payload, HEADER_BYTES);
  return out;
}

/** The value to write to the camera's characteristic so that it starts its Wi-Fi. */
export function encodeWakeValue(): Uint8Array {
  const out = new Uint8Array(VALUE_BYTES);
  out.set(encodeBleMessage({ id: START_WIFI_ID, payload: new Uint8Array(0) }), 0);
  return out;
}

/** Puts the camera's answer together from its notifications. */
export class BleReassembler {
  #held: Uint8Array = new Uint8Array(0);

  /**
   * Takes one notification. Returns the message when it is complete, undefined while more is needed, and a failure
   * (after which it starts afresh) when the notification begins no message.
   */
  push(value: Uint8Array): Decoded<BleMessage> | undefined {
    const held = new Uint8Array(this.#held.length + value.length);
    held.set(this.#held, 0);
    held.set(value, this.#held.length);
    this.#held = new Uint8Array(0);
    if (held.length >= 2 && (held[0] !== 0x13 || held[1] !== 0x57)) {
      return undecodable('malformed', 'A notification that does not begin with 13 57.');
    }
    if (held.length < HEADER_BYTES) {
      this.#held = held;
      return undefined;
    }
    const view = new DataView(held.buffer);
    const length = view.getUint32(4, true);
    if (length > MAX_BLE_PAYLOAD_BYTES) {
      return undecodable('too-long', `A message of ${length} bytes; the limit is ${MAX_BLE_PAYLOAD_BYTES}.`);
    }
    if (held.length < HEADER_BYTES + length) {
      this.#held = held;
      return undefined;
    }
    return decoded({ id: view.getUint16(2, true), payload: held.slice(HEADER_BYTES, HEADER_BYTES + length) });
  }
}

const credentialsSchema = z.object({
  ret: z.number(),
  ssid: z.string().max(32).default(''),
  bssid: z.string().optional(),
  pwd: z.string().max(63).default(''),
});

/** Reads the answer to the wake message: the hotspot's name and password. */
export function decodeHotspotCredentials(message: BleMessage): Decoded<HotspotCredentials> {
  const json = parseJsonObject(Buffer.from(message.payload).toString('utf8').replace(/\0+$/, ''));
  if (!json.ok) return json;
  const fields = credentialsSchema.safeParse(json.value);
  if (!fields.success)
    return undecodable('unexpected-fields', 'The fields ret, ssid and pwd are not what they should be.');
  const { ret, ssid, bssid, pwd } = fields.data;
  if (ret !== 0) return undecodable('refused', `The camera could not start its hotspot (ret ${ret}).`);
  if (ssid === '') return undecodable('unexpected-fields', 'The answer names no hotspot.');
  return decoded({ ssid, bssid, password: pwd });
}
