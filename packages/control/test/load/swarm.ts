import { type Clock, type Random, SystemClock, SystemRandom } from '@towpath/core';
import { WebSocket } from 'ws';
import {
  authorByMember,
  authorGenesis,
  authorJoin,
  commitStatement,
  generateSigningKey,
  generateWireGuardKey,
  type NodeKeys,
  PartyState,
  type SignedStatement,
  toBase64,
} from '@towpath/membership';
import { authorityOf, NONCE_BYTES, signRequest } from '../../src/wire/request-signing.ts';

export const clock: SystemClock = new SystemClock();
const random: SystemRandom = new SystemRandom();

/** A party made in memory, with the keys of all its members. */
export interface LoadParty {
  readonly id: string;
  readonly state: PartyState;
  readonly nodes: readonly NodeKeys[];
  readonly statements: readonly SignedStatement[];
}

function newNode(random: Random): NodeKeys {
  return { signing: generateSigningKey(random), wireGuardPublicKey: generateWireGuardKey(random).publicKey };
}

export function makeParty(members: number, world: { clock: Clock; random: Random } = { clock, random }): LoadParty {
  const { clock, random } = world;
  const partyKey = generateSigningKey(random);
  const state = new PartyState(partyKey.publicKey);
  const nodes = Array.from({ length: members }, () => newNode(random));
  const statements: SignedStatement[] = [];
  const add = (statement: SignedStatement) => {
    statements.push(statement);
    commitStatement(state, statement);
  };
  const founder = nodes[0]!;
  add(authorGenesis({ partyKey, partyName: 'load', founder, founderName: 'n0', timeMs: clock.wallTime() }));
  const invite = generateSigningKey(random);
  const content = { type: 'invite' as const, inviteKey: invite.publicKey, role: 'member' as const, maxUses: 65_000 };
  add(authorByMember(state, founder.signing, { ...content, expiresAtMs: clock.wallTime() + 9e6 }, clock.wallTime()));
  for (const [at, node] of nodes.entries()) {
    if (at > 0) add(authorJoin(state, { invite, node, name: `n${at}`, timeMs: clock.wallTime() }));
  }
  return { id: state.id, state, nodes, statements };
}

/** A signed request. @returns the status. */
export async function send(
  address: string,
  node: NodeKeys,
  method: string,
  path: string,
  body: unknown,
): Promise<number> {
  const text = JSON.stringify(body);
  const parts = { method, path, body: new TextEncoder().encode(text) };
  const headers = signRequest(node.signing, parts, {
    server: authorityOf(new URL(address)),
    timeMs: clock.wallTime(),
    nonce: random.bytes(NONCE_BYTES),
  });
  const answer = await fetch(address + path, {
    method,
    headers: { ...headers, 'content-type': 'application/json' },
    body: text,
  });
  await answer.arrayBuffer();
  return answer.status;
}

export function postStatement(
  address: string,
  by: NodeKeys,
  party: string,
  statement: SignedStatement,
): Promise<number> {
  const path = statement.sequence === 0 ? '/v1/parties' : `/v1/parties/${party}/statements`;
  return send(address, by, 'POST', path, { statement: toBase64(statement.bytes) });
}

/** Opens a node's WebSocket. */
export function connect(address: string, node: NodeKeys): Promise<WebSocket> {
  const parts = { method: 'GET', path: '/v1/socket', body: new Uint8Array(0) };
  const headers = signRequest(node.signing, parts, {
    server: authorityOf(new URL(address)),
    timeMs: clock.wallTime(),
    nonce: random.bytes(NONCE_BYTES),
  });
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${address.replace('http', 'ws')}/v1/socket`, { headers, perMessageDeflate: false });
    socket.on('open', () => resolve(socket));
    socket.on('error', reject);
  });
}

/** Runs `work` over `items`, `width` at a time. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T, at: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const kind = async () => {
    for (let at = next++; at < items.length; at = next++) await work(items[at]!, at);
  };
  await Promise.all(Array.from({ length: width }, kind));
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
