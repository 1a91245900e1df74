import { silentLog } from '@towpath/core';
import { generateWireGuardKey } from '@towpath/membership';
import type { Network } from '@towpath/net';
import { natKinds } from '@towpath/net/simulated';
import { FakeKernel } from '@towpath/splice/testing';
import { TurnAllocation } from '@towpath/stun';
import { afterEach, describe, expect, it } from 'vitest';
import { PartyRelay, type PartyRelayOptions } from '../../src/index.ts';
import { partyRelayPassword } from '../../src/relays/party-credentials.ts';
import { decodeAnnouncement, encodeAnnouncement, foreignAnnouncement } from '../../src/relays/relay-announcement.ts';
import { datagramOf, PARTY, type PartyMember, SimulatedParty } from '../paths/party.ts';

describe('a member that relays for its party', () => {
  let party: SimulatedParty;
  const relays: PartyRelay[] = [];
  afterEach(async () => {
    for (const relay of relays.splice(0)) await party.clock.runUntil(relay.close());
    await party.close();
    await party.clock.advance(60_000);
    expect(party.clock.pendingTimers).toBe(0);
  });

  async function relayOn(
    member: PartyMember,
    options: Partial<PartyRelayOptions> = {},
    system?: FakeKernel,
  ): Promise<PartyRelay> {
    const { network, peer, key } = member;
    const { clock, random } = party;
    const relay = await PartyRelay.open(
      { network, clock, random, log: silentLog, control: party.controlOf(peer), system },
      { party: PARTY, self: peer.id, wireGuardKey: key, ...options },
    );
    relays.push(relay);
    return relay;
  }

  /** Two members behind NATs that no direct path crosses, a third with a public address, and no operator's relay. */
  async function three(seed: number) {
    party = new SimulatedParty(seed, { portMapping: false });
    const kind = natKinds.symmetricRandom;
    const [a, b, c] = [await party.member('a', kind), await party.member('b', kind), await party.member('c')];
    return { a, b, c };
  }

  const address = ({ network }: PartyMember) => network.interfaces().find(({ internal }) => !internal)!.address;

  it('connects two members behind hard NATs where there is no other relay (C9)', async () => {
    const { a, b, c } = await three(31);
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(20_000);
    expect([toB.current, toA.current]).toEqual([undefined, undefined]);
    const relay = await relayOn(c);
    expect(relay.status).toMatchObject({ state: 'unverified', address: { address: address(c), port: 3_478 } });
    await party.clock.advance(10_000);
    expect([toB.current?.kind, toA.current?.kind]).toEqual(['relay', 'relay']);
    toB.current!.send(datagramOf('to b'));
    toA.current!.send(datagramOf('to a'));
    await party.clock.advance(500);
    expect([b.received, a.received]).toEqual([['to b'], ['to a']]);
    expect(relay.status).toMatchObject({ state: 'reachable', sessions: 2, maxSessions: 128 });
    expect(relay.status.relayedBytes).toBeGreaterThan(0);
  });

  it('refuses a member at once when it is removed, and what it had is gone (C9, B1)', async () => {
    const { a, b, c } = await three(32);
    const relay = await relayOn(c);
    const toB = a.connect(b);
    b.connect(a);
    await party.clock.advance(20_000);
    expect([toB.current?.kind, relay.status.sessions]).toEqual(['relay', 2]);
    party.removed.add(a.peer.id);
    party.tellParty();
    await party.clock.advance(10);
    expect(relay.status.sessions).toBe(1);
    const own = a.key;
    const password = partyRelayPassword({
      party: PARTY,
      relay: c.peer.id,
      user: a.peer.id,
      own,
      theirs: c.peer.wireGuardKey,
    })!;
    expect(await party.clock.runUntil(tryAllocation(a, c, a.peer.id, password))).toMatch(/unauth|401|credentials/i);
    expect(relay.status.sessions).toBeLessThanOrEqual(1);
  });

  it('relays for nobody who is no member, whatever name or key he uses (C9)', async () => {
    const { a, c } = await three(33);
    const relay = await relayOn(c);
    await party.clock.advance(20_000);
    // The two other members have theirs.
    expect(relay.status.sessions).toBe(2);
    const outside = party.internet.host({ name: 'stranger' });
    const stranger = generateWireGuardKey(party.random);
    const derived = (user: string) =>
      partyRelayPassword({ party: PARTY, relay: c.peer.id, user, own: stranger, theirs: c.peer.wireGuardKey })!;
    const names = [a.peer.id, c.peer.id, 'stranger', '__proto__', 'toString', ''];
    for (const name of names) {
      for (const password of [derived(name), '', 'undefined', 'secret']) {
        expect(await party.clock.runUntil(tryAllocation(outside, c, name, password))).not.toBe('granted');
      }
    }
    expect(relay.status.sessions).toBe(2);
  });

  it('keeps the limits of its owner for all members together (C9)', async () => {
    const { a, b, c } = await three(34);
    const relay = await relayOn(c, { sessions: 1 });
    a.connect(b);
    b.connect(a);
    await party.clock.advance(30_000);
    expect(relay.status).toMatchObject({ sessions: 1, maxSessions: 1 });
  });

  it('relays no more than its rate (C9)', async () => {
    const { a, b, c } = await three(35);
    const relay = await relayOn(c, { bytesPerSecond: 20_000 });
    const toB = a.connect(b);
    b.connect(a);
    await party.clock.advance(20_000);
    const before = relay.status.relayedBytes;
    for (let turn = 0; turn < 1_000; turn++) {
      toB.current?.send(datagramOf('x'.repeat(1_000)));
      await party.clock.advance(10);
    }
    expect(relay.status.relayedBytes - before).toBeLessThan(20_000 * 12);
    expect(relay.status.relayedBytes - before).toBeGreaterThan(20_000 * 5);
  });

  it('relays no more than half of its rate for one member, so that others are relayed for too (C9)', async () => {
    const { a, c } = await three(43);
    const relay = await relayOn(c, { bytesPerSecond: 40_000 });
    const password = partyRelayPassword({
      party: PARTY,
      relay: c.peer.id,
      user: a.peer.id,
      own: a.key,
      theirs: c.peer.wireGuardKey,
    })!;
    const allocation = await party.clock.runUntil(
      TurnAllocation.connect(
        { network: a.network, clock: party.clock, random: party.random },
        {
          server: { address: address(c), port: 3_478 },
          credentials: { username: a.peer.id, password },
          handlers: { onData: () => {} },
        },
      ),
    );
    const to = { address: '11.9.9.9', port: 9 };
    await party.clock.runUntil(allocation.permit([to.address]));
    const before = relay.status.relayedBytes;
    for (let turn = 0; turn < 1_000; turn++) {
      allocation.send(new Uint8Array(1_000), to);
      await party.clock.advance(10);
    }
    expect(relay.status.relayedBytes - before).toBeLessThan(20_000 * 12);
    expect(relay.status.relayedBytes - before).toBeGreaterThan(20_000 * 5);
    await party.clock.runUntil(allocation.close());
  });

  it('leaves to the kernel what two members send through it, until one is removed (C9, A7)', async () => {
    const { a, b, c } = await three(41);
    const kernel = FakeKernel.host([address(c)]);
    const relay = await relayOn(c, {}, kernel);
    expect(relay.status.data).toEqual({ plane: 'kernel', reason: expect.stringContaining('forwarded') });
    a.connect(b);
    b.connect(a);
    await party.clock.advance(20_000);
    expect(kernel.elements('netdev', 'sessions4').size).toBeGreaterThan(0);
    for (const { peer } of [a, b]) party.removed.add(peer.id);
    party.tellParty();
    await party.clock.advance(1_000);
    expect(kernel.elements('netdev', 'sessions4').size).toBe(0);
    await party.clock.runUntil(relay.close());
    expect([relay.status.data, kernel.tables.size]).toEqual([undefined, 0]);
  });

  it('relays in this process where the kernel cannot be used, and says why (C9, A7)', async () => {
    const { c } = await three(42);
    const kernel = FakeKernel.host([address(c)]);
    kernel.startFailure = { reason: 'ENOENT', missing: true };
    const relay = await relayOn(c, {}, kernel);
    expect(relay.status).toMatchObject({
      state: 'unverified',
      data: { plane: 'user', reason: expect.stringContaining('nft') },
    });
  });

  it('says that it does not relay without a public address (C9)', async () => {
    party = new SimulatedParty(36, { portMapping: false });
    const hidden = await party.member('hidden', natKinds.portRestricted);
    const relay = await relayOn(hidden);
    expect(relay.status).toMatchObject({ state: 'no-address', address: undefined, problem: undefined });
    expect(party.announcements.size).toBe(0);
  });

  it('is called by the public address that its owner gives where a router forwards the ports (C9)', async () => {
    party = new SimulatedParty(37, { portMapping: false });
    const member = await party.member('forwarded', natKinds.fullCone);
    const relay = await relayOn(member, { address: '11.9.9.9', port: 4_000 });
    expect(relay.status).toMatchObject({ state: 'unverified', address: { address: '11.9.9.9', port: 4_000 } });
    expect(party.announcements.get(member.peer.id)).toEqual(
      encodeAnnouncement({ relay: { port: 4_000, addresses: ['11.9.9.9'] } }),
    );
  });

  it('is used by nobody who does not reach it, although it is announced (C9)', async () => {
    const { a, b, c } = await three(38);
    const victim = party.internet.host({ name: 'victim' });
    const seen: number[] = [];
    await victim.network.bindUdp({ port: 3_478, onMessage: (data) => seen.push(data.length) });
    const [toB] = [a.connect(b), b.connect(a)];
    party.announce(c.peer, encodeAnnouncement({ relay: { port: 3_478, addresses: [victim.address] } }));
    await party.clock.advance(120_000);
    expect(toB.current).toBeUndefined();
    // Binding requests of three members, rarer and rarer; no allocation is asked for.
    expect(seen.length).toBeLessThan(60);
    expect(Math.max(...seen)).toBeLessThanOrEqual(28);
  });

  it('says goodbye: the others leave it when it ends (C9)', async () => {
    const { a, b, c } = await three(39);
    const relay = await relayOn(c);
    await party.startRelay();
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(20_000);
    await party.clock.runUntil(relay.close());
    await party.clock.advance(20_000);
    const relayed = [toB.current, toA.current].map((path) => [path?.local.address, path?.remote.address]);
    expect(relayed.flat()).not.toContain(address(c));
    expect([toB.current?.kind, toA.current?.kind]).toEqual(['relay', 'relay']);
  });

  async function tryAllocation(from: { network: Network }, to: PartyMember, username: string, password: string) {
    const { clock, random } = party;
    const server = { address: address(to), port: 3_478 };
    const handlers = { onData: () => {}, onLost: () => {} };
    try {
      const made = await TurnAllocation.connect(
        { network: from.network, clock, random },
        { server, credentials: { username, password }, handlers },
      );
      await made.close();
      return 'granted';
    } catch (error) {
      return `${error}`;
    }
  }
});

describe('an announced relay (C3)', () => {
  it('is known in every version but the own one, also after blocks of unknown kinds', () => {
    const own = encodeAnnouncement({ relay: { port: 3_478, addresses: ['203.0.113.9'] } });
    for (const before of [[], [200, 0, 1, 7]]) {
      const versions = Array.from({ length: 256 }, (_, version) => Uint8Array.of(...before, ...own.with(3, version)));
      expect(versions.map(foreignAnnouncement)).toEqual(versions.map((_, at) => (at === 1 ? undefined : at)));
      expect(versions.flatMap((bytes, at) => (decodeAnnouncement(bytes).relay ? at : []))).toEqual([1]);
    }
    expect([new Uint8Array(0), Uint8Array.of(200, 0, 1, 7)].map(foreignAnnouncement)).toEqual([undefined, undefined]);
  });
});
