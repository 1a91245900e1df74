import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { authorRotation, fromBase64, openAnnouncement, signAnnouncement, toBase64 } from '@towpath/membership';
import { afterEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../src/client/control-client.ts';
import { HttpTransport } from '../src/client/http-transport.ts';
import { ControlServer } from '../src/http/control-server.ts';
import { LocalControlPlane } from '../src/client/local-control-plane.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import type { PresenceEntry } from '../src/wire/messages.ts';
import { clock as systemClock, random as systemRandom, Rig, until } from './http-fixture.ts';
import { bytes, nodeKeys, scene, shiftedClock, statementsMessage } from './malicious-plane.ts';

const YEARS_MS = 50 * 365.25 * 86_400_000;
const HOUR_MS = 3_600_000;

describe('dates of a server that is 50 years ahead', () => {
  const open: Server[] = [];
  afterEach(() => {
    for (const server of open.splice(0)) server.closeAllConnections();
  });

  /** Answers every request that is not dated 50 years ahead with its own date, and accepts everything else. */
  async function serverOfTheFuture(): Promise<string> {
    const server = createServer((request, answer) => {
      const future = systemClock.wallTime() + YEARS_MS;
      const near = Math.abs(Number(request.headers['towpath-time']) - future) < 60_000;
      answer.writeHead(near ? 201 : 401, { 'content-type': 'application/json' });
      const details = { serverTimeMs: future };
      answer.end(JSON.stringify(near ? {} : { code: 'clock-skew', message: 'Set your clock.', details }));
    });
    open.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  test('are not signed: a party cannot be founded there, and one that exists stays changeable (B1, D3)', async () => {
    await using rig = new Rig();
    const liar = await serverOfTheFuture();
    const stranger = await rig.client([liar], { live: false });
    await expect(stranger.createParty({ name: 'x', memberName: 'y' })).rejects.toMatchObject({
      code: 'clock-skew',
      message: expect.stringMatching(/says that it is 20\d\d-.*this machine's clock says 20\d\d-.*Next: compare/),
    });

    const honest = await rig.server();
    const founder = await rig.client([liar, honest.address], { live: false });
    await expect(founder.createParty({ name: 'x', memberName: 'y' })).rejects.toMatchObject({ code: 'clock-skew' });
    const other = await rig.client([honest.address], { live: false });
    const { id } = await other.createParty({ name: 'x', memberName: 'y' });
    const invite = await other.invite(id);
    expect(invite.head.sequence).toBe(1);
  });

  test('are a suspicion for whoever is connected; what it says goes on with its own date (B1, D3)', async () => {
    const { clock, plane, ann, bob, party, state, idOf } = await scene();
    ann.inject({ type: 'welcome', server: 'x', timeMs: clock.wallTime() + YEARS_MS });
    await clock.advance(10);
    expect(ann.suspicions).toMatchObject([
      {
        kind: 'clock',
        message: expect.stringMatching(/^The control server liar\.example:4100 says .* do not use that server/),
      },
    ]);
    await clock.runUntil(ann.client.invite(party));
    await clock.runUntil(ann.client.setRole(party, idOf(bob), 'admin'));
    expect((await state()).timeMs).toBeLessThan(clock.wallTime() + 1_000);
    await plane.close();
  });

  test('are a problem of the node as long as the server gives them, and no longer (B1)', async () => {
    const { clock, plane, ann } = await scene();
    const welcome = (aheadMs: number) => {
      ann.inject({ type: 'welcome', server: 'x', timeMs: clock.wallTime() + aheadMs });
      return clock.advance(1_000);
    };
    expect(ann.client.clockProblem).toBeUndefined();
    const sinceMs = clock.wallTime();
    await welcome(YEARS_MS);
    await welcome(YEARS_MS);
    const message = expect.stringMatching(/^The control server liar\.example:4100 says .* do not use that server/);
    expect(ann.client.clockProblem).toEqual({ message, sinceMs });
    await welcome(0);
    expect(ann.client.clockProblem).toBeUndefined();
    await plane.close();
  });

  test('are a problem of a node that they keep from connecting, until the clocks agree (B1)', async () => {
    let behindMs = YEARS_MS;
    const wrong = { ...shiftedClock(systemClock, 0), wallTime: () => systemClock.wallTime() - behindMs };
    await using rig = new Rig();
    const { address } = await rig.server();
    const components = { clock: wrong, random: systemRandom };
    await using node = await ControlClient.open({
      ...components,
      transport: new HttpTransport(components, { servers: [address] }),
      identity: generateNodeIdentity(systemRandom),
    });
    await until(() => node.clockProblem !== undefined, 'noticing the dates');
    expect([node.connected, node.clockProblem?.message]).toEqual([
      false,
      expect.stringMatching(/^The control server 127\.0\.0\.1:\d+ says that it is 20\d\d-.* Next: compare/),
    ]);
    behindMs = 0;
    await node.ready();
    await until(() => node.clockProblem === undefined, 'noticing that the clocks agree');
  });

  test('end with the server set right, whose nodes are connected then', async () => {
    let aheadMs = YEARS_MS;
    const wrong = { ...shiftedClock(systemClock, 0), wallTime: () => systemClock.wallTime() + aheadMs };
    const store = new MemoryStore({ clock: wrong });
    const components = { clock: systemClock, random: systemRandom };
    await using server = await ControlServer.start({ store, clock: wrong, random: systemRandom }, { founding: 'open' });
    await using node = await ControlClient.open({
      ...components,
      transport: new HttpTransport(components, { servers: [server.address] }),
      identity: generateNodeIdentity(systemRandom),
    });
    await until(() => node.clockProblem !== undefined, 'noticing the dates');
    aheadMs = 0;
    await node.ready();
    await until(() => node.clockProblem === undefined, 'noticing that the clocks agree');
    expect(node.connected).toBe(true);
  });

  test('of a member who conspires with the server are refused, and the party goes on (B1)', async () => {
    const { clock, plane, ann, bob, cleo, party, state, names } = await scene();
    const to = nodeKeys(generateNodeIdentity(new SeededRandom(9)));
    const from = bob.identity.signing;
    const farAhead = authorRotation(await state(), { from, to, timeMs: clock.wallTime() + YEARS_MS });
    for (const victim of [ann, cleo]) victim.inject(statementsMessage(party, farAhead));
    await clock.advance(10);
    for (const victim of [ann, cleo]) {
      expect(victim.suspicions).toMatchObject([{ kind: 'clock', sequence: farAhead.sequence }]);
    }
    await clock.runUntil(ann.client.remove(party, bob.client.party(party)!.self.id));
    await clock.advance(100);
    expect(names(cleo)).toEqual(['Ann']);
    await plane.close();
  });

  test('do not make a node take its TURN credentials for good ever after (B1)', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    const init = { turnSecret: 'secret', turnCredentialsValidForMs: YEARS_MS };
    await using plane = await LocalControlPlane.start({ clock, random }, init);
    const node = await plane.node();
    await clock.runUntil(node.createParty({ name: 'x', memberName: 'y' }));
    const first = await clock.runUntil(node.turnCredentials());
    expect(first.expiresAtMs).toBeLessThan(clock.wallTime() + 13 * HOUR_MS);
    await clock.advance(13 * HOUR_MS);
    expect(await clock.runUntil(node.turnCredentials())).not.toEqual(first);
  });
});

describe('dates of announcements', () => {
  /** What the plane tells Bob of Ann. */
  async function annAsBobHearsHer() {
    const scenery = await scene();
    const { clock, ann, bob, party, idOf } = scenery;
    const heard: PresenceEntry[] = [];
    bob.lies.push = (message) => {
      if (message.type === 'presence') heard.push(...message.entries.filter((entry) => entry.peer === idOf(ann)));
      return message;
    };
    const seen = () => bob.client.party(party)!.peers.find((peer) => peer.name === 'Ann')!.announcement;
    const tellBob = (announcement: string) => {
      const entries = [{ peer: idOf(ann), online: true, announcement }];
      bob.inject({ type: 'presence', party, whole: false, entries });
      return clock.advance(10);
    };
    return { ...scenery, heard, seen, tellBob };
  }

  test('that are far ahead do not keep out what the member announces later (B1)', async () => {
    const { clock, plane, ann, party, idOf, seen, tellBob } = await annAsBobHearsHer();
    const { head } = ann.client.party(party)!;
    const future = { timeMs: clock.wallTime() + YEARS_MS, head, data: bytes(1) };
    await tellBob(toBase64(signAnnouncement(future, { party, peer: idOf(ann), key: ann.identity.signing })));
    expect(seen()).toBeUndefined();
    ann.client.announce(party, bytes(2));
    await clock.advance(100);
    expect(seen()).toEqual(bytes(2));
    await plane.close();
  });

  test('that are old are refused by a newcomer, and members who stay date theirs anew (B6)', async () => {
    const { clock, plane, ann, party, invite, heard, idOf } = await annAsBobHearsHer();
    ann.client.announce(party, bytes(1));
    await clock.advance(100);
    const old = heard.at(-1)!.announcement!;
    ann.client.announce(party, bytes(2));
    await clock.advance(10 * HOUR_MS);

    const newcomer = await plane.victim();
    await clock.runUntil(newcomer.client.join(invite, { memberName: 'Dan' }));
    await clock.advance(100);
    const seen = () => newcomer.client.party(party)!.peers.find((peer) => peer.name === 'Ann')!.announcement;
    expect(seen()).toEqual(bytes(2));

    const lied = await plane.victim();
    lied.lies.push = (message) =>
      message.type !== 'presence'
        ? message
        : {
            ...message,
            entries: message.entries.map((entry) =>
              entry.peer === idOf(ann) ? { ...entry, announcement: old } : entry,
            ),
          };
    await clock.runUntil(lied.client.join(invite, { memberName: 'Eve' }));
    await clock.advance(100);
    const ofEve = lied.client.party(party)!.peers.find((peer) => peer.name === 'Ann')!;
    expect(ofEve).toMatchObject({ online: true, announcement: undefined });
    const member = ann.client.party(party)!.self;
    expect((await openAnnouncement(fromBase64(old)!, { party, member }))!.data).toEqual(bytes(1));
    await plane.close();
  });

  test('are near the own clock again after it was set back', async () => {
    const { clock, plane, ann, bob, party, heard, seen } = await annAsBobHearsHer();
    const shifted = clock.wallTime.bind(clock);
    clock.wallTime = () => shifted() + YEARS_MS;
    ann.client.announce(party, bytes(1));
    clock.wallTime = shifted;
    await clock.advance(100);
    expect(seen()).toBeUndefined();
    ann.client.announce(party, bytes(2));
    await clock.advance(100);
    expect(seen()).toEqual(bytes(2));
    expect(heard.length).toBeGreaterThan(1);
    expect(bob.suspicions).toEqual([]);
    await plane.close();
  });
});

test('a machine that starts with a wrong clock still knows its parties, and signs nothing (B1)', async () => {
  const { clock, plane, ann, party, invite } = await scene();
  const saved = {
    partyKey: invite.partyKey,
    statements: await plane.store.readLog(party, 0, 100),
    announcements: new Map(),
  };
  const reopened = await plane.victim({ identity: ann.identity, saved: [saved], clockOffsetMs: -YEARS_MS });
  expect(reopened.client.party(party)!.name).toBe('camp');
  await expect(clock.runUntil(reopened.client.invite(party))).rejects.toMatchObject({
    code: 'clock-skew',
    message: expect.stringContaining("Next: set this machine's clock."),
  });
  await plane.close();
});
