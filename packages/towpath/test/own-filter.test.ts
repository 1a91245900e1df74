import { expect, test } from 'vitest';
import { ownFilter } from '../src/daemon/parties/own-filter.ts';

const dropped = { strangers: 3, forged: 0, notOffered: 12, intoParty: 0 };

test('the API tells why a party is not filtered, and what that means', () => {
  expect(ownFilter({ problem: 'The program nft is not installed.', dropped })).toEqual({
    problem: expect.stringMatching(
      /^The program nft is not installed\. .*members can reach its networks and other parties\.$/,
    ),
    dropped,
  });
});

test('the API tells what was dropped', () => {
  expect(ownFilter({ problem: undefined, dropped })).toEqual({ problem: null, dropped });
});
