import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeRoutes } from '../../src/addresses/used-networks.ts';
import {
  addressIn,
  conflictsWith,
  parseVirtualNetwork,
  requireFreeNetwork,
  substituteNetwork,
  suggestNetwork,
} from '../../src/addresses/virtual-network.ts';

const used = (...routes: [string, string][]) =>
  decodeRoutes(JSON.stringify(routes.map(([dst, dev]) => ({ dst, dev }))));
const network = parseVirtualNetwork('10.66.0.0/16')!;

describe('virtual network', () => {
  it('keeps the host part of the address that the log assigns (C5)', () => {
    expect(addressIn(parseVirtualNetwork('172.20.0.0/16')!, '10.66.3.4')).toBe('172.20.3.4');
  });

  it.each(['10.66.0.0/24', '8.8.0.0/16', 'fd00::/16', '10.66.0.0', ''])('takes no network like %s', (text) => {
    expect(parseVirtualNetwork(text)).toBeUndefined();
  });

  it('sees addresses and routes of the machine that overlap, and not default routes or its own', () => {
    const routes = used(
      ['default', 'eth0'],
      ['0.0.0.0/1', 'vpn0'],
      ['10.66.7.0/24', 'eth1'],
      ['10.66.0.0/16', 'tp-1'],
      ['10.66.9.9', 'eth2'],
      ['10.67.0.0/16', 'eth3'],
    );
    expect(conflictsWith(network, routes, 'tp-1').map(({ interfaceName }) => interfaceName)).toEqual(['eth1', 'eth2']);
    expect(suggestNetwork(routes)).toBe('10.68.0.0/16');
  });

  it('names the interface and another network when it is in use', () => {
    expect(() => requireFreeNetwork(network, used(['10.0.0.0/8', 'eth0']), 'tp-1')).toThrow(
      "The party's network 10.66.0.0/16 overlaps 10.0.0.0/8 on eth0. Next: choose another network for the party, for example 172.17.0.0/16.",
    );
  });

  it('sees a party in a substitute that follows from its id and avoids what is in use', () => {
    const party = 'a'.repeat(32);
    const first = substituteNetwork(party, [])!;
    expect(parseVirtualNetwork(first)).toBeDefined();
    expect(first).not.toBe('10.66.0.0/16');
    expect(substituteNetwork(party, [])).toBe(first);
    expect(substituteNetwork('b'.repeat(32), [])).not.toBe(first);
    const second = substituteNetwork(party, [parseVirtualNetwork(first)!])!;
    expect(second).not.toBe(first);
    const routes = used([first.replace('.0.0/16', '.3.0/24'), 'eth0']);
    expect(substituteNetwork(party, [], routes, 'tp-1')).toBe(second);
    expect(substituteNetwork(party, [], used([first, 'tp-1']), 'tp-1')).toBe(first);
    expect(substituteNetwork(party, [], used(['10.0.0.0/8', 'eth0'], ['172.16.0.0/12', 'eth1']))).toBeUndefined();
  });

  it('reads any list of routes without throwing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(Array.isArray(decodeRoutes(text))).toBe(true);
      }),
    );
  });
});
