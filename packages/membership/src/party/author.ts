import { PartyDataError } from '../party-data-error.ts';
import type { SigningKey } from '../identity/keys.ts';
import { peerIdOf } from '../identity/keys.ts';
import { dateText, latestAcceptableMs } from './clock-skew.ts';
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

/** The public part of a node's identity. */
export interface NodeKeys {
  readonly signing: SigningKey;
  readonly wireGuardPublicKey: Uint8Array;
}

/**
 * Creates the first statement of a new party. @throws PartyDataError `invalid-request` when a name cannot be encoded.
 */
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

/** Contents that members sign with one signature. */
export type MemberContent = Exclude<
  StatementContent,
  { type: 'genesis' | 'join' | 'rotate' | 'appoint' | 'replace-founder' }
>;

/** Creates the next statement of `state`'s log by the member whose current node key is `signing`. */
export function authorByMember(
  state: PartyState,
  signing: SigningKey,
  content: MemberContent,
  timeMs: number,
): SignedStatement {
  const author = state.memberByKey(signing.publicKey)?.id ?? peerIdOf(signing.publicKey);
  return signWith(next(state, author, content, timeMs), [signing]);
}

/** Creates the join statement of a node, signed with the key of an invite. */
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

/** Creates the rotation of a member's keys; its id and address stay. */
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

/** Creates the appointment of `member` as founder, signed with the party key. */
export function authorAppointment(
  state: PartyState,
  options: { partyKey: SigningKey; member: string; timeMs: number },
): SignedStatement {
  const content: StatementContent = { type: 'appoint', member: options.member };
  return signWith(next(state, PARTY_AUTHOR, content, options.timeMs), [options.partyKey]);
}

/** Creates the statement that makes a node that is not a member the founder, signed with the party key. */
export function authorFounderReplacement(
  state: PartyState,
  options: { partyKey: SigningKey; node: NodeKeys; name: string; timeMs: number },
): SignedStatement {
  const { partyKey, node, name, timeMs } = options;
  checkName(name);
  const content: StatementContent = {
    type: 'replace-founder',
    nodeKey: node.signing.publicKey,
    wireGuardKey: node.wireGuardPublicKey,
    name,
  };
  return signWith(next(state, PARTY_AUTHOR, content, timeMs), [partyKey, node.signing]);
}

function checkName(name: string): void {
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES && name.isWellFormed()) return;
  throw new PartyDataError(
    'invalid-request',
    `A name has at most ${MAX_NAME_BYTES} bytes. Next: choose a shorter one.`,
  );
}

/**
 * @throws PartyDataError `clock-skew` when the statement would have to be dated far ahead of `timeMs`, this node's
 * clock.
 */
function next(state: PartyState, author: string, content: StatementContent, timeMs: number): Statement {
  if (state.timeMs > latestAcceptableMs(timeMs)) {
    throw new PartyDataError(
      'clock-skew',
      `The newest entry of the party's log is dated ${dateText(state.timeMs)}, this machine's clock says ${dateText(timeMs)}. ` +
        "Nothing was signed. Next: set this machine's clock.",
    );
  }
  return {
    sequence: state.length,
    // Another member's clock may be a little ahead; dates never go back along the log.
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
