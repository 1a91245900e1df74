import { describe, expect, test } from 'vitest';
import { ConnectionLimit, type Endpoint } from '../src/index.ts';

const LOCAL: Endpoint = { address: '192.0.2.1', port: 443 };
const from = (address: string, port: number): Endpoint => ({ address, port });

/** Enters a connection; `dropped` collects the ports of those that had to go. */
function setUp(total: number, perAddress?: number) {
  const limit = new ConnectionLimit({ total, perAddress });
  const dropped: number[] = [];
  const enter = (address: string, port: number) =>
    limit.enter(LOCAL, from(address, port), () => void dropped.push(port));
  return { limit, dropped, enter };
}

describe('ConnectionLimit', () => {
  test('drops the oldest unused connection of an address that is at its limit', () => {
    const { dropped, enter, limit } = setUp(100, 3);
    for (let port = 1; port <= 5; port++) expect(enter('198.51.100.1', port)).toBe(true);
    expect(dropped).toEqual([1, 2]);
    expect(limit.stats).toEqual({ open: 3, unused: 3, refused: 0, evicted: 2 });
  });

  test('makes room at the cost of the address that has most unused connections', () => {
    const { dropped, enter } = setUp(6, 4);
    for (let port = 1; port <= 4; port++) enter('198.51.100.1', port);
    for (let port = 11; port <= 12; port++) enter('198.51.100.2', port);
    expect(enter('198.51.100.3', 21)).toBe(true);
    expect(dropped).toEqual([1]);
  });

  test('never drops a used connection, and refuses when all are used', () => {
    const { dropped, enter, limit } = setUp(2);
    for (const port of [1, 2]) {
      enter('198.51.100.1', port);
      limit.setUsed({ local: LOCAL, remote: from('198.51.100.1', port) }, true);
    }
    expect(enter('198.51.100.2', 3)).toBe(false);
    expect([dropped, limit.stats.refused]).toEqual([[], 1]);
    limit.setUsed({ local: LOCAL, remote: from('198.51.100.1', 1) }, false);
    expect(enter('198.51.100.2', 3)).toBe(true);
    expect(dropped).toEqual([1]);
  });

  test('counts an IPv6 /64 as one address, and forgets connections that have ended', () => {
    const { enter, limit, dropped } = setUp(100, 2);
    for (let host = 1; host <= 3; host++) enter(`2001:db8::${host}`, host);
    expect(dropped).toEqual([1]);
    for (let host = 2; host <= 3; host++) limit.leave(LOCAL, from(`2001:db8::${host}`, host));
    limit.leave(LOCAL, from('2001:db8::9', 9));
    expect(limit.stats).toMatchObject({ open: 0, unused: 0 });
  });
});
