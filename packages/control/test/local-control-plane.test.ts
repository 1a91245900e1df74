import { AbortedError, createLog, type LogRecord, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import type { ControlClient } from '../src/client/control-client.ts';
import { LocalControlPlane } from '../src/client/local-control-plane.ts';
import { MemoryStorage } from '../src/client/client-storage.ts';
import type { ControlPlaneEvents } from '../src/control-plane.ts';
import { formatInviteLink, signingKeyFromSeed } from '@towpath/membership';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';

const bytes = (...values: number[]) => new Uint8Array(values);

/** Everything that a client tells, in order. */
function record(client: ControlClient) {
  const log: { name: keyof ControlPlaneEvents; value: unknown }[] = [];
  for (const name of ['party', 'left', 'presence', 'signal', 'relays', 'server', 'suspicion'] as const) {
    client.events.on(name, (value) => log.push({ name, value }));
  }
  return {
    log,
    of: <N extends keyof ControlPlaneEvents>(name: N) =>
      log.filter((each) => each.name === name).map((each) => each.value as ControlPlaneEvents[N]),
  };
}

async function plane(init: Parameters<typeof LocalControlPlane.start>[1] = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(7);
  return { clock, random, local: await LocalControlPlane.start({ clock, random }, init) };
}

/** A party of a founder and `count` members, all connected. */
async function peopled(count: number) {
  const { clock, random, local } = await plane({ turnSecret: 'sesame' });
  const founder = await local.node();
  const party = (await clock.runUntil(founder.createParty({ name: 'camp', memberName: 'Fay' }))).id;
  const invite = await clock.runUntil(founder.invite(party, { maxUses: count + 10 }));
  const members: ControlClient[] = [];
  for (let at = 0; at < count; at++) {
    const member = await local.node();
    await clock.runUntil(member.join(invite, { memberName: `member ${at}` }));
    members.push(member);
  }
  await clock.advance(1_000);
  return { clock, random, local, founder, members, party, invite };
}

describe('a control plane in one process', () => {
  test('founds a party, lets others join by link, and all see each other within a second (C12)', async () => {
    const { local, founder, members, party } = await peopled(2);
    for (const client of [founder, ...members]) {
      const view = client.party(party)!;
      expect(view.name).toBe('camp');
      expect(view.peers).toHaveLength(2);
      expect(view.peers.every((peer) => peer.online)).toBe(true);
      expect(new Set([view.self, ...view.peers].map((member) => member.virtualAddress)).size).toBe(3);
    }
    expect(founder.party(party)!.self.role).toBe('founder');
    await local.close();
  });

  test('hands an invite over by a short code, sealed, and by a link (C12)', async () => {
    const { clock, local, founder, party } = await peopled(0);
    const invite = await clock.runUntil(founder.invite(party));
    const code = await founder.shareInvite(party, invite);
    expect(code).toMatch(/^([0-9A-Z]{4}-){3}[0-9A-Z]{4}$/);
    const joiner = await local.node();
    const opened = await joiner.openInvite(` ${code.toLowerCase().replaceAll('-', ' ')} `);
    expect(opened).toEqual(invite);
    expect(await joiner.openInvite(formatInviteLink(invite))).toEqual(invite);
    await clock.runUntil(joiner.join(opened, { memberName: 'Joe' }));
    await expect(joiner.openInvite('0000-0000-0000-0000')).rejects.toMatchObject({ code: 'not-found' });
    await expect(joiner.openInvite('towpath://join/abc')).rejects.toMatchObject({ code: 'invalid-invite' });
    await local.close();
  });

  test('pushes a removal to everybody within a second, to the removed one as well (C12)', async () => {
    const { clock, local, founder, members, party } = await peopled(3);
    const [removed, ...others] = members as [ControlClient, ...ControlClient[]];
    const told = record(removed);
    const id = removed.party(party)!.self.id;
    await clock.runUntil(founder.remove(party, id));
    await clock.advance(1_000);
    expect(told.of('left')).toEqual([{ party, reason: 'removed' }]);
    expect(removed.parties()).toEqual([]);
    expect(told.of('suspicion')).toEqual([]);
    for (const client of [founder, ...others]) {
      expect(client.party(party)!.peers.map((peer) => peer.id)).not.toContain(id);
    }
    await expect(others[0]!.signal(party, id, bytes(1))).rejects.toMatchObject({ code: 'not-a-member' });
    await local.close();
  });

  test('lets members leave, and refuses what the rules refuse with a reason (C12)', async () => {
    const { clock, local, founder, members, party } = await peopled(2);
    const [ann, bob] = members as [ControlClient, ControlClient];
    const told = record(ann);
    await expect(bob.remove(party, ann.party(party)!.self.id)).rejects.toMatchObject({
      code: 'invalid-statement',
      message: expect.stringContaining('may not remove'),
    });
    await expect(clock.runUntil(founder.leave(party))).rejects.toThrow(/appoint another one first/);
    await clock.runUntil(ann.leave(party));
    await clock.advance(100);
    expect(told.of('left')).toEqual([{ party, reason: 'left' }]);
    expect(founder.party(party)!.peers).toHaveLength(1);
    await expect(ann.invite(party)).rejects.toMatchObject({ code: 'not-a-member' });
    await local.close();
  });

  test('changes roles and the founder, and rotates keys without anybody losing touch (C12)', async () => {
    const { clock, random, local, founder, members, party } = await peopled(2);
    const [ann, bob] = members as [ControlClient, ControlClient];
    const annId = ann.party(party)!.self.id;
    const address = ann.party(party)!.self.virtualAddress;
    await clock.runUntil(founder.setRole(party, annId, 'admin'));
    await clock.advance(100);
    await clock.runUntil(ann.invite(party));
    const told = record(ann);
    await clock.runUntil(ann.rotateKeys(generateNodeIdentity(random)));
    await clock.advance(2_000);
    expect(told.of('left')).toEqual([]);
    expect(told.of('suspicion')).toEqual([]);
    expect(ann.party(party)!.self).toMatchObject({ id: annId, virtualAddress: address, role: 'admin' });
    const atBob = record(bob);
    await clock.runUntil(ann.signal(party, bob.party(party)!.self.id, bytes(4, 2)));
    await clock.advance(10);
    expect(atBob.of('signal')).toEqual([{ party, from: annId, data: bytes(4, 2) }]);
    await clock.runUntil(founder.appoint(party, annId));
    await clock.advance(100);
    expect(bob.party(party)!.peers.find((peer) => peer.id === annId)!.role).toBe('founder');
    await expect(clock.runUntil(bob.appoint(party, annId))).rejects.toMatchObject({ code: 'forbidden' });
    await local.close();
  });

  test('carries signals sealed from one member to another, and says when the other is away (C12)', async () => {
    const { clock, local, founder, members, party } = await peopled(2);
    const [ann, bob] = members as [ControlClient, ControlClient];
    const bobId = bob.party(party)!.self.id;
    await expect(ann.signal(party, bobId, new Uint8Array(8_193))).rejects.toMatchObject({ code: 'limit-exceeded' });
    expect(() => ann.announce(party, new Uint8Array(4_097))).toThrow(/send less at once/);
    await expect(ann.createParty({ name: 'x'.repeat(65), memberName: 'Ann' })).rejects.toMatchObject({
      code: 'invalid-request',
    });
    const [atBob, atFounder] = [record(bob), record(founder)];
    for (let at = 0; at < 10; at++) await clock.runUntil(ann.signal(party, bobId, bytes(at)));
    await clock.advance(10);
    expect(atBob.of('signal').map(({ data }) => data[0])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(atFounder.of('signal')).toEqual([]);
    await bob.close();
    await clock.advance(100);
    expect(ann.party(party)!.peers.find((peer) => peer.id === bobId)!.online).toBe(false);
    await expect(clock.runUntil(ann.signal(party, bobId, bytes(1)))).rejects.toMatchObject({ code: 'peer-offline' });
    await expect(
      ann.signal(party, bobId, bytes(1), { signal: AbortSignal.abort(new AbortedError('x')) }),
    ).rejects.toThrow('x');
    await local.close();
  });

  test('tells every member what another announced, also those who come later (C12)', async () => {
    const { clock, local, founder, members, party, invite } = await peopled(1);
    const ann = members[0]!;
    const told = record(founder);
    ann.announce(party, bytes(1, 2, 3));
    await clock.advance(100);
    expect(told.of('presence').at(-1)!.peer).toMatchObject({ name: 'member 0', announcement: bytes(1, 2, 3) });
    const late = await local.node();
    await clock.runUntil(late.join(invite, { memberName: 'late' }));
    await clock.advance(100);
    const annId = ann.party(party)!.self.id;
    expect(late.party(party)!.peers.find((peer) => peer.id === annId)!.announcement).toEqual(bytes(1, 2, 3));
    await local.close();
  });

  test('lets many join at once by one invite, never one more than it allows (C12)', async () => {
    const { clock, local, founder, party } = await peopled(0);
    const invite = await clock.runUntil(founder.invite(party, { maxUses: 8 }));
    const nodes = await Promise.all(Array.from({ length: 12 }, () => local.node()));
    const outcomes = await clock.runUntil(
      Promise.allSettled(nodes.map((node, at) => node.join(invite, { memberName: `n${at}` }))),
    );
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(8);
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    for (const { reason } of refused)
      expect(reason).toMatchObject({
        code: expect.stringMatching(/^invalid-(statement|invite)$/),
        message: expect.stringContaining('already been used'),
      });
    await clock.advance(1_000);
    expect(founder.party(party)!.peers).toHaveLength(8);
    await local.close();
  });

  test('says so when an invite is revoked while it is being used', async () => {
    const { clock, local, founder, party } = await peopled(0);
    const invite = await clock.runUntil(founder.invite(party, { maxUses: 5 }));
    const { publicKey } = signingKeyFromSeed(invite.secret);
    expect(founder.party(party)!.invites.map(({ inviteKey }) => inviteKey)).toContainEqual(publicKey);
    const [one, two] = [await local.node(), await local.node()];
    const outcomes = await clock.runUntil(
      Promise.allSettled([
        founder.revokeInvite(party, publicKey),
        one.join(invite, { memberName: 'one' }),
        two.join(invite, { memberName: 'two' }),
      ]),
    );
    expect(outcomes[0].status).toBe('fulfilled');
    for (const outcome of outcomes.slice(1)) {
      if (outcome.status === 'rejected') expect(['invalid-invite', 'invalid-statement']).toContain(outcome.reason.code);
    }
    const late = await local.node();
    await expect(clock.runUntil(late.join(invite, { memberName: 'late' }))).rejects.toMatchObject({
      code: 'invalid-invite',
    });
    await local.close();
  });

  test('remembers its parties and the peers’ announcements while no server can be reached (C12)', async () => {
    const { clock, random, local } = await plane();
    const storage = new MemoryStorage();
    const identity = generateNodeIdentity(random);
    const founder = await local.node();
    const party = (await clock.runUntil(founder.createParty({ name: 'camp', memberName: 'Fay' }))).id;
    const ann = await local.node({ identity, storage });
    await clock.runUntil(ann.join(await clock.runUntil(founder.invite(party)), { memberName: 'Ann' }));
    founder.announce(party, bytes(5));
    await clock.advance(1_000);
    await local.close();
    const alone = await plane();
    const again = await alone.local.node({ identity, storage });
    const [peer] = again.party(party)!.peers;
    expect(peer).toMatchObject({ name: 'Fay', online: false, announcement: bytes(5) });
    await alone.local.close();
  });

  test('gives TURN credentials to members only, and keeps them while they last (C12)', async () => {
    const { clock, local, members, founder } = await peopled(1);
    const first = await clock.runUntil(founder.turnCredentials());
    expect(first.username).toMatch(/^\d+:[0-9a-f]{32}(\.[0-9a-f]{32}){2}$/);
    expect(await founder.turnCredentials()).toBe(first);
    await clock.advance(3_590_000);
    expect((await clock.runUntil(founder.turnCredentials())).expiresAtMs).toBeGreaterThan(first.expiresAtMs);
    const stranger = await local.node();
    await expect(stranger.turnCredentials()).rejects.toMatchObject({ code: 'not-a-member' });
    expect(members).toHaveLength(1);
    await local.close();
  });

  test('sets checkpoints by itself, so that newcomers verify a long log in no time (C12)', async () => {
    const { clock, local, founder, party } = await peopled(0);
    const invite = await clock.runUntil(founder.invite(party, { maxUses: 100 }));
    for (let at = 0; at < 70; at++) {
      const node = await local.node();
      await clock.runUntil(node.join(invite, { memberName: `n${at}` }));
      await node.close();
    }
    await clock.advance(5_000);
    const newest = await local.node();
    await clock.runUntil(newest.join(invite, { memberName: 'newest' }));
    await clock.advance(1_000);
    expect(newest.party(party)!.head.sequence).toBe(founder.party(party)!.head.sequence);
    // 1 genesis, 2 invites, 71 joins, and the checkpoint
    expect(newest.party(party)!.head.sequence).toBe(74);
    await local.close();
  });

  test('logs what a listener throws, and goes on', async () => {
    const clock = new VirtualClock();
    const records: LogRecord[] = [];
    const log = createLog((record) => void records.push(record));
    await using local = await LocalControlPlane.start({ clock, random: new SeededRandom(7), log });
    const founder = await local.node();
    founder.events.on('party', () => {
      throw new Error('the listener is broken');
    });
    const { id } = await clock.runUntil(founder.createParty({ name: 'camp', memberName: 'Fay' }));
    expect(founder.party(id)!.name).toBe('camp');
    expect(records.filter(({ message }) => message.includes('the listener is broken'))).toHaveLength(1);
  });

  test('leaves no timer behind when it is closed', async () => {
    const { clock, local } = await peopled(3);
    await local.close();
    await clock.advance(1_000);
    expect(clock.pendingTimers).toBe(0);
  });
});
