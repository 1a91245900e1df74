import { parseVirtualNetwork } from '@towpath/mesh';
import { expect, test } from 'vitest';
import { offersFor } from '../src/commands/mesh/offers.ts';

const network = parseVirtualNetwork('10.66.0.0/16')!;
const member = (at: number, name: string, joinedAtSequence: number) => ({
  id: `${at}`.padStart(32, '0'),
  name,
  joinedAtSequence,
  virtualAddress: `10.66.0.${at}`,
  wireGuardKey: new Uint8Array(32),
});
const party = { self: member(1, 'pi', 0), peers: [member(3, 'ann', 9), member(2, 'ann', 4), member(4, 'pi', 12)] };

test('an offer to members by name is for those that joined first under it, and not for this one (C14)', () => {
  const offers = [{ network: '192.168.43.0/24', members: ['ann', 'pi', 'nobody'] }, '192.168.44.0/24'];
  expect(offersFor(offers, party, network)).toEqual([
    { network: '192.168.43.0/24', from: ['10.66.0.2'] },
    '192.168.44.0/24',
  ]);
});

test('an offer to a member by id is for it alone; outside of a party nobody is allowed (C14)', () => {
  const offers = [{ network: '192.168.43.0/24', members: [party.peers[0]!.id] }];
  expect(offersFor(offers, party, network)).toEqual([{ network: '192.168.43.0/24', from: ['10.66.0.3'] }]);
  expect(offersFor(offers, undefined, network)).toEqual([{ network: '192.168.43.0/24', from: [] }]);
});
