import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  authorAppointment,
  authorFounderReplacement,
  authorRotation,
  decodeStatement,
  encodeBody,
  fromBase32,
  fromBase64,
  fromHex,
  MAX_STATEMENT_BYTES,
  type Statement,
  type StatementContent,
  toBase64,
  toHex,
  verifyLog,
} from '../src/index.ts';
import { toBase32 } from '../src/encoding/base32.ts';
import { TestParty, testNode } from './party-fixture.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const id = bytes(16).map(toHex);
const name = fc
  .string({ minLength: 1, maxLength: 20, unit: 'grapheme' })
  .filter((text) => Buffer.byteLength(text) <= 64);
const role = fc.constantFrom('admin' as const, 'member' as const);
const time = fc.nat({ max: 2 ** 48 - 1 });
const content: fc.Arbitrary<StatementContent> = fc.oneof(
  fc.record({
    type: fc.constant('genesis' as const),
    partyKey: bytes(32),
    partyName: name,
    nodeKey: bytes(32),
    wireGuardKey: bytes(32),
    name,
  }),
  fc.record({
    type: fc.constant('invite' as const),
    inviteKey: bytes(32),
    role,
    maxUses: fc.nat({ max: 65_535 }),
    expiresAtMs: time,
  }),
  fc.record({ type: fc.constant('revoke-invite' as const), inviteKey: bytes(32) }),
  fc.record({
    type: fc.constant('join' as const),
    inviteKey: bytes(32),
    nodeKey: bytes(32),
    wireGuardKey: bytes(32),
    name,
  }),
  fc.record({ type: fc.constant('set-role' as const), member: id, role }),
  fc.record({ type: fc.constantFrom('remove' as const, 'appoint' as const), member: id }),
  fc.record({ type: fc.constant('rotate' as const), nodeKey: bytes(32), wireGuardKey: bytes(32) }),
  fc.record({ type: fc.constant('checkpoint' as const) }),
  fc.record({ type: fc.constant('replace-founder' as const), nodeKey: bytes(32), wireGuardKey: bytes(32), name }),
);
const statement: fc.Arbitrary<Statement> = fc.record({
  sequence: fc.nat({ max: 2 ** 32 - 1 }),
  timeMs: time,
  previous: bytes(32),
  author: id,
  content,
});

/** A party in which every kind of statement occurs once, from seeds: the committed vectors. */
function vectorParty(): TestParty {
  const party = new TestParty();
  const [ada, ben] = [testNode(2, 'Ada'), testNode(3, 'Bèn')];
  const invite = party.invite(10, { maxUses: 2 });
  party.join(ada, invite);
  party.join(ben, invite);
  party.append(party.founder, { type: 'set-role', member: ada.id, role: 'admin' });
  party.append(ada, { type: 'checkpoint' });
  party.append(ada, { type: 'revoke-invite', inviteKey: invite.publicKey });
  party.add(authorRotation(party.state, { from: ben.signing, to: testNode(4), timeMs: ++party.timeMs }));
  party.add(authorAppointment(party.state, { partyKey: party.key, member: ada.id, timeMs: ++party.timeMs }));
  party.append(ada, { type: 'remove', member: ben.id });
  const dan = { partyKey: party.key, node: testNode(5), name: 'Dan', timeMs: ++party.timeMs };
  party.add(authorFounderReplacement(party.state, dan));
  return party;
}

describe('statement encoding', () => {
  test('reads back every statement that it writes (C12)', () => {
    fc.assert(
      fc.property(statement, (original) => {
        const twice = ['genesis', 'join', 'rotate', 'replace-founder'].includes(original.content.type);
        const body = encodeBody(original);
        const encoded = Buffer.concat([body, new Uint8Array(twice ? 128 : 64)]);
        expect(encoded.length).toBeLessThanOrEqual(MAX_STATEMENT_BYTES);
        const decoded = decodeStatement(encoded);
        expect(decoded).toMatchObject({ ok: true, statement: original });
        // One meaning, one encoding.
        if (decoded.ok) expect(toHex(encodeBody(decoded.statement))).toBe(toHex(body));
      }),
      { numRuns: 300 },
    );
  });

  test('answers hostile bytes with a failure and never throws', () => {
    const log = vectorParty().statements;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (random) => {
        const result = decodeStatement(random);
        expect(typeof result.ok).toBe('boolean');
      }),
    );
    fc.assert(
      fc.property(fc.nat({ max: log.length - 1 }), fc.nat(), fc.nat({ max: 255 }), (which, where, value) => {
        const altered = log[which]!.slice();
        altered[where % altered.length] = value;
        const result = decodeStatement(altered);
        // Whatever is still readable encodes to the very same bytes: nothing is ignored.
        if (result.ok) expect(toHex(encodeBody(result.statement))).toBe(toHex(result.statement.body));
      }),
    );
    for (const whole of log) {
      for (let length = 0; length < whole.length; length++) {
        expect(decodeStatement(whole.subarray(0, length)).ok).toBe(false);
      }
      expect(decodeStatement(Buffer.concat([whole, new Uint8Array(1)])).ok).toBe(false);
    }
    expect(decodeStatement(new Uint8Array(MAX_STATEMENT_BYTES + 1))).toEqual({ ok: false, failure: 'too-long' });
    expect(decodeStatement(new Uint8Array([2, 0]))).toEqual({ ok: false, failure: 'unknown-version' });
    expect(decodeStatement(new Uint8Array([1, 10]))).toEqual({ ok: false, failure: 'unknown-type' });
  });

  test('agrees with the committed vectors, which verify from the party key alone (C12)', () => {
    const party = vectorParty();
    const vectors = JSON.parse(readFileSync(new URL('fixtures/statements.json', import.meta.url), 'utf8'));
    expect({
      partyKey: toHex(party.key.publicKey),
      partyId: party.state.id,
      statements: party.statements.map(toHex),
      headHash: toHex(party.state.head!.hash),
      members: [...party.state.members.values()].map(({ id, name, role, virtualAddress }) => ({
        id,
        name,
        role,
        virtualAddress,
      })),
    }).toEqual({ ...vectors, about: undefined });
    const verdict = verifyLog(
      fromHex(vectors.partyKey, 32)!,
      vectors.statements.map((hex: string) => Buffer.from(hex, 'hex')),
    );
    expect(verdict.ok).toBe(true);
    expect(toHex(verdict.state.head!.hash)).toBe(vectors.headHash);
  });
});

describe('text encodings', () => {
  test('base32 survives case, dashes and letters that look like digits', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (raw) => {
        const text = toBase32(raw);
        const typed = text
          .toLowerCase()
          .replace(/1/g, 'l')
          .replace(/0/g, 'o')
          .replace(/(.{4})/g, '$1-');
        expect(fromBase32(typed)).toEqual(raw);
      }),
    );
    expect(fromBase32('U')).toBeUndefined();
  });

  test('base64url and hex have one text for each value', () => {
    expect(fromBase64(toBase64(new Uint8Array([250, 251])))).toEqual(new Uint8Array([250, 251]));
    expect(fromBase64('+vs')).toBeUndefined();
    expect(fromBase64('-vv')).toBeUndefined();
    expect(fromBase64('-vs', 3)).toBeUndefined();
    expect(fromHex('0aFF', 2)).toBeUndefined();
    expect(fromHex('0aff', 2)).toEqual(new Uint8Array([10, 255]));
  });
});
