import { type NatKind, natKinds } from '@towpath/net/simulated';
import { describe, expect, it } from 'vitest';
import { SimulatedParty } from './party.ts';

/** The kinds of the grid: `undefined` is a public address. */
const KINDS: readonly (NatKind | undefined)[] = [
  undefined,
  'fullCone',
  'restrictedCone',
  'portRestricted',
  'portRestrictedRandom',
  'addressDependent',
  'symmetricSequential',
  'symmetricRandom',
  'udpBlocked',
];

/** Why two kinds are relayed: docs/protocol/connectivity.md, "NAT traversal"; `direct` where they are not. */
function expectedReason(a: NatKind | undefined, b: NatKind | undefined): string {
  if (a === 'udpBlocked' || b === 'udpBlocked') return 'udp-blocked';
  const byDestination: readonly (NatKind | undefined)[] = [
    'addressDependent',
    'symmetricSequential',
    'symmetricRandom',
  ];
  if (!byDestination.includes(a) || !byDestination.includes(b)) return 'direct';
  return a === 'symmetricSequential' && b === 'symmetricSequential' ? 'direct' : 'hard-nats';
}

/** The same without attacks: a NAT that filters ports is not crossed from one that maps by destination. */
function reasonWithoutAttacks(a: NatKind | undefined, b: NatKind | undefined): string {
  const reason = expectedReason(a, b);
  const filtering = [
    'portRestricted',
    'portRestrictedRandom',
    'addressDependent',
    'symmetricSequential',
    'symmetricRandom',
  ];
  const needsAttack =
    [a, b].every((kind) => filtering.includes(kind ?? '')) &&
    [a, b].some((kind) => expectedReason(kind, 'symmetricRandom') !== 'direct');
  return reason === 'direct' && needsAttack ? 'punch-off' : reason;
}

describe('why a peer is relayed (C13, D4)', () => {
  const grid = KINDS.flatMap((a) => KINDS.map((b) => [a, b] as const));
  it.each(
    grid.flatMap(([a, b]) =>
      [true, false].map((attacks) => [a ?? 'public', b ?? 'public', attacks ? 'on' : 'off', a, b, attacks] as const),
    ),
  )('is right on both ends of %s and %s with attacks %s', async (_a, _b, _attacks, kindA, kindB, birthday) => {
    const party = new SimulatedParty(7, { birthday });
    await party.startRelay();
    await party.startRelay();
    const nat = (kind: NatKind | undefined) => kind && natKinds[kind];
    const [a, b] = [await party.member('a', nat(kindA)), await party.member('b', nat(kindB))];
    const ends = [a.connect(b), b.connect(a)];
    const expected = (birthday ? expectedReason : reasonWithoutAttacks)(kindA, kindB);
    // An attack that fails by chance is made again, 20 s apart.
    const tries = expected === 'direct' ? 6 : 1;
    for (let turn = 0; turn < tries && !ends.every(({ current }) => current?.kind === 'p2p'); turn++)
      await party.clock.advance(20_000);
    expect(ends.map(({ current }) => current?.kind)).toEqual(
      expected === 'direct' ? ['p2p', 'p2p'] : ['relay', 'relay'],
    );
    expect(ends.map(({ relayReason }) => relayReason ?? 'direct')).toEqual([expected, expected]);
    await party.close();
    await party.clock.advance(60_000);
    expect(party.clock.pendingTimers).toBe(0);
  });
});
