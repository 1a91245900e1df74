import { ByteReader, ByteWriter, fromHex, toHex } from '../encoding/bytes.ts';
import { ID_BYTES, KEY_BYTES, type PeerId, sha256, SIGNATURE_BYTES } from '../identity/keys.ts';

/** Role of a member; its permissions are in {@link examineStatement}. There is exactly one founder. */
export type Role = 'founder' | 'admin' | 'member';

/** Roles that an invite can give. */
export type InvitedRole = 'admin' | 'member';

/** Content of a statement, without author and time. Keys are raw, 32 bytes. */
export type StatementContent =
  /** The first statement of a party. Signed by the party's key and the founder's node. */
  | {
      type: 'genesis';
      partyKey: Uint8Array;
      partyName: string;
      nodeKey: Uint8Array;
      wireGuardKey: Uint8Array;
      name: string;
    }
  /** The holder of the secret of `inviteKey` may join, `maxUses` times, until `expiresAtMs` (Unix time). */
  | { type: 'invite'; inviteKey: Uint8Array; role: InvitedRole; maxUses: number; expiresAtMs: number }
  | { type: 'revoke-invite'; inviteKey: Uint8Array }
  /** Signed with the invite's key and the joining node's. */
  | { type: 'join'; inviteKey: Uint8Array; nodeKey: Uint8Array; wireGuardKey: Uint8Array; name: string }
  | { type: 'set-role'; member: PeerId; role: InvitedRole }
  /** By an admin or the founder, or by the member itself. */
  | { type: 'remove'; member: PeerId }
  /** New keys for the author. Signed with the old node key and the new one. */
  | { type: 'rotate'; nodeKey: Uint8Array; wireGuardKey: Uint8Array }
  /** The party's key makes `member` the founder; the founder before becomes a plain member. */
  | { type: 'appoint'; member: PeerId }
  /**
   * The party key makes a new node the founder, for a party whose members were all removed; the previous founder
   * becomes a plain member. Signed with the party key and the node key.
   */
  | { type: 'replace-founder'; nodeKey: Uint8Array; wireGuardKey: Uint8Array; name: string }
  /** The author has verified everything before this: see {@link verifyLog}. */
  | { type: 'checkpoint' };

/** One entry of a party's log. */
export interface Statement {
  /** Position in the log, from 0. */
  readonly sequence: number;
  /** The author's wall clock, ms since 1970, never below that of the statement before. */
  readonly timeMs: number;
  /** SHA-256 of the whole statement before; zeros in the first. */
  readonly previous: Uint8Array;
  /** Author; for `appoint` and `replace-founder` the id of zeros: the party key. */
  readonly author: PeerId;
  readonly content: StatementContent;
}

/** A statement as stored in the log. */
export interface SignedStatement extends Statement {
  /** The encoded statement, signatures included. */
  readonly bytes: Uint8Array;
  /** The signed part: see {@link signedBytes}. */
  readonly body: Uint8Array;
  /** One or two, in the order of {@link StatementContent}. */
  readonly signatures: readonly Uint8Array[];
  /** SHA-256 of `bytes`: `previous` of the next statement. */
  readonly hash: Uint8Array;
}

export const STATEMENT_VERSION = 1;
/** The longest statement is a genesis with two names of 64 bytes: 60 + 98 + 65 + 65 + 128 bytes. */
export const MAX_STATEMENT_BYTES = 512;
/** Longest names of members and parties, bytes of UTF-8. */
export const MAX_NAME_BYTES = 64;
/** Bytes of a hash in the chain. */
export const HASH_BYTES = 32;
/** Most uses of one invite. */
export const MAX_INVITE_USES = 65_535;
/** Author of statements of the party key. */
export const PARTY_AUTHOR: PeerId = '0'.repeat(ID_BYTES * 2);

const TYPE_NUMBER: Readonly<Record<StatementContent['type'], number>> = {
  genesis: 0,
  invite: 1,
  'revoke-invite': 2,
  join: 3,
  'set-role': 4,
  remove: 5,
  rotate: 6,
  appoint: 7,
  checkpoint: 8,
  'replace-founder': 9,
};
const TYPE_OF_NUMBER = Object.keys(TYPE_NUMBER) as StatementContent['type'][];
const DOUBLY_SIGNED: ReadonlySet<StatementContent['type']> = new Set(['genesis', 'join', 'rotate', 'replace-founder']);
const ROLE_NUMBER: Readonly<Record<InvitedRole, number>> = { member: 0, admin: 1 };
const SIGNING_DOMAIN = new TextEncoder().encode('towpath statement v1\n');

/**
 * Returns the signed bytes: a fixed text, so that no other signature of Towpath is valid for a statement, and the body.
 */
export function signedBytes(body: Uint8Array): Uint8Array {
  const out = new Uint8Array(SIGNING_DOMAIN.length + body.length);
  out.set(SIGNING_DOMAIN);
  out.set(body, SIGNING_DOMAIN.length);
  return out;
}

/** Returns the number of signatures of a statement of this type. */
export function signatureCount(type: StatementContent['type']): 1 | 2 {
  return DOUBLY_SIGNED.has(type) ? 2 : 1;
}

/**
 * Encodes the body of a statement: everything except the signatures. Integers are big endian.
 *
 * ```
 * offset size
 *  0      1   version, 1
 *  1      1   type: 0 genesis … 9 replace-founder
 *  2      4   sequence
 *  6      6   time, ms since 1970
 * 12     32   SHA-256 of the statement before
 * 44     16   author
 * 60      …   by type, in the order of the fields of StatementContent: keys 32, ids 16, role 1 (0 member,
 *             1 admin), uses 2, times 6, names one byte of length and UTF-8
 * ```
 */
export function encodeBody(statement: Statement): Uint8Array {
  const { content } = statement;
  const out = new ByteWriter()
    .u8(STATEMENT_VERSION)
    .u8(TYPE_NUMBER[content.type])
    .u32(statement.sequence)
    .u48(statement.timeMs)
    .raw(statement.previous)
    .raw(idBytes(statement.author));
  switch (content.type) {
    case 'genesis':
      out.raw(content.partyKey).shortText(content.partyName);
      return out.raw(content.nodeKey).raw(content.wireGuardKey).shortText(content.name).done();
    case 'invite':
      return out
        .raw(content.inviteKey)
        .u8(ROLE_NUMBER[content.role])
        .u16(content.maxUses)
        .u48(content.expiresAtMs)
        .done();
    case 'revoke-invite':
      return out.raw(content.inviteKey).done();
    case 'join':
      return out.raw(content.inviteKey).raw(content.nodeKey).raw(content.wireGuardKey).shortText(content.name).done();
    case 'set-role':
      return out.raw(idBytes(content.member)).u8(ROLE_NUMBER[content.role]).done();
    case 'remove':
    case 'appoint':
      return out.raw(idBytes(content.member)).done();
    case 'rotate':
      return out.raw(content.nodeKey).raw(content.wireGuardKey).done();
    case 'checkpoint':
      return out.done();
    case 'replace-founder':
      return out.raw(content.nodeKey).raw(content.wireGuardKey).shortText(content.name).done();
    default:
      return content satisfies never;
  }
}

/** Combines a body and its signatures to an entry of the log. */
export function sealStatement(statement: Statement, body: Uint8Array, signatures: Uint8Array[]): SignedStatement {
  const out = new ByteWriter().raw(body);
  for (const signature of signatures) out.raw(signature);
  const bytes = out.done();
  return { ...statement, bytes, body, signatures, hash: sha256(bytes) };
}

/** Why bytes are not a valid statement. */
export type StatementDecodeFailure = 'too-long' | 'truncated' | 'unknown-version' | 'unknown-type' | 'not-canonical';

/** Decodes one entry of the log. Checks its form only; {@link examineStatement} checks its content. */
export function decodeStatement(
  bytes: Uint8Array,
): { ok: true; statement: SignedStatement } | { ok: false; failure: StatementDecodeFailure } {
  if (bytes.length > MAX_STATEMENT_BYTES) return { ok: false, failure: 'too-long' };
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  const type = TYPE_OF_NUMBER[reader.u8()];
  if (reader.failed) return { ok: false, failure: 'truncated' };
  if (version !== STATEMENT_VERSION) return { ok: false, failure: 'unknown-version' };
  if (type === undefined) return { ok: false, failure: 'unknown-type' };
  const sequence = reader.u32();
  const timeMs = reader.u48();
  const previous = reader.raw(HASH_BYTES);
  const author = toHex(reader.raw(ID_BYTES));
  const content = readContent(type, reader);
  const bodyLength = bytes.length - reader.left;
  const signatures = [reader.raw(SIGNATURE_BYTES)];
  if (signatureCount(type) === 2) signatures.push(reader.raw(SIGNATURE_BYTES));
  if (reader.failed) return { ok: false, failure: 'truncated' };
  if (reader.left > 0 || content === undefined) return { ok: false, failure: 'not-canonical' };
  const own = new Uint8Array(bytes);
  return {
    ok: true,
    statement: {
      sequence,
      timeMs,
      previous,
      author,
      content,
      bytes: own,
      body: own.subarray(0, bodyLength),
      signatures,
      hash: sha256(own),
    },
  };
}

/** Undefined for a value that no encoder writes. */
function readContent(type: StatementContent['type'], reader: ByteReader): StatementContent | undefined {
  switch (type) {
    case 'genesis': {
      const partyKey = reader.raw(KEY_BYTES);
      const partyName = reader.shortText(MAX_NAME_BYTES);
      const nodeKey = reader.raw(KEY_BYTES);
      const wireGuardKey = reader.raw(KEY_BYTES);
      return { type, partyKey, partyName, nodeKey, wireGuardKey, name: reader.shortText(MAX_NAME_BYTES) };
    }
    case 'invite': {
      const inviteKey = reader.raw(KEY_BYTES);
      const role = roleOf(reader.u8());
      const maxUses = reader.u16();
      const expiresAtMs = reader.u48();
      return role && { type, inviteKey, role, maxUses, expiresAtMs };
    }
    case 'revoke-invite':
      return { type, inviteKey: reader.raw(KEY_BYTES) };
    case 'join': {
      const inviteKey = reader.raw(KEY_BYTES);
      const nodeKey = reader.raw(KEY_BYTES);
      const wireGuardKey = reader.raw(KEY_BYTES);
      return { type, inviteKey, nodeKey, wireGuardKey, name: reader.shortText(MAX_NAME_BYTES) };
    }
    case 'set-role': {
      const member = toHex(reader.raw(ID_BYTES));
      const role = roleOf(reader.u8());
      return role && { type, member, role };
    }
    case 'remove':
    case 'appoint':
      return { type, member: toHex(reader.raw(ID_BYTES)) };
    case 'rotate': {
      const nodeKey = reader.raw(KEY_BYTES);
      return { type, nodeKey, wireGuardKey: reader.raw(KEY_BYTES) };
    }
    case 'checkpoint':
      return { type };
    case 'replace-founder': {
      const nodeKey = reader.raw(KEY_BYTES);
      const wireGuardKey = reader.raw(KEY_BYTES);
      return { type, nodeKey, wireGuardKey, name: reader.shortText(MAX_NAME_BYTES) };
    }
    default:
      return type satisfies never;
  }
}

function roleOf(number: number): InvitedRole | undefined {
  if (number === ROLE_NUMBER.member) return 'member';
  return number === ROLE_NUMBER.admin ? 'admin' : undefined;
}

function idBytes(id: PeerId): Uint8Array {
  return fromHex(id, ID_BYTES) ?? new Uint8Array(ID_BYTES);
}
