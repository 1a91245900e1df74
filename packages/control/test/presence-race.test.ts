import { expect, test } from 'vitest';
import type { ServerMessage } from '../src/wire/messages.ts';
import { bytes, scene } from './malicious-plane.ts';

test('a peer that is online is told to be so, although the connection was made anew while its presence was processed (C12)', async () => {
  const { clock, plane, ann, bob, party, idOf } = await scene();
  const annId = idOf(ann);
  const told: boolean[] = [];
  // Who asks in the meantime changes nothing.
  bob.client.events.on('server', () => void bob.client.party(party));
  bob.client.events.on('presence', ({ peer }) => void (peer.id === annId && told.push(peer.online)));
  const late: ServerMessage[] = [];
  bob.lies.push = (message) => {
    if (message.type !== 'presence') return message;
    late.push(message);
    return undefined;
  };
  ann.client.announce(party, bytes(1, 2, 3));
  await clock.advance(10_000);
  expect(late).toHaveLength(1);
  delete bob.lies.push;
  // As the interface of WireGuard does, which appears at the start: the network has changed.
  bob.client.reconnect();
  bob.inject(late[0]!);
  await clock.advance(20_000);
  expect(bob.client.connected).toBe(true);
  expect(bob.client.party(party)!.peers.find(({ id }) => id === annId)!.online).toBe(true);
  expect(told).toEqual([false, true]);
  await plane.close();
});
