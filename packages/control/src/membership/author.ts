import { ControlError } from '../control-error.ts';
import type { SigningKey } from '../identity/keys.ts';
import { peerIdOf } from '../identity/keys.ts';
import type { PartyState } from './party-state.ts';
import {
  encodeBody,
  HASH_BYTES,
  MAX_NAME_BYTES,
  PARTY_AUTHOR,
  type SignedStatement,
  type Statement,
  type StatementContent,
  sealStatement,
  signedBytes,
} from './statement.ts';

/** The public part of a node that speaks about itself. */
export interface NodeKeys {
  readonly signing: SigningKey;
  readonly wireGuardPublicKey: Uint8Array;
}

/** The first statement of a new party. @throws ControlError `invalid-request` when a name cannot be encoded. */
export function authorGenesis(options: {
  partyKey: SigningKey;
  partyName: string;
  founder: NodeKeys;
  founderName: string;
  timeMs: number;
}): SignedStatement {
  const { partyKey, founder } = options;
  checkName(options.partyName);
  checkName(options.founderName);
  const nodeKey = founder.signing.publicKey;
  const statement: Statement = {
    sequence: 0,
    timeMs: options.timeMs,
    previous: new Uint8Array(HASH_BYTES),
    author: peerIdOf(nodeKey),
    content: {
      type: 'genesis',
      partyKey: partyKey.publicKey,
      partyName: options.partyName,
      nodeKey,
      wireGuardKey: founder.wireGuardPublicKey,
      name: options.founderName,
    },
  };
  return signWith(statement, [partyKey, founder.signing]);
}

/** What members say about the party: everything that one signature carries. */
export type MemberContent = Exclude<StatementContent, { type: 'genesis' | 'join' | 'rotate' | 'appoint' }>;

/** The next statement of `state`'s log by the member whose current node key is `signing`. */
export function authorByMember(
  state: PartyState,
  signing: SigningKey,
  content: MemberContent,
  timeMs: number,
): SignedStatement {
  const author = state.memberByKey(signing.publicKey)?.id ?? peerIdOf(signing.publicKey);
  return signWith(next(state, author, content, timeMs), [signing]);
}

/** A node signs itself in with the key of an invite. */
export function authorJoin(
  state: PartyState,
  options: { invite: SigningKey; node: NodeKeys; name: string; timeMs: number },
): SignedStatement {
  const { invite, node, name, timeMs } = options;
  checkName(name);
  const nodeKey = node.signing.publicKey;
  const content: StatementContent = {
    type: 'join',
    inviteKey: invite.publicKey,
    nodeKey,
    wireGuardKey: node.wireGuardPublicKey,
    name,
  };
  return signWith(next(state, peerIdOf(nodeKey), content, timeMs), [invite, node.signing]);
}

/** A member replaces its keys; its id and address stay. */
export function authorRotation(
  state: PartyState,
  options: { from: SigningKey; to: NodeKeys; timeMs: number },
): SignedStatement {
  const { from, to, timeMs } = options;
  const author = state.memberByKey(from.publicKey)?.id ?? peerIdOf(from.publicKey);
  const content: StatementContent = {
    type: 'rotate',
    nodeKey: to.signing.publicKey,
    wireGuardKey: to.wireGuardPublicKey,
  };
  return signWith(next(state, author, content, timeMs), [from, to.signing]);
}

/** The party's key makes `member` the founder. */
export function authorAppointment(
  state: PartyState,
  options: { partyKey: SigningKey; member: string; timeMs: number },
): SignedStatement {
  const content: StatementContent = { type: 'appoint', member: options.member };
  return signWith(next(state, PARTY_AUTHOR, content, options.timeMs), [options.partyKey]);
}

function checkName(name: string): void {
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES && name.isWellFormed()) return;
  throw new ControlError('invalid-request', `A name has ${MAX_NAME_BYTES} bytes at the most: choose a shorter one.`);
}

function next(state: PartyState, author: string, content: StatementContent, timeMs: number): Statement {
  return {
    sequence: state.length,
    // Somebody's clock may run ahead of ours; the order of the log counts, not the clocks.
    timeMs: Math.max(Math.floor(timeMs), state.timeMs),
    previous: state.head?.hash ?? new Uint8Array(HASH_BYTES),
    author,
    content,
  };
}

function signWith(statement: Statement, keys: readonly SigningKey[]): SignedStatement {
  const body = encodeBody(statement);
  const message = signedBytes(body);
  return sealStatement(
    statement,
    body,
    keys.map((key) => key.sign(message)),
  );
}
