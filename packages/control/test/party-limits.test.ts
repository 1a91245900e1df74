import type { PartyId, PartyState } from '@towpath/membership';
import { MAX_SEALED_INVITE_BYTES } from '@towpath/membership';
import { expect, test } from 'vitest';
import type { Founding } from '../src/server/founding.ts';
import { DEFAULT_PARTY_LIMITS, PartyLimits } from '../src/server/party-limits.ts';

const CODES = 4;
/** So much could the invites of one party take. */
const MOST_INVITES = CODES * MAX_SEALED_INVITE_BYTES;
const LIMIT = 10 * MOST_INVITES;

/** A server on which one node has created parties with logs of these sizes, bytes, and invites of these. */
function limitsOf(parties: readonly { log: number; invites: number }[]) {
  const states = parties.map(
    ({ log }, at) =>
      ({ id: `party ${at}`, logBytes: log, members: new Map(), creator: 'node' }) as unknown as PartyState,
  );
  let read = 0;
  const codesOf = async (id: PartyId) => {
    read++;
    return { count: 0, bytes: parties[states.findIndex((state) => state.id === id)]!.invites };
  };
  const limits = new PartyLimits(
    {
      founding: { partiesOf: async () => states.map(({ id }) => id) } as unknown as Founding,
      stateOf: async (id) => states.find((state) => state.id === id),
      codesOf,
    },
    { ...DEFAULT_PARTY_LIMITS, codesPerParty: CODES, bytesPerParty: LIMIT, bytesPerFounder: LIMIT },
  );
  /** True when one byte more is taken. */
  const admits = (bytes: number) =>
    limits.admitCode(states[0]!, bytes).then(
      () => true,
      () => false,
    );
  return { limits, admits, reads: () => read };
}

test.each([
  ['one large party', [{ log: LIMIT - 1_000, invites: 0 }]],
  [
    'a large party and a small one',
    [
      { log: 100, invites: 100 },
      { log: LIMIT - 1_200, invites: 0 },
    ],
  ],
  ['many small parties', [...Array(10)].map((_, at) => ({ log: (LIMIT - 1_000) / 10 - (at % 2), invites: at % 2 }))],
] as const)(
  'all parties of one node have room for the bytes that they take, and no more: %s (A3)',
  async (_what, parties) => {
    const { limits, admits } = limitsOf(parties);
    expect(await admits(1_000)).toBe(true);
    expect(await admits(1_001)).toBe(false);
    expect(limits.reached.bytesPerFounder + limits.reached.bytesPerParty).toBe(1);
  },
);

test('the stored invites are read only near the limit', async () => {
  const { admits, reads } = limitsOf([
    { log: 1_000, invites: 100 },
    { log: 2_000, invites: 100 },
  ]);
  expect(await admits(100)).toBe(true);
  // Once for their number in each party.
  expect(reads()).toBe(2);
});
