import { SeededRandom } from '@towpath/core';
import type { NetworkChange } from '@towpath/net';
import { type NatOptions, natKinds } from '@towpath/net/simulated';
import type { TurnServer } from '@towpath/stun/server';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerPath, PeerPaths } from '../../src/index.ts';
import { datagramOf, type PartyMember, SimulatedParty } from '../paths/party.ts';

/** Two members behind NATs that no direct path crosses, and relays at chosen distances. */
class Distances {
  readonly party: SimulatedParty;
  readonly relays: TurnServer[] = [];
  readonly #extraMs = new Map<string, number>();
  readonly #listeners = new Map<PartyMember, Set<() => void>>();
  /** Inside and outside of its NAT. */
  readonly #ends = new Map<PartyMember, readonly [string, string]>();

  constructor(seed: number) {
    this.party = new SimulatedParty(seed);
    this.party.internet.intercept(({ source, destination }, next) => {
      const extra = this.#extraMs.get(`${source} ${destination}`) ?? this.#extraMs.get(`${destination} ${source}`);
      if (extra === undefined) next();
      else if (Number.isFinite(extra)) this.party.clock.timer(extra, next);
    });
  }

  async member(name: string, kind: NatOptions = natKinds.symmetricRandom): Promise<PartyMember> {
    const nat = this.party.internet.nat({ ...kind, subnet: `192.168.${this.#ends.size + 1}.0/24` });
    const host = nat.host({ name });
    const listeners = new Set<() => void>();
    const subscribe = (listener: (changes: readonly NetworkChange[]) => void) => {
      const told = () => listener([{ kind: 'sleep', sleptMs: 1 }]);
      listeners.add(told);
      return { [Symbol.dispose]: () => void listeners.delete(told) };
    };
    const member = await this.party.memberOn(name, { ...host.network, changes: { subscribe } });
    this.#listeners.set(member, listeners);
    this.#ends.set(member, [host.address, nat.externalAddress]);
    return member;
  }

  async relay(): Promise<TurnServer> {
    const relay = await this.party.startRelay();
    this.relays.push(relay);
    return relay;
  }

  /** The member is told that its network has changed. */
  changeNetwork(member: PartyMember): void {
    for (const listener of this.#listeners.get(member) ?? []) listener();
  }

  /** Packets between a member and a relay take this much longer, each way; infinite: they are lost. */
  between(member: PartyMember, relay: TurnServer, extraMs: number): void {
    const [{ address } = { address: '' }] = relay.locals;
    for (const end of this.#ends.get(member) ?? []) this.#extraMs.set(`${end} ${address}`, extraMs);
  }

  /** Number of the relay that a path goes through, from 1; 0 for none. */
  at(path: PeerPath | undefined): number {
    if (path?.kind !== 'relay') return 0;
    const addresses = this.relays.map(({ locals }) => locals[0]!.address);
    return addresses.findIndex((address) => [path.local.address, path.remote.address].includes(address)) + 1;
  }
}

describe('two members on relays', () => {
  let far: Distances;
  afterEach(async () => {
    await far.party.close();
    await far.party.clock.advance(60_000);
    expect(far.party.clock.pendingTimers).toBe(0);
  });

  /** Extra delays between each member and each relay, one way, ms. */
  async function connect(seed: number, delays: readonly (readonly [number, number])[]) {
    far = new Distances(seed);
    const relays: TurnServer[] = [];
    for (const _ of delays) relays.push(await far.relay());
    const [a, b] = [await far.member('a'), await far.member('b')];
    for (const [at, [ofA, ofB]] of delays.entries()) {
      far.between(a, relays[at]!, ofA);
      far.between(b, relays[at]!, ofB);
    }
    return { a, b, relays, toB: a.connect(b), toA: b.connect(a) };
  }

  const used = (...ends: PeerPaths[]) => ends.map(({ current }) => far.at(current));
  const standbys = (...ends: PeerPaths[]) =>
    ends.map((end) => far.at(end.status().find(({ role }) => role === 'standby')?.path));

  it('come to use the one with the least sum of both delays, and keep the second ready (C8, C9)', async () => {
    const { toB, toA } = await connect(1, [
      [5, 150],
      [150, 5],
      [40, 40],
      [20, 30],
    ]);
    await far.party.clock.advance(20_000);
    expect([used(toB, toA), standbys(toB, toA)]).toEqual([
      [4, 4],
      [3, 3],
    ]);
  });

  it.each([...Array(24).keys()])(
    'use one allocation for both directions, whichever is verified first: seed %i (D2)',
    async (seed) => {
      const random = new SeededRandom(seed);
      const delay = () => random.integer(0, 60);
      const { toB, toA } = await connect(seed, [
        [delay(), delay()],
        [delay(), delay()],
      ]);
      await far.party.clock.advance(4_000);
      const ends = [toB, toA].map(({ current }) => current!.id.startsWith('turn:'));
      expect([used(toB, toA)[0], ends.toSorted()]).toEqual([used(toA, toB)[0], [false, true]]);
    },
  );

  it('come to agree although the first figures of both are lost (C8)', async () => {
    far = new Distances(22);
    const relays = [await far.relay(), await far.relay(), await far.relay()];
    const [a, b] = [await far.member('a'), await far.member('b')];
    for (const [at, delayMs] of [90, 60, 10].entries()) {
      for (const member of [a, b]) far.between(member, relays[at]!, delayMs);
    }
    const { clock } = far.party;
    const FIGURES = 3;
    far.party.passes = (data) => data[0] !== FIGURES || clock.now() > 4_000;
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await clock.advance(30_000);
    expect(used(toB, toA)).toEqual([3, 3]);
  });

  it.each([
    ['one of them', natKinds.symmetricRandom],
    ['both of them', natKinds.udpBlocked],
  ])('choose in the same way where UDP does not leave the network of %s (C8)', async (_, kind) => {
    far = new Distances(21);
    const relays = [await far.relay(), await far.relay(), await far.relay()];
    const [a, b] = [await far.member('a', natKinds.udpBlocked), await far.member('b', kind)];
    for (const [at, delayMs] of [90, 60, 10].entries()) {
      for (const member of [a, b]) far.between(member, relays[at]!, delayMs);
    }
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await far.party.clock.advance(40_000);
    expect(used(toB, toA)).toEqual([3, 3]);
    toB.current!.send(datagramOf('to b'));
    toA.current!.send(datagramOf('to a'));
    await far.party.clock.advance(1_000);
    expect([b.received, a.received]).toEqual([['to b'], ['to a']]);
  });

  it('move together when another has become faster, and lose no datagram (C8)', async () => {
    const { a, b, relays, toB, toA } = await connect(2, [
      [10, 10],
      [60, 60],
      [90, 90],
    ]);
    await far.party.clock.advance(20_000);
    expect(used(toB, toA)).toEqual([1, 1]);
    const moves: [string, number][] = [];
    toB.events.on('selected', ({ reason }) => moves.push([reason, far.party.clock.now()]));
    toA.events.on('selected', ({ reason }) => moves.push([reason, far.party.clock.now()]));
    for (const member of [a, b]) {
      far.between(member, relays[0]!, 100);
      far.between(member, relays[2]!, 5);
    }
    let sent = 0;
    for (; sent < 1_500; sent++) {
      toB.current!.send(datagramOf(`${sent}`));
      toA.current!.send(datagramOf(`${sent}`));
      await far.party.clock.advance(100);
    }
    await far.party.clock.advance(2_000);
    expect(used(toB, toA)).toEqual([3, 3]);
    const agreed = moves.filter(([reason]) => reason === 'agreed').map(([, atMs]) => atMs);
    expect(agreed.length).toBeGreaterThanOrEqual(2);
    expect(Math.abs(agreed[0]! - agreed[1]!)).toBeLessThan(250);
    expect([new Set(a.received).size, new Set(b.received).size]).toEqual([sent, sent]);
  });

  it('stay where they are while they cannot agree: neither end moves alone (C8)', async () => {
    const { a, b, relays, toB, toA } = await connect(3, [
      [10, 10],
      [60, 60],
    ]);
    await far.party.clock.advance(20_000);
    expect(used(toB, toA)).toEqual([1, 1]);
    // Confirmations are lost, then everything.
    far.party.passes = (data) => data[0] !== 4 || data[2] !== 1;
    for (const member of [a, b]) {
      far.between(member, relays[0]!, 100);
      far.between(member, relays[1]!, 1);
    }
    await far.party.clock.advance(150_000);
    expect(used(toB, toA)).toEqual([1, 1]);
    far.party.passes = () => false;
    await far.party.clock.advance(150_000);
    expect(used(toB, toA)).toEqual([1, 1]);
    far.party.passes = () => true;
    await far.party.clock.advance(60_000);
    expect(used(toB, toA)).toEqual([2, 2]);
  });

  it('move although the word that the first has moved is lost (C8)', async () => {
    const { a, b, relays, toB, toA } = await connect(4, [
      [10, 10],
      [60, 60],
    ]);
    await far.party.clock.advance(20_000);
    far.party.passes = (data) => data[0] !== 4 || data[2] !== 2;
    for (const member of [a, b]) {
      far.between(member, relays[0]!, 100);
      far.between(member, relays[1]!, 1);
    }
    for (let turn = 0; turn < 150; turn++) {
      toB.current!.send(datagramOf('x'));
      toA.current!.send(datagramOf('x'));
      await far.party.clock.advance(1_000);
    }
    expect(used(toB, toA)).toEqual([2, 2]);
  });

  it('both go to the standby when the relay dies, within two seconds, and find another standby (C9)', async () => {
    const { a, b, relays, toB, toA } = await connect(5, [
      [5, 5],
      [40, 40],
      [80, 80],
    ]);
    await far.party.clock.advance(20_000);
    expect([used(toB, toA), standbys(toB, toA)]).toEqual([
      [1, 1],
      [2, 2],
    ]);
    await far.party.clock.runUntil(relays[0]!.close());
    for (let turn = 0; turn < 40; turn++) {
      for (const path of [toB.current, toB.also]) path?.send(datagramOf(`${turn}`));
      for (const path of [toA.current, toA.also]) path?.send(datagramOf(`${turn}`));
      await far.party.clock.advance(50);
    }
    expect(used(toB, toA)).toEqual([2, 2]);
    expect([a.received.at(-1), b.received.at(-1)].map(Number).every((last) => last >= 34)).toBe(true);
    await far.party.clock.advance(30_000);
    expect([used(toB, toA), standbys(toB, toA)]).toEqual([
      [2, 2],
      [3, 3],
    ]);
  });

  it('replace a standby that has died (C9)', async () => {
    const { relays, toB, toA } = await connect(8, [
      [5, 5],
      [40, 40],
      [80, 80],
    ]);
    await far.party.clock.advance(20_000);
    expect(standbys(toB, toA)).toEqual([2, 2]);
    await far.party.clock.runUntil(relays[1]!.close());
    await far.party.clock.advance(100_000);
    expect([used(toB, toA), standbys(toB, toA)]).toEqual([
      [1, 1],
      [3, 3],
    ]);
  });

  it('use a relay that they learn of while they run (C9)', async () => {
    const { a, b, toB, toA } = await connect(6, [
      [60, 60],
      [70, 70],
    ]);
    await far.party.clock.advance(20_000);
    expect(used(toB, toA)).toEqual([1, 1]);
    const added = await far.relay();
    far.between(a, added, 5);
    far.between(b, added, 5);
    await far.party.clock.advance(20_000);
    expect(used(toB, toA)).toEqual([3, 3]);
  });

  it('come together again when the path of one end alone has died, also without a control server meanwhile (C8)', async () => {
    for (const seed of [9, 10, 11]) {
      const { a, b, relays, toB, toA } = await connect(seed, [
        [5, 5],
        [40, 40],
      ]);
      await far.party.clock.advance(20_000);
      expect(used(toB, toA)).toEqual([1, 1]);
      far.party.passes = () => false;
      const victim = seed % 2 === 0 ? a : b;
      far.between(victim, relays[0]!, Number.POSITIVE_INFINITY);
      for (let turn = 0; turn < 200; turn++) {
        toB.current?.send(datagramOf('x'));
        toA.current?.send(datagramOf('x'));
        await far.party.clock.advance(100);
      }
      far.between(victim, relays[0]!, 5);
      await far.party.clock.advance(10_000);
      far.party.passes = () => true;
      await far.party.clock.advance(130_000);
      const [ofB, ofA] = used(toB, toA);
      expect([seed, ofB]).toEqual([seed, ofA]);
      expect(ofA).toBeGreaterThan(0);
      if (seed < 11) await far.party.close();
    }
  });

  it('come together again when the relayed addresses of both are made anew at different times (C8, C11)', async () => {
    for (let seed = 40; seed < 60; seed++) {
      const { a, b, toB, toA } = await connect(seed, [
        [5, 5],
        [5, 5],
      ]);
      await far.party.clock.advance(3_000 + seed * 50);
      far.changeNetwork(a);
      await far.party.clock.advance((seed % 5) * 400);
      far.changeNetwork(b);
      await far.party.clock.advance(20_000);
      const [ofB, ofA] = used(toB, toA);
      expect([seed, ofB]).toEqual([seed, ofA]);
      expect(ofA).toBeGreaterThan(0);
      if (seed < 59) await far.party.close();
    }
  });

  it('keep off a relay together for as long as one of them does not use it, because it lost data there (C8)', async () => {
    for (const end of [0, 1] as const) {
      const { toB, toA } = await connect(62 + end, [
        [5, 5],
        [40, 40],
      ]);
      await far.party.clock.advance(20_000);
      expect(used(toB, toA)).toEqual([1, 1]);
      [toB, toA][end]!.dataLost();
      await far.party.clock.advance(2_000);
      for (let second = 2; second < 58; second++) {
        expect([end, second, ...used(toB, toA)]).toEqual([end, second, 2, 2]);
        await far.party.clock.advance(1_000);
      }
      await far.party.clock.advance(10_000);
      expect(used(toB, toA)).toEqual([1, 1]);
      if (end === 0) await far.party.close();
    }
  });

  it('leave together, for a minute, one on which data takes longer than checks over another, and not that one then (C8)', async () => {
    const { toB, toA } = await connect(64, [
      [5, 5],
      [40, 40],
    ]);
    const slow = async (rttMs: number, ...ends: PeerPaths[]) => {
      // What is compared with is measured just before.
      for (const end of ends) end.probe();
      await far.party.clock.advance(1_000);
      for (const end of ends) end.dataSlow(rttMs);
      await far.party.clock.advance(2_000);
    };
    await far.party.clock.advance(20_000);
    // The other one takes 160 ms and some more.
    await slow(200, toA);
    expect(used(toB, toA)).toEqual([1, 1]);
    await slow(400, toA);
    expect(used(toB, toA)).toEqual([2, 2]);
    await far.party.clock.advance(45_000);
    // What the first answers tells nothing of its data: the second is not worse, and is there when the first is left again.
    await slow(400, toA, toB);
    expect(used(toB, toA)).toEqual([2, 2]);
    await far.party.clock.advance(15_000);
    expect(used(toB, toA)).toEqual([1, 1]);
    await slow(400, toA);
    expect(used(toB, toA)).toEqual([2, 2]);
    // Twice as long as before.
    await far.party.clock.advance(100_000);
    expect(used(toB, toA)).toEqual([2, 2]);
    await far.party.clock.advance(30_000);
    expect(used(toB, toA)).toEqual([1, 1]);
  });

  it('leave a relay that is taken from the list, without a gap (C9)', async () => {
    const { toB, toA } = await connect(7, [
      [5, 5],
      [40, 40],
      [80, 80],
    ]);
    await far.party.clock.advance(20_000);
    const [, ...rest] = far.party.relays();
    far.party.listRelays(rest);
    const gaps: number[] = [];
    toB.events.on('selected', ({ path }) => path === undefined && gaps.push(far.party.clock.now()));
    await far.party.clock.advance(60_000);
    expect([used(toB, toA), gaps]).toEqual([[2, 2], []]);
  });
});
