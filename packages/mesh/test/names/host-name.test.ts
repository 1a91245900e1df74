import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hostNames, toLabel } from '../../src/names/host-name.ts';

const ID_A = `aa11${'0'.repeat(28)}`;
const ID_B = `bb22${'0'.repeat(28)}`;

describe('hostNames', () => {
  it('makes a name of what a member calls itself', () => {
    expect(hostNames('Home', [{ id: ID_A, name: "Zoë's Laptop" }]).get(ID_A)).toBe('zoe-s-laptop.home.internal');
  });

  it('gives both of two members with one name a part of their id', () => {
    const names = hostNames('home', [
      { id: ID_A, name: 'alice' },
      { id: ID_B, name: 'Alice' },
    ]);
    expect([...names.values()]).toEqual(['alice-aa1100.home.internal', 'alice-bb2200.home.internal']);
  });

  it('uses no name of the internet unless the domain is switched off', () => {
    const members = [{ id: ID_A, name: 'google' }];
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
