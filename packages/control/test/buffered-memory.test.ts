import { expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { BufferedMemory } from '../src/http/buffered-memory.ts';

test('what connections of many addresses leave unread is bounded in total (A6)', () => {
  const limits = { perConnectionBytes: 100_000, perAddressBytes: 200_000, totalBytes: 1_000_000 };
  const memory = new BufferedMemory(limits);
  const sockets = Array.from({ length: 100 }, (_, at) => {
    const socket = { bufferedAmount: 0, isOpen: true };
    const share = memory.of(`192.0.2.${at}`);
    share.add(socket as unknown as WebSocket);
    return { socket, share };
  });
  // Nobody reads; a connection that is not admitted is closed, and its bytes are gone.
  for (let round = 0; round < 10; round++) {
    for (const { socket, share } of sockets.filter((each) => each.socket.isOpen)) {
      socket.bufferedAmount += 8_000;
      if (!share.admits(socket as unknown as WebSocket, 8_000)) {
        share.delete(socket as unknown as WebSocket);
        socket.isOpen = false;
      }
      expect(memory.count()).toBeLessThanOrEqual(limits.totalBytes + limits.totalBytes / 8);
    }
  }
  expect(memory.count()).toBeGreaterThan(limits.totalBytes / 4);
});
