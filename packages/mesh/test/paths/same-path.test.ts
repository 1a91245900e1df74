import { SeededRandom } from '@towpath/core';
import { natKinds } from '@towpath/net/simulated';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerPath, PeerPaths } from '../../src/index.ts';
import { datagramOf, type PartyMember, SimulatedParty } from './party.ts';

const SEEDS = 25;
const JITTER_MS = 4;

/** What tells one path from another here: the family, or the network. */
const networkOf = (path: PeerPath | undefined) => path?.remote.address.split(/(?<=\.\d+\.\d+)\.|:/)[0];

describe('two members with two direct paths that are equally fast', () => {
  let party: SimulatedParty;
  afterEach(() => party.close());

  async function connect(seed: number, kind: 'both families' | 'two networks'): Promise<[PeerPaths, PeerPaths]> {
    const random = new SeededRandom(seed);
    party = new SimulatedParty(seed, {}, { ipv6: kind === 'both families' });
    await party.startRelay();
    party.internet.intercept((_, next) => void party.clock.timer(random.next() * JITTER_MS, next));
    const lans = [1, 2].map(
      (at) => party.internet.nat({ ...natKinds.portRestricted, subnet: `192.168.${at}.0/24` }).lan,
    );
    const members: PartyMember[] = [];
    for (const name of ['a', 'b']) {
      const host = kind === 'both families' ? party.internet.host({ name }) : lans[0]!.host({ name });
      if (kind === 'two networks') host.join(lans[1]!);
      members.push(await party.memberOn(name, host.network));
    }
    const [a, b] = members as [PartyMember, PartyMember];
    return [a.connect(b), b.connect(a)];
  }

  async function talk(ends: readonly PeerPaths[], ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 50) {
      for (const { current, also } of ends) for (const path of [current, also]) path?.send(datagramOf('data'));
      await party.clock.advance(50);
    }
  }

  it.each(['both families', 'two networks'] as const)(
    'use the same one, and are not in doubt about it: %s (D1, D2)',
    async (kind) => {
      for (let seed = 0; seed < SEEDS; seed++) {
        const ends = await connect(seed, kind);
        await party.clock.advance(5_000);
        let doubts = 0;
        for (const end of ends) end.events.on('log', ({ reason }) => void (reason === 'suspect' && doubts++));
        await talk(ends, 5_000);
        const used = ends.map(({ current }) => networkOf(current));
        expect([seed, used[0], doubts]).toEqual([seed, used[1], 0]);
        if (seed < SEEDS - 1) await party.close();
      }
    },
  );

  it('use the one over the default uplinks of both, whichever end decides (RFC 8445 §5.1.2.1)', async () => {
    const deciders = new Set<boolean>();
    for (let seed = 0; seed < SEEDS; seed++) {
      party = new SimulatedParty(seed);
      await party.startRelay();
      const random = new SeededRandom(seed);
      party.internet.intercept((_, next) => void party.clock.timer(random.next() * JITTER_MS, next));
      const nats = [1, 2].map((at) => party.internet.nat({ ...natKinds.portRestricted, subnet: `192.168.${at}.0/24` }));
      const host = nats[0]!.host({ name: 'a' });
      host.join(nats[1]!.lan);
      const [a, b] = [await party.memberOn('a', host.network), await party.member('b')];
      const ends = [a.connect(b), b.connect(a)];
      await party.clock.advance(1_500);
      await talk(ends, 30_000);
      const [toB, toA] = ends.map(({ current }) => current);
      expect([seed, toB!.local.address, toA!.remote.address]).toEqual([seed, '0.0.0.0', nats[0]!.externalAddress]);
      deciders.add(ends[1]!.log().some(({ reason }) => reason === 'nominated'));
      if (seed < SEEDS - 1) await party.close();
    }
    expect(deciders).toEqual(new Set([true, false]));
  });

  it('move together to the other one when the first is lost', async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const ends = await connect(seed, 'two networks');
      await talk(ends, 6_000);
      const lost = networkOf(ends[0].current);
      party.internet.intercept(({ source, destination }, next) => {
        if (![source, destination].some((address) => address.startsWith(`${lost}.`))) next();
      });
      await talk(ends, 6_000);
      const used = ends.map(({ current }) => networkOf(current));
      expect([seed, used[0] === lost, used[0]]).toEqual([seed, false, used[1]]);
      if (seed < SEEDS - 1) await party.close();
    }
  });
});
