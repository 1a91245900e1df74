import { ByteReader, ByteWriter, concatBytes, fromHex } from '../encoding/bytes.ts';
import {
  ID_BYTES,
  type PartyId,
  type PeerId,
  SIGNATURE_BYTES,
  type SignatureVerifier,
  type SigningKey,
  verifySignatureInPool,
} from '../identity/keys.ts';
import type { LogHead, Member } from './party-state.ts';
import { HASH_BYTES } from './statement.ts';

/** A member's announcement to its party: how to reach it, and its head. */
export interface Announcement {
  /** The member's clock, ms since 1970; a later announcement replaces an earlier one. */
  readonly timeMs: number;
  readonly head: LogHead;
  /** Candidates for the other members. The control plane does not parse them. */
  readonly data: Uint8Array;
}

/** Room for twice the candidates of a node with many interfaces. */
export const MAX_ANNOUNCEMENT_DATA_BYTES = 4_096;
/**
 * Older announcements are refused when they are first received, ms: connected members announce again at least every
 * hour, so an older one is a replay.
 */
export const MAX_ANNOUNCEMENT_AGE_MS: number = 3 * 3_600_000;
const VERSION = 1;
const HEADER_BYTES = 1 + 6 + 4 + HASH_BYTES;
/** The longest announcement on the wire. */
export const MAX_ANNOUNCEMENT_BYTES: number = HEADER_BYTES + MAX_ANNOUNCEMENT_DATA_BYTES + SIGNATURE_BYTES;
const DOMAIN = new TextEncoder().encode('towpath announcement v1\n');

/**
 * Signs an announcement with the member's node key, for one party.
 *
 * ```
 * 0 1 version · 1 6 time · 7 4 sequence of the head · 11 32 hash of the head · 43 … data · end 64 signature
 * ```
 * The signature covers a fixed text, party id, member id and everything before it.
 */
export function signAnnouncement(
  announcement: Announcement,
  about: { party: PartyId; peer: PeerId; key: SigningKey },
): Uint8Array {
  const { timeMs, head, data } = announcement;
  const body = new ByteWriter().u8(VERSION).u48(timeMs).u32(head.sequence).raw(head.hash).raw(data).done();
  return concatBytes(body, about.key.sign(signed(about.party, about.peer, body)));
}

/** Returns the version of an announcement that this program does not read; undefined for one that it does. */
export function foreignAnnouncementVersion(bytes: Uint8Array): number | undefined {
  return bytes[0] === VERSION ? undefined : bytes[0];
}

/** Verifies an announcement; undefined when it is malformed or was signed by another key. */
export async function openAnnouncement(
  bytes: Uint8Array,
  about: { party: PartyId; member: Member },
  verify: SignatureVerifier = verifySignatureInPool,
): Promise<Announcement | undefined> {
  if (bytes.length < HEADER_BYTES + SIGNATURE_BYTES || bytes.length > MAX_ANNOUNCEMENT_BYTES) return undefined;
  const body = bytes.subarray(0, -SIGNATURE_BYTES);
  const reader = new ByteReader(body);
  if (reader.u8() !== VERSION) return undefined;
  const timeMs = reader.u48();
  const head = { sequence: reader.u32(), hash: reader.raw(HASH_BYTES) };
  const data = reader.raw(reader.left);
  const message = signed(about.party, about.member.id, body);
  const genuine = await verify(about.member.nodeKey, message, bytes.subarray(-SIGNATURE_BYTES));
  return genuine ? { timeMs, head, data } : undefined;
}

function signed(party: PartyId, peer: PeerId, body: Uint8Array): Uint8Array {
  const empty = new Uint8Array(ID_BYTES);
  return concatBytes(DOMAIN, fromHex(party, ID_BYTES) ?? empty, fromHex(peer, ID_BYTES) ?? empty, body);
}
