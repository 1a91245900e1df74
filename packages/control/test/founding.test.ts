import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { signingKeyFromSeed } from '@towpath/membership';
import { describe, expect, test } from 'vitest';
import { FileStorage, MemoryStorage } from '../src/client/client-storage.ts';
import { LocalControlPlane } from '../src/client/local-control-plane.ts';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import type { ControlServiceOptions } from '../src/server/service.ts';
import { readTurnUser } from '../src/wire/turn-user.ts';
import { Rig } from './http-fixture.ts';

async function plane(init: ControlServiceOptions = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(4);
  const local = await LocalControlPlane.start({ clock, random }, init);
  const create = (node: Awaited<ReturnType<typeof local.node>>, setupCode?: string) =>
    clock.runUntil(
      node.createParty({ name: 'camp', memberName: 'x', ...(setupCode === undefined ? {} : { setupCode }) }),
    );
  return { clock, random, local, create };
}

describe('a server that is not open', () => {
  test('takes parties only from whoever has shown a setup code, which counts once (A3)', async () => {
    const { local, create } = await plane({ founding: 'setup-code' });
    expect(await local.service.hasFounders()).toBe(false);
    const code = await local.service.createSetupCode();
    expect(code).toMatch(/^(\w{4}-){3}\w{4}$/);
    const [ann, stranger] = [await local.node(), await local.node()];
    await expect(create(stranger)).rejects.toMatchObject({ code: 'setup-code-required', kind: 'refused' });
    await expect(create(stranger, 'AAAA-AAAA-AAAA-AAAA')).rejects.toMatchObject({
      code: 'setup-code-required',
      message: expect.stringContaining('wrong, or has been used'),
    });
    await expect(create(stranger, 'nonsense')).rejects.toMatchObject({ code: 'invalid-request' });
    await create(ann, code.toLowerCase());
    await create(ann);
    await expect(create(stranger, code)).rejects.toMatchObject({ code: 'setup-code-required' });
    expect(await local.service.hasFounders()).toBe(true);
    await local.close();
  });

  test('lets exactly one of two in who use a code at the same moment (A3)', async () => {
    const { clock, local, create } = await plane({ founding: 'setup-code' });
    const code = await local.service.createSetupCode();
    const nodes = await Promise.all(Array.from({ length: 5 }, () => local.node()));
    const outcomes = await clock.runUntil(Promise.allSettled(nodes.map((node) => create(node, code))));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await local.close();
  });

  test('leaves no key of a party that it refused (A3)', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'towpath-refused-'));
    try {
      const { clock, local } = await plane({ founding: 'setup-code' });
      const node = await local.node({ storage: new FileStorage(folder) });
      // The disk is real: while it works, hours pass on the virtual clock.
      const creating = clock.runUntil(node.createParty({ name: 'camp', memberName: 'x' }), Number.MAX_SAFE_INTEGER);
      await expect(creating).rejects.toMatchObject({ code: 'setup-code-required' });
      expect(readdirSync(folder)).toEqual([]);
      await local.close();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('refuses strangers over HTTP as well, and never sees the code itself (A3)', async () => {
    await using rig = new Rig();
    const server = await rig.server({ founding: 'setup-code' });
    const code = await server.service.createSetupCode();
    const stranger = await rig.client([server.address], { live: false });
    await expect(stranger.createParty({ name: 'camp', memberName: 'x' })).rejects.toMatchObject({
      code: 'setup-code-required',
      message: expect.stringContaining('towpath serve setup-code'),
    });
    await stranger.createParty({ name: 'camp', memberName: 'x', setupCode: code });
    expect(stranger.parties()).toHaveLength(1);
  });
});

describe('limits of one party and one founder', () => {
  test('are on members, bytes, and parties; removals and new keys are always taken (A3)', async () => {
    const { clock, random, local, create } = await plane({
      partyLimits: { membersPerParty: 3, partiesPerFounder: 2, membersPerFounder: 4, bytesPerParty: 3_500 },
    });
    const founder = await local.node();
    const { id } = await create(founder);
    const invite = await clock.runUntil(founder.invite(id, { maxUses: 10 }));
    const join = async () => {
      const node = await local.node();
      await clock.runUntil(node.join(invite, { memberName: 'n' }));
      return node;
    };
    const first = await join();
    await join();
    await expect(join()).rejects.toMatchObject({
      code: 'limit-exceeded',
      message: expect.stringContaining('3 members'),
    });
    const { id: second } = await create(founder);
    const again = await clock.runUntil(founder.invite(second, { maxUses: 10 })).catch((error) => error);
    // Two parties of one founder: four members in all.
    await expect(create(founder)).rejects.toMatchObject({ code: 'limit-exceeded' });
    const other = await local.node();
    await expect(clock.runUntil(other.join(again, { memberName: 'n' }))).rejects.toMatchObject({
      code: 'limit-exceeded',
    });

    const issue = async () => {
      for (let at = 0; at < 30; at++) await clock.runUntil(founder.invite(id));
    };
    await expect(issue()).rejects.toMatchObject({
      code: 'limit-exceeded',
      message: expect.stringContaining('3500 bytes'),
    });
    await clock.runUntil(first.rotateKeys(generateNodeIdentity(random)));
    await clock.runUntil(founder.remove(id, first.party(id)!.self.id));
    await local.close();
  });
});

describe('codes of invites', () => {
  async function party(init: ControlServiceOptions = {}) {
    const all = await plane(init);
    const founder = await all.local.node();
    const { id } = await all.create(founder);
    const share = async (options: { maxUses?: number; validForMs?: number } = {}) => {
      const invite = await all.clock.runUntil(founder.invite(id, options));
      return { invite, code: await founder.shareInvite(id, invite) };
    };
    const open = async (code: string) => (await all.local.node()).openInvite(code);
    return { ...all, founder, id, share, open };
  }
  const over = (text: string) => ({ code: 'invalid-invite', message: expect.stringContaining(text) });

  test('open nothing once the invite was used up, revoked, or has expired, nor does the invite open the log (B3)', async () => {
    const { clock, local, founder, id, share, open } = await party();
    const used = await share();
    const ben = await local.node();
    await clock.runUntil(ben.join(await open(used.code), { memberName: 'Ben' }));
    await expect(open(used.code)).rejects.toMatchObject(over('already been used'));
    const late = await local.node();
    await expect(clock.runUntil(late.join(used.invite, { memberName: 'x' }))).rejects.toMatchObject(
      over('already been used'),
    );
    await expect(open(used.code)).rejects.toMatchObject({ code: 'not-found' });

    const revoked = await share();
    const { publicKey } = signingKeyFromSeed(revoked.invite.secret);
    await clock.runUntil(founder.revokeInvite(id, publicKey));
    await expect(open(revoked.code)).rejects.toMatchObject(over('was revoked'));
    await expect(clock.runUntil(late.join(revoked.invite, { memberName: 'x' }))).rejects.toMatchObject(over('revoked'));

    const expired = await share({ validForMs: 60_000 });
    await clock.advance(61_000);
    await expect(open(expired.code)).rejects.toMatchObject({ code: 'not-found' });
    await expect(clock.runUntil(late.join(expired.invite, { memberName: 'x' }))).rejects.toMatchObject(
      over('has expired'),
    );
    await local.close();
  });

  test('end with the admin who shared them, when it leaves or is removed (B3)', async () => {
    const { clock, local, founder, id, share, open } = await party();
    const { invite } = await share({ maxUses: 5 });
    for (const how of ['leave', 'remove'] as const) {
      const ada = await local.node();
      await clock.runUntil(ada.join(invite, { memberName: `Ada ${how}` }));
      await clock.advance(100);
      const adaId = ada.party(id)!.self.id;
      await clock.runUntil(founder.setRole(id, adaId, 'admin'));
      await clock.advance(100);
      const adas = await clock.runUntil(ada.invite(id));
      const code = await ada.shareInvite(id, adas);
      await (how === 'leave' ? clock.runUntil(ada.leave(id)) : clock.runUntil(founder.remove(id, adaId)));
      await expect(open(code)).rejects.toMatchObject(over('revoked'));
      if (how === 'leave') await clock.advance(100);
    }
    await local.close();
  });

  test.each(['remove', 'demote'])('end with an admin who has changed its keys since: %s (B3)', async (how) => {
    const { clock, random, local, founder, id, share, open } = await party();
    const { invite } = await share();
    const ada = await local.node();
    await clock.runUntil(ada.join(invite, { memberName: 'Ada' }));
    await clock.advance(100);
    const adaId = ada.party(id)!.self.id;
    await clock.runUntil(founder.setRole(id, adaId, 'admin'));
    await clock.advance(100);
    const early = await clock.runUntil(ada.invite(id, { maxUses: 3 }));
    const code = await ada.shareInvite(id, early);
    await clock.runUntil(ada.rotateKeys(generateNodeIdentity(random)));
    await clock.advance(100);
    const late = await clock.runUntil(ada.invite(id, { maxUses: 3 }));
    const ben = await local.node();
    await clock.runUntil(ben.join(early, { memberName: 'Ben' }));
    await clock.advance(100);
    await clock.runUntil(how === 'remove' ? founder.remove(id, adaId) : founder.setRole(id, adaId, 'member'));
    await clock.advance(100);
    const cat = await local.node();
    for (const each of [early, late]) {
      await expect(clock.runUntil(cat.join(each, { memberName: 'Cat' }))).rejects.toMatchObject(over('revoked'));
    }
    await expect(open(code)).rejects.toMatchObject(over('revoked'));
    await local.close();
  });

  test('are limited in number for all parties of one founder, and their bytes count for the party (A3)', async () => {
    const few = await party({ partyLimits: { codesPerFounder: 1 } });
    await few.share();
    const { id: second } = await few.clock.runUntil(few.founder.createParty({ name: 'other', memberName: 'Ann' }));
    const other = await few.clock.runUntil(few.founder.invite(second));
    await expect(few.founder.shareInvite(second, other)).rejects.toMatchObject({ code: 'limit-exceeded' });
    expect(few.local.service.limits.reached).toMatchObject({ codesPerFounder: 1, codesPerParty: 0 });
    await few.local.close();

    const small = await party({ partyLimits: { bytesPerParty: 2_500 } });
    const issue = async () => {
      for (let at = 0; at < 20; at++) await small.share();
    };
    await expect(issue()).rejects.toMatchObject({
      code: 'limit-exceeded',
      message: expect.stringContaining('2500 bytes'),
    });
    expect(small.local.service.limits.reached.bytesPerParty).toBe(1);
    await small.local.close();
  });

  test('are limited in number for one party; those that are over make room (A3)', async () => {
    const { clock, local, share, open } = await party({ partyLimits: { codesPerParty: 2 } });
    const first = await share();
    await share();
    await expect(share()).rejects.toMatchObject({ code: 'limit-exceeded' });
    const ben = await local.node();
    await clock.runUntil(ben.join(await open(first.code), { memberName: 'Ben' }));
    await share();
    await local.close();
  });

  test('a node whose answer was lost joins again by the invite that it has used up itself (B3)', async () => {
    const { clock, random, local, share } = await party();
    const { invite } = await share();
    const identity = generateNodeIdentity(random);
    const before = await local.node({ identity });
    const { self } = await clock.runUntil(before.join(invite, { memberName: 'Ben' }));
    await before.close();
    const after = await local.node({ identity });
    expect((await clock.runUntil(after.join(invite, { memberName: 'Ben' }))).self.id).toBe(self.id);
    await local.close();
  });
});

test('who holds the party’s key becomes its founder again after a thief has removed everybody (B4)', async () => {
  const { clock, random, local } = await plane();
  const storage = new MemoryStorage();
  const identity = generateNodeIdentity(random);
  const founder = await local.node({ storage, identity });
  const { id } = await clock.runUntil(founder.createParty({ name: 'camp', memberName: 'Ann' }));
  const invite = await clock.runUntil(founder.invite(id));
  const ben = await local.node();
  await clock.runUntil(ben.join(invite, { memberName: 'Ben' }));
  await clock.advance(100);
  // The thief has the founder's node.
  await clock.runUntil(founder.remove(id, ben.party(id)!.self.id));
  await clock.advance(100);
  const owner = await local.node();
  const secret = (await storage.loadPartySecret(id))!;
  const view = await clock.runUntil(owner.recoverParty(secret, { memberName: 'Owner' }));
  expect(view.self).toMatchObject({ role: 'founder', name: 'Owner' });
  await clock.advance(1_000);
  expect(founder.party(id)!.self.role).toBe('member');
  await clock.runUntil(owner.remove(id, founder.party(id)!.self.id));
  await clock.advance(1_000);
  expect(founder.parties()).toEqual([]);
  await local.close();
});

test('a thief who has filled the party to its limits does not keep out who holds its key (B4)', async () => {
  const partyLimits = { bytesPerParty: 3_000, membersPerParty: 1, membersPerFounder: 1 };
  const { clock, random, local } = await plane({ partyLimits });
  const storage = new MemoryStorage();
  const thief = await local.node({ storage, identity: generateNodeIdentity(random) });
  const { id } = await clock.runUntil(thief.createParty({ name: 'camp', memberName: 'Ann' }));
  const fill = async () => {
    for (let at = 0; at < 40; at++) await clock.runUntil(thief.invite(id));
  };
  await expect(fill()).rejects.toMatchObject({ code: 'limit-exceeded' });
  const owner = await local.node();
  const secret = (await storage.loadPartySecret(id))!;
  const view = await clock.runUntil(owner.recoverParty(secret, { memberName: 'Owner' }));
  expect(view.self).toMatchObject({ role: 'founder', name: 'Owner' });
  await local.close();
});

test('TURN credentials of a removed member are revoked at once, of others not (A3)', async () => {
  const revoked: string[] = [];
  const onTurnUsersRevoked = (users: readonly string[]) => void revoked.push(...users);
  const { clock, local } = await plane({ turnSecret: 'secret', onTurnUsersRevoked });
  const founder = await local.node();
  const { id } = await clock.runUntil(founder.createParty({ name: 'camp', memberName: 'Ann' }));
  const invite = await clock.runUntil(founder.invite(id));
  const ben = await local.node();
  await clock.runUntil(ben.join(invite, { memberName: 'Ben' }));
  const userOf = async (node: typeof ben) => (await clock.runUntil(node.turnCredentials())).username.split(':')[1]!;
  const [anns, bens] = [await userOf(founder), await userOf(ben)];
  const { service } = local;
  expect([service.isTurnUserRevoked(anns), service.isTurnUserRevoked(bens)]).toEqual([false, false]);
  await clock.advance(100);
  await clock.runUntil(founder.remove(id, ben.party(id)!.self.id));
  expect([service.isTurnUserRevoked(anns), service.isTurnUserRevoked(bens)]).toEqual([false, true]);
  expect(service.isTurnUserRevoked('bob')).toBe(false);
  expect(revoked).toEqual([bens]);
  // The name carries what relays count for.
  const self = founder.party(id)!.self.id;
  expect(readTurnUser(anns)).toEqual({ member: self, party: id, founder: self });
  await clock.advance(1_000);
  // Credentials of a membership that ended are not handed out from memory.
  await expect(clock.runUntil(ben.turnCredentials())).rejects.toMatchObject({ code: 'not-a-member' });
  expect(['bob', `${self}.${id}`, `${self}.${id}.${self}x`].map(readTurnUser)).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  await local.close();
});
