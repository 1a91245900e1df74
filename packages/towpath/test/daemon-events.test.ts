import type { DaemonEvent, EventBatch } from '@towpath/dashboard/api';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import { surplusFiles } from '../src/daemon/cameras/retention.ts';
import { EventHub } from '../src/daemon/events/hub.ts';

const removed = (camera: string): DaemonEvent => ({ type: 'camera-removed', camera });
const latency = (atMs: number): DaemonEvent => ({
  type: 'latency',
  party: 'p',
  peer: 'a',
  sample: { atMs, rttMs: 1, kind: 'lan' },
});

describe('events for pages', () => {
  test('are sent in batches, and what a later event repeats is left out (C13)', async () => {
    const clock = new VirtualClock();
    using hub = new EventHub({ clock }, { run: 'r' });
    const batches: EventBatch[] = [];
    const stop = hub.subscribe(undefined, (batch) => batches.push(batch));
    for (let turn = 0; turn < 100; turn++) {
      hub.publish(removed('feeder'));
      hub.publish(latency(turn));
    }
    expect(batches.map(({ events }) => events.length)).toEqual([0]);
    await clock.advance(60);
    expect(batches).toHaveLength(2);
    expect(batches[1]?.events.filter(({ type }) => type === 'camera-removed')).toHaveLength(1);
    expect(batches[1]?.events.filter(({ type }) => type === 'latency')).toHaveLength(100);
    expect(batches[1]?.sequence).toBe(200);
    stop();
    hub.publish(removed('feeder'));
    await clock.advance(60);
    expect(batches).toHaveLength(2);
  });

  test('go on where a page was, and begin anew when that is gone, or was another process', () => {
    const clock = new VirtualClock();
    using hub = new EventHub({ clock }, { run: 'r', kept: 10 });
    for (let turn = 0; turn < 5; turn++) hub.publish(latency(turn));
    const first = (from: { run: string; after: number } | undefined) => {
      const batches: EventBatch[] = [];
      hub.subscribe(from, (batch) => batches.push(batch))();
      return batches[0];
    };
    expect(first({ run: 'r', after: 3 })).toMatchObject({ reset: false, sequence: 5, events: [{}, {}] });
    expect(first({ run: 'other', after: 3 })).toMatchObject({ reset: true, events: [] });
    expect(first({ run: 'r', after: 99 })).toMatchObject({ reset: true, events: [] });
    for (let turn = 0; turn < 20; turn++) hub.publish(latency(turn));
    expect(first({ run: 'r', after: 3 })).toMatchObject({ reset: true, sequence: 25, events: [] });
    expect(first(undefined)).toMatchObject({ reset: false, events: [] });
  });

  test('a page that does not read gets the newest state later, and memory does not grow', async () => {
    const clock = new VirtualClock();
    using hub = new EventHub({ clock }, { run: 'r', kept: 10 });
    const batches: EventBatch[] = [];
    let busy = true;
    hub.subscribe(
      undefined,
      (batch) => batches.push(batch),
      () => busy,
    );
    for (let turn = 0; turn < 1_000; turn++) hub.publish(latency(turn));
    await clock.advance(1_000);
    expect(batches).toHaveLength(1);
    busy = false;
    await clock.advance(100);
    expect(batches[1]).toMatchObject({ reset: true, sequence: 1_000, events: [] });
  });
});

describe('how long pictures are kept', () => {
  const DAY_MS = 86_400_000;
  const files = [1, 2, 3, 4, 5].map((day) => ({ id: String(day), atMs: day * DAY_MS, bytes: 10 }));
  const surplus = (days: number | null, bytes: number | null) =>
    surplusFiles(files.toReversed(), { days, bytes }, 6 * DAY_MS).map(({ id }) => id);

  test('for ever without a limit; by age, by size, or by both, the oldest first', () => {
    expect(surplus(null, null)).toEqual([]);
    expect(surplus(3, null)).toEqual(['1', '2']);
    expect(surplus(null, 25)).toEqual(['1', '2', '3']);
    expect(surplus(4.5, 30)).toEqual(['1', '2']);
    expect(surplus(null, 50)).toEqual([]);
  });
});
