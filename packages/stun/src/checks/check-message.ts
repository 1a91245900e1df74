import type { Random } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import * as attr from '../message/attributes.ts';
import { reasonOf, type StunErrorCode } from '../message/error-codes.ts';
import { MessageClass, Method } from '../message/header.ts';
import type { IntegrityKey } from '../message/integrity.ts';
import type { StunMessage } from '../message/stun-message.ts';
import { StunWriter } from '../message/stun-writer.ts';

/** Which side decides between the verified pairs (RFC 8445 §2.3). */
export type CheckRole = 'controlling' | 'controlled';

/** What a check says. */
export interface CheckRequest {
  readonly transactionId: Uint8Array;
  /** `remoteUfrag:localUfrag` as the sender sees them (RFC 8445 §7.2.2). */
  readonly username: string;
  readonly priority: number;
  readonly role: CheckRole;
  readonly tieBreaker: bigint;
  /** Only from the controlling side. */
  readonly useCandidate: boolean;
  /** The sender has heard nothing on the pair for so long, ms, although it has sent data. */
  readonly unheardMs?: number | undefined;
}

/** Attributes that a check may carry without being refused. */
const KNOWN: ReadonlySet<number> = new Set(
  [attr.username, attr.messageIntegrity, attr.messageIntegritySha256, attr.priority, attr.useCandidate].map(
    ({ type }) => type,
  ),
);

/** Writes a connectivity check: a signed Binding request (RFC 8445 §7.1). */
export function encodeCheck(check: CheckRequest, key: IntegrityKey): Uint8Array {
  const writer = new StunWriter(MessageClass.Request, Method.Binding, check.transactionId)
    .add(attr.username, check.username)
    .add(attr.priority, check.priority)
    .add(check.role === 'controlling' ? attr.iceControlling : attr.iceControlled, check.tieBreaker)
    .addIf(attr.useCandidate, check.useCandidate && check.role === 'controlling' ? true : undefined)
    .addIf(
      attr.unheardFor,
      check.unheardMs === undefined ? undefined : Math.min(0xffff_ffff, Math.round(check.unheardMs)),
    );
  return writer.integrity(key).fingerprint().finish();
}

/** What a received check says besides its USERNAME, which the demultiplexer has read. */
export interface ReceivedCheck {
  readonly priority: number;
  /** The sender's role; undefined when it did not say. */
  readonly role: CheckRole | undefined;
  readonly tieBreaker: bigint;
  readonly useCandidate: boolean;
  readonly unheardMs: number | undefined;
}

/** Reads a check whose integrity was verified. */
export function readCheck(message: StunMessage): ReceivedCheck {
  const controlling = message.get(attr.iceControlling);
  const controlled = message.get(attr.iceControlled);
  return {
    priority: message.get(attr.priority) ?? 0,
    role: controlling !== undefined ? 'controlling' : controlled !== undefined ? 'controlled' : undefined,
    tieBreaker: controlling ?? controlled ?? 0n,
    useCandidate: message.get(attr.useCandidate) ?? false,
    unheardMs: message.get(attr.unheardFor),
  };
}

/** Comprehension-required attributes of a check that we do not understand (RFC 8489 §6.3.1). */
export function unknownInCheck(message: StunMessage): number[] {
  return message.unknownRequired(KNOWN);
}

/** Signs a Binding success that tells the sender its address (RFC 8445 §7.3.1.2). */
export function signedBindingSuccess(request: StunMessage, from: Endpoint, key: IntegrityKey): Uint8Array {
  return sign(
    new StunWriter(MessageClass.Success, Method.Binding, request.transactionId).add(attr.xorMappedAddress, from),
    request,
    key,
  );
}

/** Signs a Binding error; `unknown` lists the attributes of a 420. */
export function signedBindingError(
  request: StunMessage,
  code: StunErrorCode,
  key: IntegrityKey,
  unknown?: readonly number[],
): Uint8Array {
  const writer = new StunWriter(MessageClass.Error, Method.Binding, request.transactionId)
    .add(attr.errorCode, { code, reason: reasonOf(code) })
    .addIf(attr.unknownAttributes, unknown);
  return sign(writer, request, key);
}

/** Answers with the integrity attribute that the request had (RFC 8489 §9.1.3). */
function sign(writer: StunWriter, request: StunMessage, key: IntegrityKey): Uint8Array {
  return writer
    .integrity(key, request.has(attr.messageIntegritySha256) ? 'sha256' : 'sha1')
    .fingerprint()
    .finish();
}

/** Type preferences of RFC 8445 §5.1.2.2. */
const TYPE_PREFERENCE = { host: 126, 'peer-reflexive': 110, 'server-reflexive': 100, relayed: 0 } as const;

/** How a candidate came to be known (RFC 8445 §4). */
export type CandidateType = keyof typeof TYPE_PREFERENCE;

/** The priority of a candidate (RFC 8445 §5.1.2.1). @param localPreference 0…65535; @param component 1…256 */
export function candidatePriority(type: CandidateType, localPreference = 65_535, component = 1): number {
  return TYPE_PREFERENCE[type] * 2 ** 24 + localPreference * 256 + (256 - component);
}

/** The local preference in a priority (RFC 8445 §5.1.2.1), 0…65535. */
export function localPreferenceIn(priority: number): number {
  return Math.floor(priority / 256) % 65_536;
}

/** A new tie-breaker for role conflicts (RFC 8445 §7.1.3). */
export function randomTieBreaker(random: Random): bigint {
  return Buffer.from(random.bytes(8)).readBigUInt64BE();
}
