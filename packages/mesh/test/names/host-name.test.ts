import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hostNames, memberNamed, toLabel } from '../../src/names/host-name.ts';

const ID_A = `aa11${'0'.repeat(28)}`;
const ID_B = `bb22${'0'.repeat(28)}`;
const ID_C = `cc33${'0'.repeat(28)}`;
const ID_D = `dd44${'0'.repeat(28)}`;
const ID_E = `ee55${'0'.repeat(28)}`;

const member = (id: string, name: string, joinedAtSequence: number) => ({ id, name, joinedAtSequence });

describe('memberNamed', () => {
  const members = [member(ID_C, 'ann', 30), member(ID_A, 'ann', 10), member(ID_B, 'ben', 20), member(ID_D, ID_A, 1)];

  it.each([
    ['an id', ID_C, ID_C],
    ['a name: the one that joined first', 'ann', ID_A],
    ['the id of one and name of another: the id', ID_A, ID_A],
    ['nobody', 'eve', undefined],
  ])('finds a member by %s', (_, wanted, found) => {
    expect(memberNamed(wanted, members)?.id).toBe(found);
  });
});

describe('hostNames', () => {
  it('makes a name of what a member calls itself', () => {
    expect(hostNames('Home', [member(ID_A, "Zoë's Laptop", 0)]).get(ID_A)).toBe('zoe-s-laptop.home.internal');
  });

  it('leaves the name to the member that joined first, in whatever order the members are given', () => {
    const first = member(ID_B, 'alice', 3);
    const later = member(ID_A, 'Alice', 8);
    expect(hostNames('home', [first]).get(ID_B)).toBe('alice.home.internal');
    for (const members of [
      [first, later],
      [later, first],
    ]) {
      const names = hostNames('home', members);
      expect([names.get(ID_B), names.get(ID_A)]).toEqual(['alice.home.internal', 'alice-aa1100.home.internal']);
    }
  });

  it('gives a name that has become free to the next', () => {
    expect(hostNames('home', [member(ID_A, 'Alice', 8)]).get(ID_A)).toBe('alice.home.internal');
  });

  it('gives every member a name of its own, whatever the others call themselves', () => {
    const members = [
      member(ID_A, 'alice', 0),
      member(ID_C, 'alice-bb2200', 1),
      member(ID_D, `alice-${ID_B}`, 2),
      member(ID_E, `alice-${ID_B}-2`, 3),
      member(ID_B, 'alice', 4),
    ];
    expect([...hostNames('home', members, '').values()]).toEqual([
      'alice.home',
      'alice-bb2200.home',
      `alice-${ID_B}.home`,
      `alice-${ID_B}-2.home`,
      `alice-${ID_B}-3.home`,
    ]);
    expect(hostNames('home', [members[0]!, members[1]!, members[4]!], '').get(ID_B)).toBe(`alice-${ID_B}.home`);
  });

  it('changes no name when a member joins, and never gives one twice', () => {
    const name = fc.constantFrom('alice', 'Alice', 'alice-bb2200', `alice-${ID_B}`, 'a'.repeat(63), '', '-', 'peer');
    const ids = fc.uniqueArray(fc.constantFrom(ID_A, ID_B, ID_C, ID_D, ID_E), { minLength: 1 });
    fc.assert(
      fc.property(ids, fc.array(name, { minLength: 5, maxLength: 5 }), (joined, called) => {
        const members = joined.map((id, at) => member(id, called[at]!, at));
        const names = hostNames('home', members);
        expect(new Set(names.values()).size).toBe(members.length);
        for (let count = 1; count <= members.length; count++) {
          for (const [id, before] of hostNames('home', members.slice(0, count))) expect(names.get(id)).toBe(before);
        }
        for (const each of names.values())
          expect(each).toMatch(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.home\.internal$/);
      }),
    );
  });

  it('uses no name of the internet unless the domain is switched off', () => {
    const members = [member(ID_A, 'google', 0)];
    expect(hostNames('com', members).get(ID_A)).toBe('google.com.internal');
    expect(hostNames('com', members, '').get(ID_A)).toBe('google.com');
  });

  it('makes a valid label of any text, or none', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        expect(toLabel(text)).toMatch(/^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)?$/);
      }),
    );
  });
});
