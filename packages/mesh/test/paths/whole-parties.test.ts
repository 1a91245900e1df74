import type { PathKind } from '@towpath/core';
import { isPrivateAddress } from '@towpath/net';
import { type NatOptions, natKinds } from '@towpath/net/simulated';
import { TurnAllocation } from '@towpath/stun';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerPaths } from '../../src/index.ts';
import { datagramOf, type PartyMember, SimulatedParty } from './party.ts';

interface Pair {
  readonly from: PartyMember;
  readonly to: PartyMember;
  readonly paths: PeerPaths;
}

const nameOf = ({ from, to }: Pair) => `${from.peer.name} to ${to.peer.name}`;

describe('a party of several members', () => {
  let party: SimulatedParty;
  let pairs: Pair[];

  afterEach(async () => {
    await party.close();
    await party.clock.advance(60_000);
    expect([party.clock.pendingTimers, party.internet.openSockets]).toEqual([0, 0]);
  });

  function connectAll(): void {
    const { members } = party;
    pairs = members.flatMap((from) =>
      members.filter((to) => to !== from).map((to) => ({ from, to, paths: from.connect(to) })),
    );
  }

  const kinds = () => Object.fromEntries(pairs.map((pair) => [nameOf(pair), pair.paths.current?.kind]));
  const remotes = () => Object.fromEntries(pairs.map((pair) => [nameOf(pair), pair.paths.current?.remote.address]));

  /** Sends datagrams over the current path of every pair. @returns their texts, by receiver */
  async function sendAll(count: number): Promise<Map<PartyMember, string[]>> {
    const expected = new Map(party.members.map((member): [PartyMember, string[]] => [member, []]));
    for (let at = 0; at < count; at++) {
      for (const pair of pairs) {
        const text = `${nameOf(pair)} ${at}`;
        pair.paths.current!.send(datagramOf(text));
        expected.get(pair.to)!.push(text);
      }
      await party.clock.advance(20);
    }
    await party.clock.advance(1_000);
    return expected;
  }

  it('on one relay: each datagram arrives exactly once, and a stranger who may send to every member receives nothing (C3, D2)', async () => {
    party = new SimulatedParty(71, { birthday: false, portMapping: false });
    await party.startRelay();
    const nat: NatOptions = { ...natKinds.symmetricRandom, filtering: 'endpoint-independent' };
    const nats = ['a', 'b', 'c'].map(() => party.internet.nat(nat));
    for (const [at, { lan }] of nats.entries()) await party.memberOn(`m${at}`, lan.host().network);
    const { clock, random, internet } = party;
    connectAll();
    for (const { paths } of pairs) paths.configure({ policy: 'relay-only' });
    await clock.advance(20_000);
    expect(new Set(Object.values(kinds()))).toEqual(new Set<PathKind>(['relay']));

    // A customer of the same relay, who lets every address of the members send to him.
    const { network } = internet.host({ name: 'stranger' });
    const received: string[] = [];
    const [, address, port] = /turn:([\d.]+):(\d+)/.exec(party.relays()[0]!.urls[0]!)!;
    const credentials = party.credentialsOf('stranger');
    const allocation = await clock.runUntil(
      TurnAllocation.connect(
        { network, clock, random },
        {
          transport: 'tcp',
          server: { address: address!, port: Number(port) },
          credentials,
          handlers: { onData: (data) => received.push(Buffer.from(data).toString('hex')) },
        },
      ),
    );
    const ends = pairs.flatMap(({ paths }) => paths.status().map(({ path }) => path.remote));
    await clock.runUntil(allocation.permit([...nats.map(({ externalAddress }) => externalAddress), address!]));
    for (const end of ends) allocation.send(datagramOf('forged'), end);

    const expected = await sendAll(50);
    for (const [member, texts] of expected) expect(member.received.toSorted()).toEqual(texts.toSorted());
    expect(received).toEqual([]);
    await clock.runUntil(allocation.close());
  });

  const lanPairs = ['a to b', 'a to c', 'b to a', 'b to c', 'c to a', 'c to b'];

  async function lanOfThree(seed: number, nat: NatOptions, outside: NatOptions | undefined): Promise<void> {
    party = new SimulatedParty(seed, { portMapping: false });
    await party.startRelay();
    await party.startRelay();
    const { lan } = party.internet.nat(nat);
    for (const name of ['a', 'b', 'c']) await party.memberOn(name, lan.host({ name }).network);
    await party.member('d', outside && { ...outside, subnet: '192.168.2.0/24' });
  }

  const { portRestricted, fullCone, symmetricSequential, symmetricRandom, linuxMasquerade } = natKinds;
  it.each([
    ['port-restricted, no hairpin', portRestricted, portRestricted],
    ['port-restricted, hairpin with the external source', { ...portRestricted, hairpin: 'external-source' }, undefined],
    [
      'port-restricted, hairpin with the internal source',
      { ...portRestricted, hairpin: 'internal-source' },
      portRestricted,
    ],
    ['full cone, hairpin with the external source', { ...fullCone, hairpin: 'external-source' }, symmetricRandom],
    ['symmetric, hairpin with the external source', { ...symmetricSequential, hairpin: 'external-source' }, undefined],
    ['random ports, no hairpin', symmetricRandom, undefined],
    ["Linux's masquerade", linuxMasquerade, portRestricted],
  ] satisfies [string, NatOptions, NatOptions | undefined][])(
    'of which three are behind one NAT and one is elsewhere, is connected directly, and in the LAN over its addresses: %s (C3)',
    async (_, nat, outside) => {
      for (let seed = 80; seed < 84; seed++) {
        await lanOfThree(seed, nat, outside);
        connectAll();
        const isDone = () => pairs.every(({ paths: { current } }) => current !== undefined && current.kind !== 'relay');
        for (let at = 0; at < 30 && !isDone(); at++) await party.clock.advance(1_000);
        for (let minute = 0; minute < 3; minute++) {
          const found = kinds();
          for (const pair of pairs) {
            const isLan = lanPairs.includes(nameOf(pair));
            expect([seed, nameOf(pair), found[nameOf(pair)]]).toEqual([seed, nameOf(pair), isLan ? 'lan' : 'p2p']);
            expect([nameOf(pair), isPrivateAddress(remotes()[nameOf(pair)]!)]).toEqual([nameOf(pair), isLan]);
          }
          await party.clock.advance(60_000);
        }
        for (const member of party.members) member.received.splice(0);
        for (const [member, texts] of await sendAll(5)) expect(member.received.toSorted()).toEqual(texts.toSorted());
        if (seed < 83) await party.close();
      }
    },
  );

  it('uses the LAN addresses also when those were reached later than the hairpin of the NAT (RFC 8445 §5.1.2)', async () => {
    for (let seed = 90; seed < 96; seed++) {
      await lanOfThree(seed, { ...portRestricted, hairpin: 'external-source' }, undefined);
      // The LAN loses everything between hosts at first, as an access point does that is still learning them.
      const pass = party.internet.intercept(({ source, destination }, next) => {
        if (![source, destination].every(isPrivateAddress)) next();
      });
      connectAll();
      await party.clock.advance(20_000);
      expect(lanPairs.map((name) => kinds()[name])).toEqual(lanPairs.map(() => 'p2p'));
      pass();
      await party.clock.advance(120_000);
      expect([seed, kinds()]).toMatchObject([seed, Object.fromEntries(lanPairs.map((name) => [name, 'lan']))]);
      if (seed < 95) await party.close();
    }
  });

  it('that began while UDP was blocked is connected directly within a minute after it passes again', async () => {
    for (let seed = 110; seed < 114; seed++) {
      party = new SimulatedParty(seed, { portMapping: false });
      await party.startRelay();
      await party.startRelay();
      const pass = party.internet.intercept(({ protocol, source }, next) => {
        if (protocol !== 'udp' || source.startsWith('127.')) next();
      });
      await party.member('a', portRestricted);
      await party.member('b', fullCone);
      connectAll();
      await party.clock.advance(30_000);
      expect(pairs.every(({ paths }) => paths.relayReason === 'udp-blocked')).toBe(true);
      pass();
      await party.clock.advance(60_000);
      expect([seed, kinds()]).toEqual([seed, { 'a to b': 'p2p', 'b to a': 'p2p' }]);
      if (seed < 113) await party.close();
    }
  });
});
