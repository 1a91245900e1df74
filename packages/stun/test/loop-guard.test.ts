import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { LoopGuard } from '../src/turn/server/loop-guard.ts';

const datagram = (number: number): Uint8Array =>
  Uint8Array.from({ length: 100 }, (_, at) => (number >>> (at % 24)) & 0xff);

test('the same datagram passes a port sixteen times in ten seconds, and others as often as they like', async () => {
  const clock = new VirtualClock();
  const guard = new LoopGuard({ clock });
  let passed = 0;
  for (let count = 0; count < 100; count++) if (guard.passes(50_000, datagram(7))) passed++;
  expect(passed).toBe(16);
  expect(guard.passes(50_001, datagram(7))).toBe(true);
  const others = Array.from({ length: 20_000 }, (_, at) => guard.passes(50_000, datagram(1_000 + at)));
  expect(others.every(Boolean)).toBe(true);
  // However many others came since.
  expect(guard.passes(50_000, datagram(7))).toBe(false);
  await clock.advance(10_000);
  expect(guard.passes(50_000, datagram(7))).toBe(true);
});

test('an empty datagram is one', () => {
  const guard = new LoopGuard({ clock: new VirtualClock() });
  expect(Array.from({ length: 17 }, () => guard.passes(1, new Uint8Array(0))).filter(Boolean)).toHaveLength(16);
});
