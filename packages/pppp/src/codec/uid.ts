import { readU32, writeU32 } from './bytes.ts';
import { CodecError } from './codec-error.ts';

/** Size of a UID on the wire (docs/protocol/pppp.md, "UID"). */
export const UID_BYTES = 20;

const PREFIX_BYTES = 8;
const CHECK_AT = 12;
const CHECK_BYTES = 8;

/** A field of 8 bytes keeps room for its closing NUL. */
const MAX_TEXT_LENGTH = 7;

const WITH_DASHES = /^([A-Za-z0-9]{1,7})-([0-9]{1,10})-([A-Za-z0-9]{0,7})$/;
const WITHOUT_DASHES = /^([A-Za-z]{1,7})([0-9]{1,10})([A-Za-z]{0,7})$/;

/**
 * Brings what a person typed into the one text form that is used throughout: `PREFIX-000001-CHECK`.
 * Dashes may be missing, small letters become capitals, the serial is padded to six digits. (docs/protocol/pppp.md,
 * "UID")
 * @throws CodecError `uid-invalid`.
 */
export function parseUid(text: string): string {
  const [prefix, serial, check] = split(text.trim().toUpperCase());
  return format(prefix, serial, check);
}

/**
 * Writes the 20 bytes of a UID. `uid` is as {@link parseUid} or a decoder returns it. @throws CodecError `uid-invalid`.
 */
export function writeUid(target: Uint8Array, at: number, uid: string): void {
  const [prefix, serial, check] = split(uid);
  target.fill(0, at, at + UID_BYTES);
  for (let i = 0; i < prefix.length; i++) target[at + i] = prefix.charCodeAt(i);
  writeU32(target, at + PREFIX_BYTES, serial);
  for (let i = 0; i < check.length; i++) target[at + CHECK_AT + i] = check.charCodeAt(i);
}

/** The 20 bytes of a UID. @throws CodecError `uid-invalid`. */
export function encodeUid(uid: string): Uint8Array {
  const out = new Uint8Array(UID_BYTES);
  writeUid(out, 0, uid);
  return out;
}

/**
 * The text form of the UID at `at`, or undefined when there are not 20 bytes or they are no UID (an empty
 * prefix, anything but letters and digits). What follows a field's first NUL is ignored, so that two UIDs
 * are equal when their trimmed prefix, serial and check are.
 */
export function decodeUid(bytes: Uint8Array, at = 0): string | undefined {
  if (bytes.length < at + UID_BYTES) return undefined;
  const prefix = readText(bytes, at, PREFIX_BYTES);
  const check = readText(bytes, at + CHECK_AT, CHECK_BYTES);
  if (!prefix || check === undefined) return undefined;
  return format(prefix, readU32(bytes, at + PREFIX_BYTES), check);
}

function format(prefix: string, serial: number, check: string): string {
  return `${prefix}-${String(serial).padStart(6, '0')}-${check}`;
}

function split(text: string): [prefix: string, serial: number, check: string] {
  const match = WITH_DASHES.exec(text) ?? WITHOUT_DASHES.exec(text);
  const serial = Number(match?.[2]);
  if (!match || serial > 0xffff_ffff) {
    throw new CodecError('uid-invalid', `"${text.slice(0, 40)}" is no UID. Expected the form PREFIX-000001-CHECK.`);
  }
  return [match[1]!, serial, match[3]!];
}

function readText(bytes: Uint8Array, at: number, size: number): string | undefined {
  let text = '';
  for (let i = 0; i < size; i++) {
    const byte = bytes[at + i]!;
    if (byte === 0) break;
    if (i === MAX_TEXT_LENGTH || !isAlphanumeric(byte)) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

function isAlphanumeric(byte: number): boolean {
  return (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39);
}
