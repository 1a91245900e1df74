import { createHmac, timingSafeEqual } from 'node:crypto';
import { fromBase32, generateInviteCode, isInviteCode, sha256, toBase64, toHex } from '@towpath/membership';
import type { Random } from '@towpath/core';
import { ControlError } from '../control-error.ts';

const text = (value: string) => new TextEncoder().encode(value);
const KEY_DOMAIN = text('towpath setup key v1\n');
const LOOKUP_DOMAIN = text('towpath setup lookup v1\n');
const PROOF_DOMAIN = text('towpath setup proof v1\n');
/** Bytes of a proof in base64url: HMAC-SHA-256. */
export const SETUP_PROOF_BYTES = 32;

/** A code to type, as short codes of invites: 80 random bits. */
export function generateSetupCode(random: Random): string {
  return generateInviteCode(random);
}

/** What a server keeps of a setup code, and files it under. @throws ControlError `invalid-request`. */
export function openSetupCode(code: string): { lookup: string; key: Uint8Array } {
  const secret = isInviteCode(code) ? fromBase32(code) : undefined;
  if (secret === undefined) {
    throw new ControlError(
      'invalid-request',
      'A setup code has sixteen letters and digits. Next: check for typing errors.',
    );
  }
  const key = sha256(KEY_DOMAIN, secret);
  return { lookup: toHex(sha256(LOOKUP_DOMAIN, key)).slice(0, 32), key };
}

/** Proves knowledge of a setup code for one genesis statement: whoever reads it can create no other party with it. */
export function proveSetupCode(key: Uint8Array, genesis: Uint8Array): string {
  return toBase64(createHmac('sha256', key).update(PROOF_DOMAIN).update(genesis).digest());
}

export function isSetupProof(key: Uint8Array, genesis: Uint8Array, proof: string): boolean {
  const [given, expected] = [text(proof), text(proveSetupCode(key, genesis))];
  return given.length === expected.length && timingSafeEqual(given, expected);
}
