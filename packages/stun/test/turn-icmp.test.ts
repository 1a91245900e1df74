import { describe, expect, test } from 'vitest';
import type { IcmpValue } from '../src/message/index.ts';
import { world } from './support/internet.ts';
import { client, turnServer } from './support/turn.ts';

const FRIEND = { address: '11.0.0.77', port: 9 };
const REFUSED = { type: 3, code: 3, data: 0 };

describe('ICMP errors at a relay (RFC 8656 §11.5)', () => {
  test.each(['udp', 'tcp'] as const)(
    'reach the client that has a permission for the peer, over %s',
    async (transport) => {
      const at = world();
      const { server } = await turnServer(at);
      const told: unknown[] = [];
      const handlers = {
        onData() {},
        onIcmpError: (from: unknown, icmp: IcmpValue) => void told.push([from, icmp]),
      };
      const alice = await client(at, at.internet.host(), server.locals[0]!, { handlers, transport });
      const { port } = alice.allocation.relayed[0]!;
      expect(server.isRelaying).toBe(true);
      server.reportIcmp([{ port, peer: FRIEND, ...REFUSED }]);
      await at.clock.advance(200);
      expect(told).toEqual([]);
      await at.clock.runUntil(alice.allocation.permit([FRIEND.address]));
      server.reportIcmp([
        { port, peer: FRIEND, ...REFUSED },
        { port, peer: { address: '11.0.0.78', port: 9 }, ...REFUSED },
        { port: port + 1, peer: FRIEND, ...REFUSED },
        { port, peer: { address: '2001:db8::1', port: 9 }, type: 1, code: 4, data: 0 },
      ]);
      await at.clock.runUntil(alice.allocation.bindChannel(FRIEND));
      server.reportIcmp([{ port, peer: FRIEND, type: 3, code: 4, data: 1_280 }]);
      await at.clock.advance(200);
      expect(told).toEqual([
        [FRIEND, REFUSED],
        [FRIEND, { type: 3, code: 4, data: 1_280 }],
      ]);
      expect(server.stats.icmpErrors).toBe(2);
      await at.clock.runUntil(alice.allocation.close());
      server.reportIcmp([{ port, peer: FRIEND, ...REFUSED }]);
      await at.clock.advance(200);
      expect(told).toHaveLength(2);
      expect(server.isRelaying).toBe(false);
      await server.close();
    },
  );
});
