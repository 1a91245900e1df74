import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressFamily,
  addressScope,
  addressToBytes,
  broadcastAddress,
  bytesToAddress,
  canonicalAddress,
  formatEndpoint,
  inSubnet,
  isIpAddress,
  isLinkLocal,
  isLoopback,
  isPort,
  isPrivateAddress,
  isUnspecified,
  parseEndpoint,
  parseSubnet,
  subnetHosts,
  subnetOf,
  unmapAddress,
} from '../src/index.ts';

const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 });
/** Addresses with runs of zeros, where the text form is interesting. */
const sparseIpv6 = fc
  .array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 })
  .map((bytes) => Uint8Array.from(bytes));

describe('IP address text', () => {
  test('survives a round trip through bytes', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6, sparseIpv6), (bytes) => {
        const text = bytesToAddress(bytes)!;
        expect(addressFamily(text)).toBe(bytes.length === 4 ? 4 : 6);
        expect(addressToBytes(text)).toEqual(bytes);
        expect(canonicalAddress(text)).toBe(text);
      }),
    );
  });

  test.each([
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::ffff:c000:0201', '::ffff:192.0.2.1'],
    ['1::', '1::'],
    ['FE80::1%eth0', 'fe80::1%eth0'],
    ['192.0.2.1', '192.0.2.1'],
  ])('writes %s as RFC 5952 wants: %s', (text, canonical) => {
    expect(canonicalAddress(text)).toBe(canonical);
  });

  test.each(['', 'localhost', '1.2.3', '1.2.3.4.5', '256.1.1.1', '01.2.3.4', ':::', '[::1]', '::1/64', 'g::1'])(
    'does not take %j for an address',
    (text) => {
      expect([isIpAddress(text), addressToBytes(text), canonicalAddress(text), addressScope(text)]).toEqual([
        false,
        undefined,
        undefined,
        undefined,
      ]);
    },
  );

  test('gives no text for bytes of another length', () => {
    for (const length of [0, 3, 5, 15, 17]) expect(bytesToAddress(new Uint8Array(length))).toBeUndefined();
  });
});

describe('what an address is for', () => {
  test.each([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'reserved'],
    ['10.1.2.3', 'private'],
    ['100.63.255.255', 'global'],
    ['100.64.0.1', 'shared'],
    ['100.127.255.255', 'shared'],
    ['100.128.0.0', 'global'],
    ['127.8.8.8', 'loopback'],
    ['169.254.1.1', 'link-local'],
    ['172.15.0.1', 'global'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.0', 'global'],
    ['192.0.0.9', 'reserved'],
    ['192.0.2.1', 'documentation'],
    ['192.168.43.1', 'private'],
    ['198.19.0.1', 'reserved'],
    ['198.51.100.1', 'documentation'],
    ['203.0.113.1', 'documentation'],
    ['224.0.0.251', 'multicast'],
    ['240.0.0.1', 'reserved'],
    ['255.255.255.255', 'broadcast'],
    ['8.8.8.8', 'global'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::2', 'reserved'],
    ['fe80::1%wlan0', 'link-local'],
    ['fec0::1', 'private'],
    ['fd00::1', 'private'],
    ['ff02::fb', 'multicast'],
    ['2001:db8::1', 'documentation'],
    ['2606:4700::1111', 'global'],
    ['::ffff:10.0.0.1', 'private'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:8.8.8.8', 'global'],
    ['64:ff9b::10.0.0.1', 'private'],
    ['64:ff9b::8.8.8.8', 'global'],
  ])('%s is %s', (address, scope) => {
    expect(addressScope(address)).toBe(scope);
    expect(isLoopback(address)).toBe(scope === 'loopback');
    expect(isLinkLocal(address)).toBe(scope === 'link-local');
    expect(isPrivateAddress(address)).toBe(scope === 'private' || scope === 'shared');
    expect(isUnspecified(address)).toBe(scope === 'unspecified');
  });

  test('takes the IPv4 address out of a mapped one, and leaves others alone', () => {
    expect(unmapAddress('::ffff:192.0.2.1')).toBe('192.0.2.1');
    expect(unmapAddress('2001:db8::1')).toBe('2001:db8::1');
    expect(unmapAddress('192.0.2.1')).toBe('192.0.2.1');
  });
});

describe('endpoint text', () => {
  test.each([
    ['192.0.2.1:3478', undefined, '192.0.2.1', 3478],
    ['[2001:db8::1]:3478', undefined, '2001:db8::1', 3478],
    ['[fe80::1%eth0]:1', undefined, 'fe80::1%eth0', 1],
    ['relay.example.org:443', undefined, 'relay.example.org', 443],
    ['192.0.2.1', 3478, '192.0.2.1', 3478],
    ['2001:db8::1', 3478, '2001:db8::1', 3478],
    ['[2001:db8::1]', 3478, '2001:db8::1', 3478],
    ['relay', 3478, 'relay', 3478],
    [' relay:1 ', 3478, 'relay', 1],
  ])('reads %j (default port %s)', (text, defaultPort, address, port) => {
    expect(parseEndpoint(text, defaultPort)).toEqual({ ok: true, endpoint: { address, port } });
  });

  test.each([
    ['', 'empty'],
    ['  ', 'empty'],
    ['relay', 'missing-port'],
    ['192.0.2.1', 'missing-port'],
    ['2001:db8::1', 'missing-port'],
    ['[2001:db8::1]', 'missing-port'],
    ['relay:', 'bad-port'],
    ['relay:0', 'bad-port'],
    ['relay:65536', 'bad-port'],
    ['relay:1e3', 'bad-port'],
    ['relay:-1', 'bad-port'],
    ['192.0.2.256:1', 'bad-host'],
    ['192.0.2:1', 'bad-host'],
    ['[relay]:1', 'bad-host'],
    ['[192.0.2.1]:1', 'bad-host'],
    ['[::1', 'bad-host'],
    [':1', 'bad-host'],
    ['a b:1', 'bad-host'],
    ['-x:1', 'bad-host'],
    ['2001:db8:::1:1', 'bad-host'],
  ])('refuses %j: %s', (text, reason) => {
    expect(parseEndpoint(text)).toEqual({ ok: false, reason });
  });

  test('never throws, and reads back what formatEndpoint writes', () => {
    const defaultPort = fc.option(fc.nat(70_000), { nil: undefined });
    fc.assert(
      fc.property(fc.string(), defaultPort, (text, port) => {
        const parsed = parseEndpoint(text, port);
        if (parsed.ok) expect(isPort(parsed.endpoint.port)).toBe(true);
      }),
    );
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), fc.integer({ min: 1, max: 65_535 }), (bytes, port) => {
        const endpoint = { address: bytesToAddress(bytes)!, port };
        expect(parseEndpoint(formatEndpoint(endpoint))).toEqual({ ok: true, endpoint });
      }),
    );
  });
});

describe('subnets', () => {
  test('clears host bits, and knows its members', () => {
    expect(parseSubnet('192.168.43.77/20')).toEqual({ address: '192.168.32.0', prefixLength: 20 });
    expect(parseSubnet('2001:db8::ff/64')).toEqual({ address: '2001:db8::', prefixLength: 64 });
    for (const text of ['', '10.0.0.0', '10.0.0.0/33', '::/129', 'x/8', '10.0.0.0/-1']) {
      expect(parseSubnet(text)).toBeUndefined();
    }
    const lan = parseSubnet('192.168.43.0/24')!;
    expect(['192.168.43.255', '192.168.44.0', '2001:db8::1'].map((address) => inSubnet(address, lan))).toEqual([
      true,
      false,
      false,
    ]);
  });

  test.each([
    ['192.168.43.7', 24, '192.168.43.255'],
    ['10.1.2.3', 8, '10.255.255.255'],
    ['172.16.5.4', 22, '172.16.7.255'],
    ['192.0.2.1', 30, '192.0.2.3'],
    ['192.0.2.1', 31, undefined],
    ['192.0.2.1', 32, undefined],
    ['2001:db8::1', 64, undefined],
    ['nonsense', 24, undefined],
  ])('the broadcast address of %s/%i is %s', (address, prefixLength, broadcast) => {
    expect(broadcastAddress(address, prefixLength)).toBe(broadcast);
  });

  test.each([
    ['192.0.2.0/30', 10, ['192.0.2.1', '192.0.2.2']],
    ['192.0.2.4/31', 10, ['192.0.2.4', '192.0.2.5']],
    ['192.0.2.9/32', 10, ['192.0.2.9']],
    ['10.0.0.0/8', 2, ['10.0.0.1', '10.0.0.2']],
    ['2001:db8::/64', 2, ['2001:db8::1', '2001:db8::2']],
    ['2001:db8::5/128', 2, ['2001:db8::5']],
  ])('lists the hosts of %s, at most %i', (text, limit, hosts) => {
    expect([...subnetHosts(parseSubnet(text)!, limit)]).toEqual(hosts);
  });

  test('lists 254 hosts of a /24 and every one lies in it', () => {
    const lan = parseSubnet('192.168.255.0/24')!;
    const hosts = [...subnetHosts(lan, 1_000)];
    expect(hosts).toHaveLength(254);
    expect(hosts.at(-1)).toBe('192.168.255.254');
    expect(hosts.every((host) => inSubnet(host, lan))).toBe(true);
  });

  test('an address lies in its own subnet, whatever the length', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), fc.nat(128), (bytes, length) => {
        const prefixLength = Math.min(length, bytes.length * 8);
        const address = bytesToAddress(bytes)!;
        const subnet = subnetOf(address, prefixLength)!;
        expect(inSubnet(address, subnet)).toBe(true);
        expect(inSubnet(subnet.address, subnet)).toBe(true);
      }),
    );
  });
});
