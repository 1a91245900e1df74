import { SeededRandom } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { MemoryStorage } from '../src/client/client-storage.ts';
import { ControlError } from '../src/control-error.ts';
import { LocalControlPlane } from '../src/client/local-control-plane.ts';
import {
  authorByMember,
  authorGenesis,
  authorJoin,
  encodeBody,
  fromBase64,
  generateSigningKey,
  type Invite,
  PartyState,
  replayLog,
  sealStatement,
  type SignedStatement,
  signingKeyFromSeed,
  toBase64,
} from '@towpath/membership';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import type { ServerMessage } from '../src/wire/messages.ts';
import { bytes, nodeKeys, scene, statementsMessage } from './malicious-plane.ts';

/** The statement with other signatures, and a hash that fits. */
function resigned(statement: SignedStatement, signatures: Uint8Array[]): SignedStatement {
  return sealStatement(statement, encodeBody(statement), signatures);
}

describe('a malicious control plane', () => {
  test('cannot add a member: neither with a forged join nor with a forged invite (C12)', async () => {
    const { clock, random, plane, ann, bob, party, invite, state, names } = await scene();
    const now = await state();
    const intruder = generateNodeIdentity(random);
    const thief = { ...generateSigningKey(random), publicKey: signingKeyFromSeed(invite.secret).publicKey };
    const join = authorJoin(now, {
      invite: thief,
      node: nodeKeys(intruder),
      name: 'Mallory',
      timeMs: clock.wallTime(),
    });
    bob.inject(statementsMessage(party, join));
    const ownKey = generateSigningKey(random);
    const content = {
      type: 'invite' as const,
      role: 'member' as const,
      maxUses: 9,
      expiresAtMs: clock.wallTime() + 1e6,
    };
    const forged = authorByMember(now, intruder.signing, { ...content, inviteKey: ownKey.publicKey }, clock.wallTime());
    const asAnn = { ...forged, author: now.founder };
    ann.inject(statementsMessage(party, resigned(asAnn, [intruder.signing.sign(encodeBody(asAnn))])));
    await clock.advance(100);
    expect(names(bob)).toEqual(['Ann', 'Cleo']);
    expect(names(ann)).toEqual(['Bob', 'Cleo']);
    for (const victim of [ann, bob]) {
      expect(victim.suspicions).toMatchObject([
        { kind: 'forged', message: expect.stringContaining('Verification of the control server') },
      ]);
    }
    await plane.close();
  });

  test('cannot swap a member’s keys, for nobody, at no place of the log (C12)', async () => {
    const { clock, random, plane, party, invite, log } = await scene();
    const genuine = await log();
    const evil = generateNodeIdentity(random).wireGuard.publicKey;
    for (let place = 0; place < genuine.length; place++) {
      const newcomer = await plane.victim();
      newcomer.lies.log = (from, statements) =>
        from > 0
          ? statements
          : statements.map((statement, at) => {
              const altered = new Uint8Array(statement);
              // A join's WireGuard key stands at 60 + 32 + 32; elsewhere these are other bytes that count.
              if (at === place) altered.set(evil.subarray(0, Math.min(32, altered.length - 124)), 124);
              return altered;
            });
      await expect(clock.runUntil(newcomer.client.join(invite, { memberName: 'New' }))).rejects.toMatchObject({
        code: 'untrusted-log',
      });
      expect(newcomer.client.party(party)).toBeUndefined();
    }
    await plane.close();
  });

  test('cannot pass off another party, or another history from the start (C12)', async () => {
    const { clock, random, plane, invite } = await scene();
    const intruder = generateNodeIdentity(random);
    const other = authorGenesis({
      partyKey: generateSigningKey(random),
      partyName: 'camp',
      founder: nodeKeys(intruder),
      founderName: 'Ann',
      timeMs: clock.wallTime(),
    });
    const newcomer = await plane.victim();
    newcomer.lies.log = () => [other.bytes];
    await expect(clock.runUntil(newcomer.client.join(invite, { memberName: 'New' }))).rejects.toMatchObject({
      code: 'untrusted-log',
      message: expect.stringContaining('belongs to another party'),
    });
    await plane.close();
  });

  test('cannot show a newcomer an older list than the invite names (C12)', async () => {
    const { clock, plane, ann, party } = await scene();
    await clock.runUntil(ann.client.remove(party, ann.client.party(party)!.peers[0]!.id));
    const invite = await clock.runUntil(ann.client.invite(party));
    const newcomer = await plane.victim();
    newcomer.lies.log = (from, statements) => statements.slice(0, Math.max(0, 4 - from));
    await expect(clock.runUntil(newcomer.client.join(invite, { memberName: 'New' }))).rejects.toMatchObject({
      code: 'untrusted-log',
      message: expect.stringContaining('does not match the invite'),
    });
    await plane.close();
  });

  test('cannot take a member back to an older list: the member keeps what it verified, and says so (C12)', async () => {
    const { clock, plane, bob, party, names } = await scene();
    const length = bob.client.party(party)!.head.sequence + 1;
    bob.lies.log = (from, statements) => statements.slice(0, Math.max(0, 2 - from));
    bob.inject({ type: 'statements', party, from: 2, length: 2, statements: [] });
    await clock.advance(100);
    expect(names(bob)).toEqual(['Ann', 'Cleo']);
    expect(bob.suspicions).toMatchObject([{ kind: 'rollback', sequence: 2 }]);
    expect(bob.client.party(party)!.head.sequence).toBe(length - 1);
    await plane.close();
  });

  test("cannot name relays on the member's own machine, or at addresses of nobody", async () => {
    const { clock, plane, bob } = await scene();
    const listed = (id: string, ...urls: string[]) => ({ id, urls, region: '', load: 0, healthy: true });
    bob.inject({
      type: 'relays',
      relays: [
        listed('own', 'turn:127.0.0.1:22?transport=tcp', 'turns:localhost:443'),
        listed('nobody', 'turn:0.0.0.0:3478', 'turn:239.1.1.1:3478'),
        listed('both', 'turn:[::1]:3478', 'turn:192.0.2.1:3478'),
      ],
    });
    await clock.advance(5_000);
    expect(bob.client.relays()).toEqual([listed('both', 'turn:192.0.2.1:3478')]);
    await plane.close();
  });

  test('cannot make a member ask one list of relays after the other; the newest list counts in the end', async () => {
    const { clock, plane, bob } = await scene();
    const listed = (at: number) => ({
      id: `r${at}`,
      urls: [`turn:192.0.2.1:${1_024 + at}?transport=udp`],
      region: '',
      load: 0,
      healthy: true,
    });
    let taken = 0;
    bob.client.events.on('relays', () => taken++);
    for (let at = 0; at < 1_000; at++) {
      bob.inject({ type: 'relays', relays: [listed(at)] });
      await clock.advance(10);
    }
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThanOrEqual(8);
    await clock.advance(5_000);
    expect(bob.client.relays()).toEqual([listed(999)]);
    await plane.close();
  });

  test('a member that claims one head after the other does not keep another one reading', async () => {
    const { clock, plane, ann, bob, party, idOf } = await scene();
    let reads = 0;
    bob.lies.log = (_from, statements) => {
      reads++;
      return statements;
    };
    for (let at = 0; at < 1_000; at++) {
      bob.client.observeHead(party, idOf(ann), { sequence: 1_000 + at, hash: new Uint8Array(32).fill(at) });
      await clock.advance(10);
    }
    expect(reads).toBeGreaterThan(0);
    expect(reads).toBeLessThanOrEqual(7);
    expect(bob.suspicions[0]).toMatchObject({ kind: 'withheld', sequence: 1_000 });
    await plane.close();
  });

  test('that is only slower than its own word is not suspected', async () => {
    const { clock, plane, bob, party } = await scene();
    // Said before the newest statement came in, heard after it.
    bob.inject({ type: 'statements', party, from: 3, length: 3, statements: [] });
    await clock.advance(100);
    expect(bob.suspicions).toEqual([]);
    await plane.close();
  });

  test('gets its lost statements back from members, who notice (C12)', async () => {
    const { clock, plane, bob, party, invite, log } = await scene();
    const before = await log();
    // The whole database is gone; Bob meets the new one with what he has verified.
    const storage = new MemoryStorage();
    await storage.save(party, { partyKey: invite.partyKey, statements: before, announcements: new Map() });
    await using local = await LocalControlPlane.start({ clock, random: new SeededRandom(8) });
    const again = await local.node({ identity: bob.identity, storage });
    const kinds: string[] = [];
    again.events.on('suspicion', ({ kind }) => kinds.push(kind));
    await clock.advance(5_000);
    expect(kinds).toEqual(['rollback']);
    expect((await local.service.read(party, 0, bob.identity.signing.publicKey)).length).toBe(before.length);
    await plane.close();
  });

  test('cannot hide a removal from members who still talk to each other (C12)', async () => {
    const { clock, plane, ann, bob, cleo, party, idOf, names } = await scene();
    // Bob is to go on believing in Cleo: no statement reaches him any more, by no way.
    bob.lies.push = (message) => (message.type === 'statements' ? undefined : message);
    bob.lies.log = () => [];
    const cleoId = idOf(cleo);
    await clock.runUntil(ann.client.remove(party, cleoId));
    await clock.advance(10);
    expect(names(bob)).toEqual(['Ann', 'Cleo']);
    await clock.runUntil(ann.client.signal(party, idOf(bob), bytes(1)));
    await clock.advance(10);
    expect(bob.suspicions).toMatchObject([
      {
        kind: 'withheld',
        message: expect.stringMatching(/Ann has seen statement \d+.*statements are withheld, possibly a removal/),
      },
    ]);
    await plane.close();
  });

  test('cannot hide it from members who only announce themselves either (C12)', async () => {
    const { clock, plane, ann, bob, cleo, party, idOf } = await scene();
    bob.lies.push = (message) => (message.type === 'statements' ? undefined : message);
    bob.lies.log = () => [];
    await clock.runUntil(ann.client.remove(party, idOf(cleo)));
    await clock.advance(10_000);
    expect(bob.suspicions.map(({ kind }) => kind)).toContain('withheld');
    await plane.close();
  });

  test('can keep quiet altogether, until the members talk over another way (C12)', async () => {
    const { clock, plane, ann, bob, cleo, party, idOf } = await scene();
    bob.lies.push = () => undefined;
    bob.lies.log = () => [];
    await clock.runUntil(ann.client.remove(party, idOf(cleo)));
    await clock.advance(60_000);
    // This is what it can do: withhold everything. Bob knows no better, but nothing false either.
    expect(bob.suspicions).toEqual([]);
    const { head } = ann.client.party(party)!;
    bob.client.observeHead(party, idOf(ann), head);
    await clock.advance(10);
    expect(bob.suspicions).toMatchObject([{ kind: 'withheld', sequence: head.sequence }]);
    await plane.close();
  });

  test('that shows two histories, with an admin’s help, is found out (C12)', async () => {
    const { clock, plane, ann, bob, cleo, party, state, idOf, names } = await scene();
    const now = await state();
    // The founder's node is an accomplice: it signs two next statements, one for Bob, one for Cleo.
    const removeBob = authorByMember(
      now,
      ann.identity.signing,
      { type: 'remove', member: idOf(bob) },
      clock.wallTime(),
    );
    const checkpoint = authorByMember(now, ann.identity.signing, { type: 'checkpoint' }, clock.wallTime());
    cleo.inject(statementsMessage(party, removeBob));
    bob.inject(statementsMessage(party, checkpoint));
    await clock.advance(10);
    expect([names(cleo), names(bob)]).toEqual([['Ann'], ['Ann', 'Cleo']]);
    bob.client.observeHead(party, idOf(cleo), cleo.client.party(party)!.head);
    bob.inject(statementsMessage(party, removeBob));
    await clock.advance(10);
    expect(bob.suspicions).toMatchObject([
      {
        kind: 'fork',
        sequence: checkpoint.sequence,
        message: expect.stringContaining('different logs to different members'),
      },
    ]);
    await plane.close();
  });

  test('that rewrites what a member has verified is told apart from one that extends it (C12)', async () => {
    const { clock, plane, ann, bob, party, state, log } = await scene();
    const now = replayLog(new PartyState((await state()).partyKey), (await log()).slice(0, -1)).state;
    const rewritten = authorByMember(now, ann.identity.signing, { type: 'checkpoint' }, clock.wallTime());
    bob.inject(statementsMessage(party, rewritten));
    await clock.advance(10);
    expect(bob.suspicions).toMatchObject([{ kind: 'fork', sequence: rewritten.sequence }]);
    await plane.close();
  });

  test('cannot let one more join than an invite allows, not even with the joiner’s help (C12)', async () => {
    const { clock, random, plane, ann, bob, party, state, names } = await scene();
    const single: Invite = await clock.runUntil(ann.client.invite(party, { maxUses: 1 }));
    const dan = await plane.victim();
    await clock.runUntil(dan.client.join(single, { memberName: 'Dan' }));
    await clock.advance(10);
    const extra = authorJoin(await state(), {
      invite: signingKeyFromSeed(single.secret),
      node: nodeKeys(generateNodeIdentity(random)),
      name: 'Eve',
      timeMs: clock.wallTime(),
    });
    bob.inject(statementsMessage(party, extra));
    await clock.advance(10);
    expect(names(bob)).toEqual(['Ann', 'Cleo', 'Dan']);
    expect(bob.suspicions).toMatchObject([
      { kind: 'forged', message: expect.stringContaining('used 1 times, which is its limit') },
    ]);
    await plane.close();
  });

  test('cannot forge, read, alter or repeat signals and announcements (C12)', async () => {
    const { clock, plane, ann, bob, cleo, party, idOf } = await scene();
    const captured: (ServerMessage & { type: 'signal' })[] = [];
    bob.lies.push = (message) => {
      if (message.type === 'signal') captured.push(message);
      return message;
    };
    await clock.runUntil(ann.client.signal(party, idOf(bob), bytes(42)));
    await clock.advance(10);
    expect(bob.signals).toHaveLength(1);
    const [signal] = captured;
    const sealed = fromBase64(signal!.payload)!;
    const altered = new Uint8Array(sealed);
    altered[20]! ^= 1;
    bob.inject(signal!);
    bob.inject({ ...signal!, payload: toBase64(altered) });
    bob.inject({ ...signal!, from: idOf(cleo) });
    bob.inject({ ...signal!, from: 'f'.repeat(32) });
    bob.inject({ ...signal!, payload: 'AAAA' });
    cleo.inject(signal!);
    await clock.advance(10);
    expect(bob.signals).toHaveLength(1);
    expect(cleo.signals).toHaveLength(0);
    const ignored = () => bob.said.filter((line) => line.includes('Signal ignored'));
    for (let forged = 0; forged < 1_000; forged++) bob.inject({ ...signal!, payload: 'AAAA' });
    await clock.advance(10);
    expect(ignored()).toHaveLength(3);
    await clock.advance(120_000);
    bob.inject({ ...signal!, payload: 'AAAA' });
    await clock.advance(10);
    expect(ignored()[3]).toContain('"ignored":1006');

    let announcement = '';
    bob.lies.push = (message) => {
      if (message.type === 'presence') announcement = message.entries[0]?.announcement ?? announcement;
      return message;
    };
    ann.client.announce(party, bytes(1));
    await clock.advance(100);
    const seen = () => bob.client.party(party)!.peers.find((peer) => peer.name === 'Ann')!.announcement;
    const stale = announcement;
    ann.client.announce(party, bytes(2));
    await clock.advance(100);
    const entry = (peer: string, text: string): ServerMessage => ({
      type: 'presence',
      party,
      whole: false,
      entries: [{ peer, online: true, announcement: text }],
    });
    bob.inject(entry(idOf(ann), stale));
    bob.inject(entry(idOf(cleo), announcement));
    bob.inject(entry(idOf(ann), toBase64(new Uint8Array(200))));
    await clock.advance(100);
    expect(seen()).toEqual(bytes(2));
    expect(bob.client.party(party)!.peers.find((peer) => peer.name === 'Cleo')!.announcement).toBeUndefined();
    await plane.close();
  });

  test.each([0, 2, 0x31, 255])(
    'that claims version %i of a statement is told of, and changes nothing (C12)',
    async (version) => {
      const { clock, plane, ann, bob, party, log, names } = await scene();
      const { length } = await log();
      const foreign = new Uint8Array((await log()).at(-1)!);
      foreign[0] = version;
      bob.inject({ type: 'statements', party, from: length, length: length + 1, statements: [toBase64(foreign)] });
      await clock.advance(10);
      expect(bob.suspicions).toMatchObject([
        {
          kind: 'forged',
          sequence: length,
          message: expect.stringContaining(`it has version ${version}, and this program reads version 1`),
        },
      ]);
      expect(names(bob)).toEqual(['Ann', 'Cleo']);
      // The genuine statements that come later are read.
      await clock.runUntil(
        ann.client.remove(party, ann.client.party(party)!.peers.find(({ name }) => name === 'Cleo')!.id),
      );
      await clock.advance(1_000);
      expect(names(bob)).toEqual(['Ann']);
      await plane.close();
    },
  );

  test('that claims other versions of announcements is told of once for each, and those before stay (C12)', async () => {
    const { clock, plane, ann, bob, cleo, party, idOf } = await scene();
    const texts = new Map<string, string>();
    bob.lies.push = (message) => {
      const [entry] = message.type === 'presence' ? message.entries : [];
      if (entry?.announcement !== undefined) texts.set(entry.peer, entry.announcement);
      return message;
    };
    ann.client.announce(party, bytes(1));
    await clock.advance(100);
    const genuine = fromBase64(texts.get(idOf(ann))!)!;
    const tell = async (first: number) => {
      const foreign = new Uint8Array(genuine);
      foreign[0] = first;
      const entries = [{ peer: idOf(ann), online: true, announcement: toBase64(foreign) }];
      bob.inject({ type: 'presence', party, whole: false, entries });
      await clock.advance(100);
    };
    const foreign = () => bob.said.filter((line) => line.includes('of another version of Towpath'));
    const announced = (name: string) => bob.client.party(party)!.peers.find((peer) => peer.name === name)!.announcement;
    for (const version of [0, 2, 255, 255]) await tell(version);
    expect(foreign()).toHaveLength(3);
    expect(foreign()[1]).toMatch(/^warn Announcement ignored: .*"version":2/);
    expect(announced('Ann')).toEqual(bytes(1));
    // The others are heard, and this one too when it comes in a version that is read.
    cleo.client.announce(party, bytes(3));
    ann.client.announce(party, bytes(2));
    await clock.advance(100);
    expect([announced('Ann'), announced('Cleo')]).toEqual([bytes(2), bytes(3)]);
    await plane.close();
  });

  test('that forgets all it is given gets it back once a minute, not in a loop (C12)', async () => {
    const { clock, plane, bob, party } = await scene();
    let asked = 0;
    bob.lies.send = (message) => {
      if (message.type === 'follow') asked++;
      return message;
    };
    bob.lies.push = (message) => (message.type === 'statements' ? { ...message, length: 0, statements: [] } : message);
    bob.lies.log = () => [];
    bob.inject({ type: 'refused', party, reason: 'not-found' });
    await clock.advance(30_000);
    expect(asked).toBe(1);
    bob.inject({ type: 'refused', party, reason: 'limit-exceeded' });
    await clock.advance(6_000);
    expect(asked).toBe(2);
    expect(bob.suspicions.map(({ kind }) => kind)).toEqual(['rollback']);
    await plane.close();
  });

  test('is found out by a question as well as by what it pushes: old, forged, exchanged, refused (C12)', async () => {
    const { clock, plane, bob, party, log, names } = await scene();
    const length = (await log()).length;
    bob.lies.log = (from, statements) =>
      statements.map((each, at) => (from + at === length - 1 ? new Uint8Array(each.length) : each));
    await clock.runUntil(bob.client.refresh(party));
    expect(bob.suspicions).toMatchObject([{ kind: 'fork', sequence: length - 1 }]);
    bob.lies.log = (_, statements) => [...statements, new Uint8Array(100)];
    await clock.runUntil(bob.client.refresh(party));
    expect(bob.suspicions.at(-1)).toMatchObject({ kind: 'forged', sequence: length });
    bob.lies.log = () => {
      throw new ControlError('forbidden', 'Only members and invited nodes read the log of a party.');
    };
    await clock.runUntil(bob.client.refresh(party));
    expect(bob.suspicions.at(-1)).toMatchObject({ kind: 'withheld' });
    bob.lies.log = (from, statements) => statements.slice(0, Math.max(0, 2 - from));
    bob.inject({ type: 'refused', party, reason: 'not-found' });
    await clock.advance(100);
    expect(names(bob)).toEqual(['Ann', 'Cleo']);
    await plane.close();
  });

  test('cannot throw a member out by word alone (C12)', async () => {
    const { clock, plane, bob, party, names } = await scene();
    bob.inject({ type: 'refused', party, reason: 'not-a-member' });
    await clock.advance(100);
    expect(names(bob)).toEqual(['Ann', 'Cleo']);
    expect(bob.suspicions).toMatchObject([
      { kind: 'withheld', message: expect.stringContaining('without a signed statement') },
    ]);
    await plane.close();
  });

  test('cannot exchange the invite behind a code (C12)', async () => {
    const { clock, plane, ann, party } = await scene();
    const invite = await clock.runUntil(ann.client.invite(party));
    const code = await ann.client.shareInvite(party, invite);
    const newcomer = await plane.victim();
    newcomer.lies.invite = (sealed) => sealed.map((byte, at) => (at === 20 ? byte ^ 1 : byte));
    await expect(newcomer.client.openInvite(code)).rejects.toMatchObject({
      code: 'invalid-invite',
      message: expect.stringContaining('not sealed with this code'),
    });
    newcomer.lies.invite = () => bytes(1, 2, 3);
    await expect(newcomer.client.openInvite(code)).rejects.toMatchObject({ code: 'invalid-invite' });
    await plane.close();
  });
});
