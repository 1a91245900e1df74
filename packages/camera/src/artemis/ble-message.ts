import { z } from 'zod';
import { parseJsonObject } from './json.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/**
 * Messages over Bluetooth LE: wake the camera and receive the credentials of its hotspot.
 * docs/protocol/artemis.md, "Bluetooth".
 */

const HEADER_BYTES = 8;
const START_WIFI_ID = 1;

/** The wake message has 8 bytes and is filled with zeros to the size of one characteristic value. */
const VALUE_BYTES = 20;

/**
 * The observed answer has 72 bytes; the limit allows long names and bounds the memory that an advertiser can claim.
 */
export const MAX_BLE_PAYLOAD_BYTES = 4096;

/** Message `13 57`, id, length, payload. */
export interface BleMessage {
  readonly id: number;
  readonly payload: Uint8Array;
}

/** The hotspot that a woken camera opens. `password` is a secret and must not be logged. */
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

/** Returns the characteristic value that makes the camera start its Wi-Fi. */
export function encodeWakeValue(): Uint8Array {
  const out = new Uint8Array(VALUE_BYTES);
  out.set(encodeBleMessage({ id: START_WIFI_ID, payload: new Uint8Array(0) }), 0);
  return out;
}

/** Reassembles the camera's answer from its notifications. */
export class BleReassembler {
  #held: Uint8Array = new Uint8Array(0);

  /**
   * Takes one notification. @returns the message when complete, undefined while more is needed, a failure when the
   * notification does not begin a message; the next one then begins a new message
   */
  push(value: Uint8Array): Decoded<BleMessage> | undefined {
    const held = new Uint8Array(this.#held.length + value.length);
    held.set(this.#held, 0);
    held.set(value, this.#held.length);
    this.#held = new Uint8Array(0);
    if (held.length >= 2 && (held[0] !== 0x13 || held[1] !== 0x57)) {
      return undecodable('malformed', 'The notification does not begin with 13 57.');
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
    return undecodable('unexpected-fields', 'The fields ret, ssid and pwd are missing or have the wrong type.');
  const { ret, ssid, bssid, pwd } = fields.data;
  if (ret !== 0) return undecodable('refused', `The camera could not start its hotspot (ret ${ret}).`);
  if (ssid === '') return undecodable('unexpected-fields', 'The answer contains no SSID.');
  return decoded({ ssid, bssid, password: pwd });
}
