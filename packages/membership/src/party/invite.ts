import { createCipheriv, createDecipheriv, hkdfSync, scrypt } from 'node:crypto';
import type { Random } from '@towpath/core';
import { fromBase32, toBase32 } from '../encoding/base32.ts';
import { ByteReader, ByteWriter, fromBase64, toBase64, toHex } from '../encoding/bytes.ts';
import { PartyDataError } from '../party-data-error.ts';
import { ID_BYTES, KEY_BYTES } from '../identity/keys.ts';
import type { LogHead } from './party-state.ts';
import { HASH_BYTES } from './statement.ts';

/** An invite to a party. Everyone who has it can join: treat it as a password. */
export interface Invite {
  readonly partyKey: Uint8Array;
  /** Seed of the key that signs join statements. */
  readonly secret: Uint8Array;
  /** The head of the log when the invite was created: a server that shows less withholds statements. */
  readonly head: LogHead;
  /** URLs of the party's control servers, best first. */
  readonly servers: readonly string[];
}

const INVITE_VERSION = 1;
const LINK_PREFIX = 'towpath://join/';
/** Limits of servers and of an URL's bytes: the link must fit a QR code. */
const MAX_SERVERS = 8;
const MAX_SERVER_BYTES = 200;

/** Formats an invite as a link, for a QR code or a message. */
export function formatInviteLink(invite: Invite): string {
  return LINK_PREFIX + toBase64(encodeInvite(invite));
}

/** @throws PartyDataError `invalid-invite` when `link` is not a complete invite link */
export function parseInviteLink(link: string): Invite {
  const text = link.trim();
  const bytes = text.startsWith(LINK_PREFIX) ? fromBase64(text.slice(LINK_PREFIX.length)) : undefined;
  const invite = bytes && decodeInvite(bytes);
  if (invite === undefined) {
    throw new PartyDataError(
      'invalid-invite',
      'This is not an invite link, or a part of it is missing. Next: copy the whole link.',
    );
  }
  return invite;
}

/** Bytes of a short code: 80 random bits cannot be guessed, not even by the server that stores the sealed invite. */
const CODE_BYTES = 10;

/** Generates a code to type: sixteen letters and digits in groups of four. */
export function generateInviteCode(random: Random): string {
  return toBase32(random.bytes(CODE_BYTES)).replace(/(.{4})(?=.)/g, '$1-');
}

/** True when `text` has the form of a short code. */
export function isInviteCode(text: string): boolean {
  return fromBase32(text)?.length === CODE_BYTES && text.replace(/[\s-]/g, '').length === 16;
}

/** Values derived from a short code: the lookup value for the server, and the key of the sealed invite. */
export interface OpenedCode {
  /** 32 hex digits; does not reveal the key. */
  readonly lookup: string;
  readonly key: Uint8Array;
}

/**
 * Derives the values of a short code. Takes about 50 ms, to slow down guessing.
 * @throws PartyDataError `invalid-invite` when the text does not have the form of a code
 */
export async function openInviteCode(code: string): Promise<OpenedCode> {
  const secret = isInviteCode(code) ? fromBase32(code) : undefined;
  if (secret === undefined) {
    throw new PartyDataError('invalid-invite', 'An invite code has sixteen letters and digits. Next: check the code.');
  }
  const stretched = await new Promise<Uint8Array>((resolve, reject) => {
    scrypt(secret, 'towpath invite code v1', 32, { N: 2 ** 14 }, (error, key) => {
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
  const derive = (label: string, length: number) =>
    new Uint8Array(hkdfSync('sha256', stretched, new Uint8Array(0), `towpath invite ${label}`, length));
  return { lookup: toHex(derive('lookup', ID_BYTES)), key: derive('key', 32) };
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** The largest sealed invite: all server URLs at their longest. */
export const MAX_SEALED_INVITE_BYTES: number =
  1 + 2 * KEY_BYTES + 4 + HASH_BYTES + 1 + MAX_SERVERS * (1 + MAX_SERVER_BYTES) + NONCE_BYTES + TAG_BYTES;

/** Encrypts an invite with the key of a code (AES-256-GCM), for storage on a server. */
export function sealInvite(invite: Invite, code: OpenedCode, random: Random): Uint8Array {
  const nonce = random.bytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', code.key, nonce);
  const sealed = cipher.update(encodeInvite(invite));
  cipher.final();
  return new ByteWriter().raw(nonce).raw(sealed).raw(cipher.getAuthTag()).done();
}

/** @throws PartyDataError `invalid-invite` when `sealed` was not encrypted with this code */
export function unsealInvite(sealed: Uint8Array, code: OpenedCode): Invite {
  const invite = decrypt(sealed, code.key);
  if (invite === undefined) {
    throw new PartyDataError(
      'invalid-invite',
      'Verification failed: the server returned an invite that was not sealed with this code.',
    );
  }
  return invite;
}

function decrypt(sealed: Uint8Array, key: Uint8Array): Invite | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    const plain = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
    decipher.final();
    return decodeInvite(new Uint8Array(plain));
  } catch {
    // A wrong tag throws.
    return undefined;
  }
}

function encodeInvite({ partyKey, secret, head, servers }: Invite): Uint8Array {
  const out = new ByteWriter().u8(INVITE_VERSION).raw(partyKey).raw(secret).u32(head.sequence).raw(head.hash);
  if (servers.length > MAX_SERVERS || servers.some((server) => Buffer.byteLength(server) > MAX_SERVER_BYTES)) {
    throw new PartyDataError(
      'limit-exceeded',
      `An invite holds ${MAX_SERVERS} addresses of ${MAX_SERVER_BYTES} bytes.`,
    );
  }
  out.u8(servers.length);
  for (const server of servers) out.shortText(server);
  return out.done();
}

function decodeInvite(bytes: Uint8Array): Invite | undefined {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== INVITE_VERSION) return undefined;
  const partyKey = reader.raw(KEY_BYTES);
  const secret = reader.raw(KEY_BYTES);
  const head = { sequence: reader.u32(), hash: reader.raw(HASH_BYTES) };
  const count = reader.u8();
  if (count > MAX_SERVERS) return undefined;
  const servers: string[] = [];
  for (let at = 0; at < count && !reader.failed; at++) servers.push(reader.shortText(MAX_SERVER_BYTES));
  return reader.failed || reader.left > 0 ? undefined : { partyKey, secret, head, servers };
}
