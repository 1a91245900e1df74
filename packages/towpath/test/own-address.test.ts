import type { DefaultRoute, InterfaceAddress } from '@towpath/net';
import { expect, test } from 'vitest';
import { boundAddress, isOwnAddress } from '../src/serve/own-address.ts';

const [LOOPBACK, FIRST, SECOND, LABELLED] = ['127.0.0.1', '10.0.0.5', '203.0.113.11', '203.0.113.12'];
const [OTHER_UPLINK, ON_LOOPBACK, ELSEWHERE] = ['192.0.2.5', '203.0.113.13', '198.51.100.7'];

/** @param source what the host sends from by itself */
function host(source: string) {
  const at = (name: string, address: string): InterfaceAddress => ({
    ...{ name, address, family: 4, prefixLength: 24 },
    internal: name === 'lo',
  });
  const addresses = [
    ...[at('lo', LOOPBACK), at('lo', ON_LOOPBACK)],
    ...[at('eth0', FIRST), at('eth0', SECOND), at('eth0:1', LABELLED), at('eth1', OTHER_UPLINK)],
  ];
  const route: DefaultRoute = { family: 4, interface: 'eth0', source, gateway: undefined };
  return { interfaces: () => addresses, defaultRoute: async () => route };
}

test.each([
  ['a secondary address of a device', SECOND, FIRST, SECOND],
  ['a secondary address with a label', LABELLED, FIRST, LABELLED],
  ['an address of loopback', ON_LOOPBACK, FIRST, ON_LOOPBACK],
  ['the first address of a device', FIRST, FIRST, '0.0.0.0'],
  ['the first address of the other uplink', OTHER_UPLINK, FIRST, '0.0.0.0'],
  ['a secondary address that the default route names', SECOND, SECOND, '0.0.0.0'],
  ['an address of a NAT', ELSEWHERE, FIRST, '0.0.0.0'],
])(
  'sockets for all addresses are bound so that answers leave from the public one: %s',
  async (_name, publicAddress, source, bound) => {
    expect(await boundAddress(host(source), { address: '0.0.0.0', publicAddress })).toBe(bound);
    expect(await boundAddress(host(source), { address: FIRST, publicAddress })).toBe(FIRST);
    expect(isOwnAddress(host(source), publicAddress)).toBe(publicAddress !== ELSEWHERE);
  },
);
