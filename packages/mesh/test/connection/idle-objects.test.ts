import { queryObjects } from 'node:v8';
import { expect, it } from 'vitest';
import { SimulatedParty } from '../paths/party.ts';
import { ConnectedParty } from './connected-party.ts';

interface Counts {
  objects: number;
  functions: number;
}

/** Objects of this process while every member of a party is connected to every other one and idle. */
async function idleParty(members: number): Promise<Counts> {
  const party = new SimulatedParty(31, { portMapping: false });
  const whole = new ConnectedParty(party);
  for (let at = 0; at < members; at++) await whole.join(party.internet.host());
  await whole.maintain(90_000);
  const states = whole.members.flatMap(({ manager }) => manager.statuses().map(({ status }) => status));
  expect(states).toEqual(Array.from({ length: members * (members - 1) }, () => 'connected'));
  const counts = {
    objects: queryObjects(Object, { format: 'count' }),
    functions: queryObjects(Function, { format: 'count' }),
  };
  await whole.close();
  return counts;
}

/** What its members have grows with a party, and what their connections have with its square: that of one is the second difference. */
it('a connection that is idle has few objects and functions: there may be thousands', async () => {
  const [few, more, many] = [await idleParty(3), await idleParty(5), await idleParty(7)];
  const each = (name: keyof Counts) => (many[name] - 2 * more[name] + few[name]) / 8;
  expect(each('objects')).toBeLessThan(250);
  expect(each('functions')).toBeLessThan(67);
});
