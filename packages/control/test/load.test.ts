import { describe, expect, test } from 'vitest';
import { connections, joins, signalling, sync } from './load/measure.ts';

// Small runs of what `measure.ts` does at full size: that the budgets hold by a wide margin, and that it works at all.
describe('under load', () => {
  test('a connected node takes less than 25 KB of the server (C12)', async () => {
    const { nodes, heapKb } = await connections(300, 100);
    expect(nodes).toBe(300);
    expect(heapKb).toBeLessThan(25);
  });

  test('every signal arrives (C12)', async () => {
    const { connected, sent, arrived } = await signalling(100, 500, 0.5, 300);
    expect(connected).toBe(100);
    expect(arrived).toBe(sent);
  });

  test('joins are taken as fast as they come, and all of them (C12)', async () => {
    expect((await joins(100)).joins).toBe(100);
  });

  test('a checkpoint spares a first sync nearly all signatures (C12)', async () => {
    const { signatures } = await sync(200);
    expect(signatures).toEqual({ unchecked: 401, checkpoint: 3 });
  });
});
