import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isIpAddress } from '../src/index.ts';
import { bestRoute, parseRouteGet, parseRoutes4, parseRoutes6, type RouteEntry } from '../src/node/node-routes.ts';

/** `cat /proc/net/route` on Linux 6.1: two uplinks, a VPN's half of the internet, and a network on the link. */
const ROUTES_4 = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0                                                                            
wlan0\t00000000\t012BA8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0                                                                           
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0                                                                              
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0                                                                            
eth0\t000000AC\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0                                                                              
`;

/** `cat /proc/net/ipv6_route` there: the link, the default route by a link-local router, a rejecting entry. */
const ROUTES_6 = `20010db8000100000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000004 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
`;

describe("the kernel's route tables", () => {
  test('IPv4: usable entries with their gateways; rejecting ones are left out', () => {
    expect(parseRoutes4(ROUTES_4)).toEqual([
      { interface: 'eth0', destination: '0.0.0.0', prefixLength: 0, gateway: '192.168.1.1', metric: 100 },
      { interface: 'wlan0', destination: '0.0.0.0', prefixLength: 0, gateway: '192.168.43.1', metric: 600 },
      { interface: 'tun0', destination: '0.0.0.0', prefixLength: 1, gateway: undefined, metric: 0 },
      { interface: 'eth0', destination: '192.168.1.0', prefixLength: 24, gateway: undefined, metric: 100 },
    ]);
  });

  test('IPv6: a link-local gateway has its zone', () => {
    expect(parseRoutes6(ROUTES_6)).toEqual([
      { interface: 'eth0', destination: '2001:db8:1::', prefixLength: 64, gateway: undefined, metric: 256 },
      { interface: 'eth0', destination: '::', prefixLength: 0, gateway: 'fe80::1%eth0', metric: 1024 },
    ]);
  });

  test('a route for a source address is the one that its rules lead to (ip -j route get)', () => {
    const read = (entry: object) => parseRouteGet(JSON.stringify([entry]), 4, '10.2.0.2');
    const route = { dst: '198.41.0.4', from: '10.2.0.2', gateway: '10.2.0.1', dev: 'eth1', table: '101', flags: [] };
    expect(read(route)).toEqual({ family: 4, interface: 'eth1', source: '10.2.0.2', gateway: '10.2.0.1' });
    expect(read({ type: 'unreachable', dst: '198.41.0.4', dev: 'lo' })).toBeUndefined();
    const v6 = { dst: '2001:503:ba3e::2:30', from: '2001:db8::2', gateway: 'fe80::1', dev: 'eth1' };
    expect(parseRouteGet(JSON.stringify([v6]), 6, '2001:db8::2')?.gateway).toBe('fe80::1%eth1');
    expect(() => parseRouteGet('no JSON', 4, '10.2.0.2')).toThrow();
  });

  test('the most specific entry of an interface counts, and the lowest metric among equals', () => {
    const entries = parseRoutes4(ROUTES_4);
    expect(bestRoute(entries, '198.41.0.4', 'eth0')?.gateway).toBe('192.168.1.1');
    expect(bestRoute(entries, '192.168.1.77', 'eth0')?.prefixLength).toBe(24);
    expect(bestRoute(entries, '198.41.0.4', 'tun0')).toBeUndefined();
    const cheaper: RouteEntry = { ...entries[0]!, gateway: '192.168.1.2', metric: 50 };
    expect(bestRoute([...entries, cheaper], '198.41.0.4', 'eth0')?.gateway).toBe('192.168.1.2');
    expect(bestRoute(entries, '198.41.0.4', 'eth7')).toBeUndefined();
  });

  test.each([
    ['IPv4', ROUTES_4, parseRoutes4, 32],
    ['IPv6', ROUTES_6, parseRoutes6, 128],
  ] as const)('%s: whatever the file holds, it is read without an error, and what is returned is a route', (...row) => {
    const [, sample, parse, bits] = row;
    const fields = sample.split(/(\s+)/);
    const damaged = fc
      .array(fc.tuple(fc.nat(fields.length - 1), fc.oneof(fc.string(), fc.constantFrom('', 'zz', 'ffffffffff', '-1'))))
      .map((changes) => {
        const text = [...fields];
        for (const [at, value] of changes) text[at] = value;
        return text.join('');
      });
    fc.assert(
      fc.property(fc.oneof(fc.string(), damaged), (text) => {
        for (const entry of parse(text)) {
          expect(entry.interface).not.toBe('');
          expect(isIpAddress(entry.destination)).toBe(true);
          expect(Number.isInteger(entry.prefixLength)).toBe(true);
          expect(entry.prefixLength).toBeGreaterThanOrEqual(0);
          expect(entry.prefixLength).toBeLessThanOrEqual(bits);
          expect(Number.isInteger(entry.metric) && entry.metric >= 0).toBe(true);
          if (entry.gateway !== undefined) expect(isIpAddress(entry.gateway.split('%')[0]!)).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
