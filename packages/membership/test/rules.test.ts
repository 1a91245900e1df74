import { describe, expect, test } from 'vitest';
import {
  authorAppointment,
  authorByMember,
  authorFounderReplacement,
  authorJoin,
  authorRotation,
  examineStatement,
  extendLog,
  generateSigningKey,
  PartyState,
  replayLog,
  type SignedStatement,
  type SigningKey,
  type StatementReason,
  verifyLog,
  verifyLogInPool,
  virtualAddressFor,
} from '../src/index.ts';
import { MAX_ADDRESSES } from '../src/party/address.ts';
import { MAX_LOG_STATEMENTS, roomInLog } from '../src/party/rules.ts';
import { SeededRandom } from '@towpath/core';
import { TestParty, testNode } from './party-fixture.ts';

/** What every way of verifying says about the log, which must be the same. */
async function verdictOf(party: TestParty, more: readonly SignedStatement[] = []) {
  const log = [...party.statements, ...more.map((statement) => statement.bytes)];
  const verdict = verifyLog(party.key.publicKey, log);
  const reason = verdict.ok ? 'ok' : verdict.failure.reason;
  const inPool = await verifyLogInPool(party.key.publicKey, log);
  expect(inPool.ok ? 'ok' : inPool.failure.reason).toBe(reason);
  expect(inPool.state.head).toEqual(verdict.state.head);
  return verdict;
}

async function expectRefused(party: TestParty, statement: SignedStatement, reason: StatementReason) {
  const verdict = await verdictOf(party, [statement]);
  expect(verdict).toMatchObject({ ok: false, failure: { sequence: party.statements.length, reason } });
  if (!verdict.ok) expect(verdict.failure.message).toContain(`Statement ${party.statements.length} `);
  expect(verdict.state.head).toEqual(party.state.head);
  const extended = await extendLog(verifyLog(party.key.publicKey, party.statements).state, [statement.bytes]);
  expect(extended).toMatchObject({ ok: false, failure: { reason } });
}

/** A founder, an admin (Ada), two members (Ben, Cleo) and the invite that they came with. */
function peopledParty() {
  const party = new TestParty();
  const [ada, ben, cleo] = [testNode(2, 'Ada'), testNode(3, 'Ben'), testNode(4, 'Cleo')];
  const invite = party.invite(10);
  for (const node of [ada, ben, cleo]) party.join(node, invite);
  party.append(party.founder, { type: 'set-role', member: ada.id, role: 'admin' });
  return { party, ada, ben, cleo, invite };
}

describe('a party', () => {
  test('is verified by anybody from its key alone, in one go and in the pool (C12)', async () => {
    const { party, ada, ben } = peopledParty();
    const verdict = await verdictOf(party);
    expect(verdict.ok).toBe(true);
    expect(verdict.state.members.get(ada.id)).toMatchObject({ name: 'Ada', role: 'admin' });
    expect(verdict.state.memberByKey(ben.signing.publicKey)?.wireGuardKey).toEqual(ben.wireGuardPublicKey);
    expect(verdict.state.founder).toBe(party.founder.id);
  });

  test('of another key is refused: the server cannot swap the whole party (C12)', async () => {
    const { party } = peopledParty();
    const other = generateSigningKey(new SeededRandom(5)).publicKey;
    expect(verifyLog(other, party.statements)).toMatchObject({ ok: false, failure: { reason: 'wrong-genesis' } });
  });

  test('lets the founder and admins invite, but only the founder invite admins and set roles (C12)', async () => {
    const { party, ada, ben } = peopledParty();
    const inviteKey = generateSigningKey(new SeededRandom(77)).publicKey;
    const content = { type: 'invite' as const, inviteKey, maxUses: 1, expiresAtMs: party.timeMs + 1000 };
    expect((await verdictOf(party, [party.draft(ada, { ...content, role: 'member' })])).ok).toBe(true);
    expect((await verdictOf(party, [party.draft(party.founder, { ...content, role: 'admin' })])).ok).toBe(true);
    await expectRefused(party, party.draft(ada, { ...content, role: 'admin' }), 'not-allowed');
    await expectRefused(party, party.draft(ben, { ...content, role: 'member' }), 'not-allowed');
    await expectRefused(party, party.draft(ada, { type: 'set-role', member: ben.id, role: 'admin' }), 'not-allowed');
    await expectRefused(party, party.draft(ben, { type: 'checkpoint' }), 'not-allowed');
    await expectRefused(party, party.draft(ben, { type: 'revoke-invite', inviteKey }), 'not-allowed');
    await expectRefused(party, party.draft(ada, { type: 'revoke-invite', inviteKey }), 'unknown-invite');
    await expectRefused(
      party,
      party.draft(party.founder, { type: 'set-role', member: party.founder.id, role: 'member' }),
      'not-allowed',
    );
    await expectRefused(party, party.draft(ada, { ...content, role: 'member', maxUses: 0 }), 'not-canonical');
  });

  test('removes by rank: members leave, admins remove members, the founder anybody, nobody the founder (C12)', async () => {
    const { party, ada, ben, cleo } = peopledParty();
    const remove = (member: string) => ({ type: 'remove' as const, member });
    for (const [by, whom] of [
      [ben, ben],
      [ada, ben],
      [party.founder, ada],
      [ada, ada],
    ] as const) {
      expect((await verdictOf(party, [party.draft(by, remove(whom.id))])).ok).toBe(true);
    }
    await expectRefused(party, party.draft(ben, remove(cleo.id)), 'not-allowed');
    await expectRefused(party, party.draft(ada, remove(party.founder.id)), 'not-allowed');
    await expectRefused(party, party.draft(party.founder, remove(party.founder.id)), 'not-allowed');
    await expectRefused(party, party.draft(ada, remove(testNode(50).id)), 'unknown-member');
    party.append(party.founder, { type: 'set-role', member: cleo.id, role: 'admin' });
    await expectRefused(party, party.draft(ada, remove(cleo.id)), 'not-allowed');
    await expectRefused(party, party.draft(testNode(50), remove(ben.id)), 'unknown-author');
  });

  test('counts the uses of an invite in the log itself, so that nobody exceeds them (C12)', async () => {
    const party = new TestParty();
    const invite = party.invite(10, { maxUses: 2 });
    party.join(testNode(2), invite);
    party.join(testNode(3), invite);
    await expectRefused(party, party.draftJoin(testNode(4), invite), 'invite-used-up');
  });

  test('refuses joins by invites that expired, were revoked, or were never issued (C12)', async () => {
    const party = new TestParty();
    const invite = party.invite(10);
    await expectRefused(
      party,
      party.draftJoin(testNode(4), generateSigningKey(new SeededRandom(11))),
      'unknown-invite',
    );
    const node = testNode(2);
    const late = authorJoin(party.state, { invite, node, name: 'late', timeMs: party.timeMs + 7_200_000 });
    await expectRefused(party, late, 'invite-expired');
    party.append(party.founder, { type: 'revoke-invite', inviteKey: invite.publicKey });
    await expectRefused(party, party.draftJoin(node, invite), 'unknown-invite');
    const again = { type: 'invite' as const, inviteKey: invite.publicKey, role: 'member' as const, maxUses: 5 };
    await expectRefused(
      party,
      party.draft(party.founder, { ...again, expiresAtMs: party.timeMs + 1_000 }),
      'duplicate',
    );
  });

  test('cannot be told that an expired invite was used in time once the log has moved on (C12)', async () => {
    const party = new TestParty();
    const invite = party.invite(10);
    party.timeMs += 7_200_000;
    party.append(party.founder, { type: 'checkpoint' });
    const statement = authorJoin(party.state, { invite, node: testNode(2), name: 'x', timeMs: party.timeMs - 500_000 });
    await expectRefused(party, statement, 'invite-expired');
  });

  test('takes along the invites that a removed or demoted member knows (C12)', async () => {
    const { party, ada, ben, invite } = peopledParty();
    const adas = party.invite(20, { by: ada });
    party.append(party.founder, { type: 'set-role', member: ada.id, role: 'member' });
    await expectRefused(party, party.draftJoin(testNode(30), adas), 'unknown-invite');
    party.append(party.founder, { type: 'remove', member: ben.id });
    await expectRefused(party, party.draftJoin(testNode(31), invite), 'unknown-invite');
  });

  test('ends the invites of whoever leaves: one cannot come back by an invite made before (B3)', async () => {
    const { party, ada } = peopledParty();
    const adas = party.invite(20, { by: ada });
    party.append(ada, { type: 'remove', member: ada.id });
    await expectRefused(party, party.draftJoin(testNode(30), adas), 'unknown-invite');
  });

  test('refuses a member twice, a WireGuard key twice, and names that could rewrite a terminal', async () => {
    const { party, ben, invite } = peopledParty();
    await expectRefused(party, party.draftJoin(ben, invite), 'duplicate');
    await expectRefused(
      party,
      party.draftJoin({ ...testNode(40), wireGuardPublicKey: ben.wireGuardPublicKey }, invite),
      'duplicate',
    );
    await expectRefused(party, party.draftJoin(testNode(40, '\u001b[2J'), invite), 'bad-name');
    await expectRefused(party, party.draftJoin(testNode(40, '  '), invite), 'bad-name');
    await expectRefused(party, party.draftJoin(testNode(40, 'a\u202eb'), invite), 'bad-name');
  });

  test('rotates keys: same id, same address, the old key says nothing any more (C12)', async () => {
    const { party, ben } = peopledParty();
    const before = party.state.members.get(ben.id)!;
    const fresh = testNode(60);
    const stolen = authorByMember(party.state, ben.signing, { type: 'remove', member: ben.id }, party.timeMs);
    party.add(authorRotation(party.state, { from: ben.signing, to: fresh, timeMs: ++party.timeMs }));
    const verdict = await verdictOf(party);
    expect(verdict.state.members.get(ben.id)).toMatchObject({
      nodeKey: fresh.signing.publicKey,
      virtualAddress: before.virtualAddress,
    });
    expect(verdict.state.memberByKey(ben.signing.publicKey)).toBeUndefined();
    await expectRefused(party, stolen, 'wrong-sequence');
    const byOldKey = authorByMember(party.state, ben.signing, { type: 'remove', member: ben.id }, party.timeMs);
    expect(byOldKey.author).toBe(ben.id);
    await expectRefused(party, byOldKey, 'bad-signature');
    const toTaken = authorRotation(party.state, { from: fresh.signing, to: party.founder, timeMs: party.timeMs });
    await expectRefused(party, toTaken, 'duplicate');
  });

  test('orders members by their places in the log, which new keys, a role or a date do not change', async () => {
    const { party, ada, ben, cleo, invite } = peopledParty();
    const order = async () =>
      [...(await verdictOf(party)).state.members.values()]
        .sort((a, b) => a.joinedAtSequence - b.joinedAtSequence)
        .map(({ id }) => id);
    const before = [party.founder.id, ada.id, ben.id, cleo.id];
    expect(await order()).toEqual(before);
    party.add(authorRotation(party.state, { from: ada.signing, to: testNode(60), timeMs: ++party.timeMs }));
    party.append(party.founder, { type: 'set-role', member: ben.id, role: 'admin' });
    const late = testNode(61);
    // Its clock is behind, and its statement as old as the one before: its place in the log is still the last.
    party.add(authorJoin(party.state, { invite, node: late, name: late.name, timeMs: party.timeMs - 1_000 }));
    party.append(party.founder, { type: 'remove', member: cleo.id });
    expect(await order()).toEqual([...before.filter((id) => id !== cleo.id), late.id]);
    expect(party.state.members.get(late.id)!.joinedAtSequence).toBe(party.state.length - 2);
  });

  test('lets no member fill the log with new keys', async () => {
    const { party, ben } = peopledParty();
    let from = ben;
    for (let at = 0; at < 100; at++) {
      const to = testNode(1_000 + at);
      party.add(authorRotation(party.state, { from: from.signing, to, timeMs: ++party.timeMs }));
      from = to;
    }
    const once = authorRotation(party.state, { from: from.signing, to: testNode(2_000), timeMs: ++party.timeMs });
    await expectRefused(party, once, 'not-allowed');
  });

  test('gets another founder from its own key only, who then ranks above the old one (C12)', async () => {
    const { party, ada, ben } = peopledParty();
    const forged = authorAppointment(party.state, { partyKey: ada.signing, member: ada.id, timeMs: party.timeMs });
    await expectRefused(party, forged, 'bad-signature');
    const nobody = authorAppointment(party.state, {
      partyKey: party.key,
      member: testNode(9).id,
      timeMs: party.timeMs,
    });
    await expectRefused(party, nobody, 'unknown-member');
    const old = party.invite(21);
    party.add(authorAppointment(party.state, { partyKey: party.key, member: ben.id, timeMs: ++party.timeMs }));
    await expectRefused(party, party.draftJoin(testNode(30), old), 'unknown-invite');
    party.append(ben, { type: 'remove', member: party.founder.id });
    const verdict = await verdictOf(party);
    expect(verdict.ok).toBe(true);
    expect(verdict.state.founder).toBe(ben.id);
    expect(verdict.state.members.has(party.founder.id)).toBe(false);
  });
});

describe('a tampered log', () => {
  test('is refused at the first altered statement, whatever was altered (C12)', async () => {
    const { party } = peopledParty();
    party.append(party.founder, { type: 'checkpoint' });
    for (let which = 0; which < party.statements.length; which++) {
      const whole = party.statements[which]!;
      for (let where = 0; where < whole.length; where += 13) {
        const log = party.statements.map((bytes) => bytes.slice());
        log[which]![where]! ^= 1;
        const verdict = verifyLog(party.key.publicKey, log);
        expect(verdict.ok).toBe(false);
        // A bit of a signature under a checkpoint shows in the next statement, which names the hash.
        if (!verdict.ok) expect([which, which + 1]).toContain(verdict.failure.sequence);
      }
    }
  });

  test('with a statement left out, doubled or swapped is refused', () => {
    const { party } = peopledParty();
    const log = party.statements;
    for (let at = 0; at + 1 < log.length; at++) {
      expect(verifyLog(party.key.publicKey, log.toSpliced(at, 1)).ok).toBe(false);
      expect(verifyLog(party.key.publicKey, log.toSpliced(at, 0, log[at]!)).ok).toBe(false);
      expect(verifyLog(party.key.publicKey, log.toSpliced(at, 2, log[at + 1]!, log[at]!)).ok).toBe(false);
    }
    expect(verifyLog(party.key.publicKey, [])).toMatchObject({ ok: true, state: { head: undefined } });
  });
});

describe('checkpoints', () => {
  test('spare the checks of what their signer could have said itself, and of nothing else (C12)', async () => {
    // A join that nobody signed shows which checks are made. No honest leader vouches for such a log.
    const unsigned = (party: TestParty, invite: SigningKey) =>
      party.add(party.draftJoin(testNode(70), { ...invite, sign: () => new Uint8Array(64) }));
    const { party, ada, invite } = peopledParty();
    unsigned(party, invite);
    expect((await verdictOf(party)).ok).toBe(false);
    party.append(ada, { type: 'checkpoint' });
    expect((await verdictOf(party)).ok).toBe(true);
    const second = new TestParty();
    unsigned(second, second.invite(10, { role: 'admin' }));
    expect((await verdictOf(second)).ok).toBe(false);
    second.append(second.founder, { type: 'checkpoint' });
    expect((await verdictOf(second)).ok).toBe(true);
  });

  test('of a forged admin do not vouch for the join that made it admin (C12)', async () => {
    const party = new TestParty();
    const invite = party.invite(10, { role: 'admin' });
    const intruder = testNode(70, 'intruder');
    // The server knows the public invite, not its secret: it signs the join with a key of its own.
    const thief = { ...generateSigningKey(new SeededRandom(666)), publicKey: invite.publicKey };
    const forged = party.draftJoin(intruder, thief);
    party.add(forged);
    party.append(intruder, { type: 'checkpoint' });
    const verdict = await verdictOf(party);
    expect(verdict).toMatchObject({ ok: false, failure: { sequence: forged.sequence, reason: 'bad-signature' } });
    expect(verdict.state.members.size).toBe(1);
  });

  test('of a forged founder do not vouch for the appointment that made it founder (C12)', async () => {
    const { party, ben } = peopledParty();
    const forged = authorAppointment(party.state, { partyKey: ben.signing, member: ben.id, timeMs: party.timeMs });
    party.add(forged);
    party.append(ben, { type: 'checkpoint' });
    expect(await verdictOf(party)).toMatchObject({ ok: false, failure: { sequence: forged.sequence } });
  });

  test('with a forged signature vouch for nothing', async () => {
    const party = new TestParty();
    const invite = party.invite(10);
    const thief = { ...generateSigningKey(new SeededRandom(666)), publicKey: invite.publicKey };
    const forged = party.add(party.draftJoin(testNode(70), thief));
    party.append(
      { ...testNode(70), ...party.founder, signing: { ...party.founder.signing, sign: () => new Uint8Array(64) } },
      {
        type: 'checkpoint',
      },
    );
    expect(await verdictOf(party)).toMatchObject({ ok: false, failure: { sequence: forged.sequence } });
  });

  test('of an admin leave role changes to be checked', async () => {
    const { party, ada, ben } = peopledParty();
    const bad = party.draft(
      { ...party.founder, signing: { ...party.founder.signing, sign: () => new Uint8Array(64) } },
      {
        type: 'set-role',
        member: ben.id,
        role: 'admin',
      },
    );
    party.add(bad);
    party.append(ada, { type: 'checkpoint' });
    expect(await verdictOf(party)).toMatchObject({ ok: false, failure: { sequence: bad.sequence } });
  });
});

describe('virtual addresses', () => {
  test('are in 10.66.0.0/16, never .0, .1 or .255, spread, and never shared (C5)', () => {
    const given = new Set<string>();
    const taken = { inUse: (address: string) => given.has(address), everUsed: (address: string) => given.has(address) };
    const blocks = new Set<string>();
    for (let at = 0; at < 3_000; at++) {
      const address = virtualAddressFor(at.toString(16).padStart(32, '0'), taken)!;
      const [a, b, c, d] = address.split('.').map(Number);
      expect([a, b]).toEqual([10, 66]);
      expect(c).toBeLessThanOrEqual(255);
      expect(d).toBeGreaterThanOrEqual(2);
      expect(d).toBeLessThanOrEqual(254);
      expect(given.has(address)).toBe(false);
      given.add(address);
      blocks.add(`${c}`);
    }
    expect(blocks.size).toBe(256);
  });

  test('are the peer’s own draw while it is free, and the same draw on every member (C5)', () => {
    const free = { inUse: () => false, everUsed: () => false };
    const peer = testNode(1).id;
    const first = virtualAddressFor(peer, free)!;
    expect(virtualAddressFor(peer, free)).toBe(first);
    const second = virtualAddressFor(peer, { ...free, everUsed: (address) => address === first })!;
    expect(second).not.toBe(first);
  });

  test('of former members are given out again only when nothing fresh is drawn, and run out honestly (C5)', () => {
    const peer = testNode(1).id;
    const allUsed = virtualAddressFor(peer, { inUse: (address) => address !== '10.66.9.9', everUsed: () => true });
    expect(allUsed).toBe('10.66.9.9');
    expect(virtualAddressFor(peer, { inUse: () => true, everUsed: () => true })).toBeUndefined();
    expect(MAX_ADDRESSES).toBe(64_768);
  });

  test('stay unique through joins, removals and rejoins, the same on every member (C5)', async () => {
    const party = new TestParty();
    const invite = party.invite(10, { maxUses: 1_000 });
    for (let at = 0; at < 40; at++) party.join(testNode(100 + at), invite);
    const gone = testNode(105);
    const before = party.state.members.get(gone.id)!.virtualAddress;
    party.append(gone, { type: 'remove', member: gone.id });
    party.join(gone, invite);
    const verdict = await verdictOf(party);
    const addresses = [...verdict.state.members.values()].map((member) => member.virtualAddress);
    expect(new Set(addresses).size).toBe(addresses.length);
    expect(verdict.state.members.get(gone.id)!.virtualAddress).not.toBe(before);
    const replayed = replayLog(new PartyState(party.key.publicKey), party.statements).state;
    expect([...replayed.members.values()].map((member) => member.virtualAddress)).toEqual(addresses);
  });
});

describe('dates', () => {
  test('far ahead of the clock of whoever takes a log in are refused, at any place of it (B1)', async () => {
    const { party, ben } = peopledParty();
    const notAfterMs = party.timeMs + 10_000;
    const from = ben.signing;
    const future = authorRotation(party.state, { from, to: testNode(30), timeMs: party.timeMs + 1e12 });
    const log = [...party.statements, future.bytes];
    const failure = { sequence: party.statements.length, reason: 'dated-ahead' };
    const taken = await verifyLogInPool(party.key.publicKey, log, { notAfterMs });
    expect(taken).toMatchObject({ ok: false, failure });
    expect(taken.state.head).toEqual(party.state.head);
    const known = replayLog(new PartyState(party.key.publicKey), party.statements).state;
    expect(await extendLog(known, [future], { notAfterMs })).toMatchObject({ ok: false, failure });
    expect((await extendLog(known, [future])).ok).toBe(true);
  });

  test('far ahead in a log make its members sign nothing on top (B1)', () => {
    const party = new TestParty();
    const sign = (timeMs: number) => authorByMember(party.state, party.founder.signing, { type: 'checkpoint' }, timeMs);
    expect(sign(party.timeMs - 500_000).timeMs).toBe(party.timeMs);
    expect(() => sign(party.timeMs - 700_000)).toThrow(/Nothing was signed. Next: set this machine's clock/);
  });
});

describe('a log that somebody fills', () => {
  /** The party as if its log had `length` statements. */
  function filledTo(length: number) {
    const people = peopledParty();
    const { state } = people.party;
    state.head = { sequence: length - 1, hash: state.head!.hash };
    return people;
  }
  const verdict = (party: TestParty, statement: SignedStatement) => {
    const examined = examineStatement(party.state, statement);
    return examined.ok ? 'ok' : examined.failure.reason;
  };
  const RESERVED = 4 + 64 + 1_024 + 4_096;

  test('by invites and checkpoints still takes removals, roles and new keys (B4)', () => {
    const content = { type: 'checkpoint' as const };
    const last = filledTo(MAX_LOG_STATEMENTS - RESERVED - 1);
    expect(roomInLog(last.party.state)).toBe(1);
    expect(verdict(last.party, last.party.draft(last.ada, content))).toBe('ok');
    const full = filledTo(MAX_LOG_STATEMENTS - RESERVED);
    const { party, ada, ben, cleo } = full;
    expect(roomInLog(party.state)).toBe(0);
    expect(verdict(party, party.draft(ada, content))).toBe('log-full');
    expect(verdict(party, party.draftJoin(testNode(9), full.invite))).toBe('log-full');
    expect(verdict(party, party.draft(party.founder, { type: 'remove', member: ada.id }))).toBe('ok');
    expect(verdict(party, party.draft(party.founder, { type: 'set-role', member: ada.id, role: 'member' }))).toBe('ok');
    const rotation = authorRotation(party.state, { from: ben.signing, to: testNode(60), timeMs: ++party.timeMs });
    expect(verdict(party, rotation)).toBe('ok');
    expect(verdict(party, party.draft(cleo, { type: 'remove', member: cleo.id }))).toBe('ok');
  });

  test('by new keys still takes roles, by roles still the removal of everybody, and then another founder (B4)', () => {
    const afterKeys = filledTo(MAX_LOG_STATEMENTS - 4 - 64 - 1_024);
    const { party, ben } = afterKeys;
    const rotation = authorRotation(party.state, { from: ben.signing, to: testNode(60), timeMs: ++party.timeMs });
    expect(verdict(party, rotation)).toBe('log-full');
    const role = { type: 'set-role' as const, member: ben.id, role: 'admin' as const };
    expect(verdict(party, party.draft(party.founder, role))).toBe('ok');

    const afterRoles = filledTo(MAX_LOG_STATEMENTS - 4 - 64).party;
    expect(verdict(afterRoles, afterRoles.draft(afterRoles.founder, role))).toBe('log-full');
    for (const member of [...afterRoles.state.members.values()]) {
      if (member.role === 'founder') continue;
      const removal = afterRoles.draft(afterRoles.founder, { type: 'remove', member: member.id });
      expect(verdict(afterRoles, removal)).toBe('ok');
      afterRoles.add(removal);
    }
    const { partyKey, node, name } = { partyKey: afterRoles.key, node: testNode(70), name: 'Zoe' };
    const timeMs = ++afterRoles.timeMs;
    expect(verdict(afterRoles, authorFounderReplacement(afterRoles.state, { partyKey, node, name, timeMs }))).toBe(
      'ok',
    );
  });
});

describe('a thief who has the founder’s node and has removed everybody', () => {
  function robbedParty() {
    const people = peopledParty();
    const { party, ada, ben, cleo } = people;
    for (const { id } of [ada, ben, cleo]) party.append(party.founder, { type: 'remove', member: id });
    const owner = testNode(80, 'Owner');
    const draft = (node: typeof owner, partyKey: SigningKey = party.key) =>
      authorFounderReplacement(party.state, { partyKey, node, name: node.name, timeMs: ++party.timeMs });
    return { ...people, owner, draft };
  }

  test('loses the party to whoever holds its key, whose node comes in as the founder (B4)', async () => {
    const { party, owner, draft } = robbedParty();
    const thief = party.founder;
    const thiefsInvite = party.invite(50);
    party.add(draft(owner));
    const { state } = await verdictOf(party);
    expect(state.founder).toBe(owner.id);
    expect(state.members.get(owner.id)).toMatchObject({ role: 'founder', name: 'Owner', inviteKey: undefined });
    expect(state.members.get(thief.id)).toMatchObject({ role: 'member' });
    await expectRefused(party, party.draftJoin(testNode(81), thiefsInvite), 'unknown-invite');
    party.append(owner, { type: 'remove', member: thief.id });
    expect((await verdictOf(party)).ok).toBe(true);
  });

  test('cannot do the same: it takes the key of the party and of the node that comes in (B4)', async () => {
    const { party, owner, draft } = robbedParty();
    await expectRefused(party, draft(owner, party.founder.signing), 'bad-signature');
    const other = draft(owner);
    const forged = { ...other, signatures: [other.signatures[0]!, other.signatures[0]!] };
    const bytes = Buffer.concat([forged.body, ...forged.signatures]);
    await expectRefused(party, { ...forged, bytes: new Uint8Array(bytes) }, 'bad-signature');
    await expectRefused(party, draft(party.founder), 'duplicate');
    await expectRefused(party, draft(testNode(82, '\u001b[2J')), 'bad-name');
  });
});
