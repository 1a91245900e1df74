import type { PathPolicy } from '@towpath/core';
import { addressToBytes, bytesToAddress, type Endpoint, isPort, isUnspecified, addressScope } from '@towpath/net';
import { ByteReader, ByteWriter } from '@towpath/membership';
import type { NatFacts } from '@towpath/stun';
import { decodeNatFacts, encodeNatFacts, NAT_FACTS_BYTES } from './nat-facts.ts';

/** Where a candidate comes from (RFC 8445 §5.1.1); `mapped` by a port mapping protocol. */
export type MeshCandidateType = 'host' | 'server-reflexive' | 'mapped' | 'relayed';

/** An address at which a member can perhaps be reached. */
export interface MeshCandidate {
  readonly type: MeshCandidateType;
  readonly endpoint: Endpoint;
}

/** What members tell each other about their candidates: docs/protocol/mesh.md, "Candidates". */
export interface CandidateSignal {
  /** Chosen at random when the sender's paths to the receiver were opened: a new one says that it began anew. */
  readonly session: number;
  /** The sender wants the receiver's candidates. */
  readonly wantsAnswer: boolean;
  readonly candidates: readonly MeshCandidate[];
  /** What the sender's NAT does; undefined until it was measured. */
  readonly nat?: NatFacts | undefined;
  /** Which paths the sender uses for this pair; undefined from versions that do not tell it. */
  readonly policy?: PathPolicy | undefined;
}

export const MAX_CANDIDATES = 32;
const KIND = 1;
const VERSION = 2;
/** First two bytes of such a signal. */
export const CANDIDATE_SIGNAL: { readonly kind: number; readonly version: number } = { kind: KIND, version: VERSION };
/** By their number in the flags; 0 is not told. Versions that do not know the field read the lowest flag alone. */
const POLICIES: readonly (PathPolicy | undefined)[] = [undefined, 'auto', 'direct-only', 'relay-only', 'lan-only'];
const POLICY_BITS = { shift: 1, mask: 7 } as const;
const TYPES: readonly MeshCandidateType[] = ['host', 'server-reflexive', 'mapped', 'relayed'];

/** Encodes a signal; candidates beyond {@link MAX_CANDIDATES} are left out. */
export function encodeCandidateSignal({ session, wantsAnswer, candidates, nat, policy }: CandidateSignal): Uint8Array {
  const list = candidates.slice(0, MAX_CANDIDATES);
  const out = new ByteWriter()
    .u8(KIND)
    .u8(VERSION)
    .u32(session)
    .u8((wantsAnswer ? 1 : 0) | (POLICIES.indexOf(policy) << POLICY_BITS.shift))
    .raw(encodeNatFacts(nat))
    .u8(list.length);
  for (const { type, endpoint } of list) {
    const bytes = addressToBytes(endpoint.address) ?? new Uint8Array(4);
    out.u8(TYPES.indexOf(type)).u8(bytes.length).raw(bytes).u16(endpoint.port);
  }
  return out.done();
}

/**
 * Reads a signal; undefined when it is none. Candidates that cannot be a member's address (loopback, multicast, port 0) are
 * left out. Never throws.
 */
export function decodeCandidateSignal(bytes: Uint8Array): CandidateSignal | undefined {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== KIND || reader.u8() !== VERSION) return undefined;
  const session = reader.u32();
  const flags = reader.u8();
  const policy = (flags >> POLICY_BITS.shift) & POLICY_BITS.mask;
  if (policy >= POLICIES.length) return undefined;
  const nat = decodeNatFacts(reader.raw(NAT_FACTS_BYTES));
  const count = reader.u8();
  if (count > MAX_CANDIDATES) return undefined;
  const candidates: MeshCandidate[] = [];
  for (let at = 0; at < count; at++) {
    const type = TYPES[reader.u8()];
    const length = reader.u8();
    const address = length === 4 || length === 16 ? bytesToAddress(reader.raw(length)) : undefined;
    const port = reader.u16();
    if (type === undefined || (length !== 4 && length !== 16)) return undefined;
    if (address !== undefined && isPort(port) && isUsable(address))
      candidates.push({ type, endpoint: { address, port } });
  }
  if (reader.failed || reader.left > 0) return undefined;
  return { session, wantsAnswer: (flags & 1) === 1, candidates, nat, policy: POLICIES[policy] };
}

function isUsable(address: string): boolean {
  const scope = addressScope(address);
  return !isUnspecified(address) && scope !== 'loopback' && scope !== 'multicast' && scope !== 'broadcast';
}
