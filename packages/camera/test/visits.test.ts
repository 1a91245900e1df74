import { describe, expect, test } from 'vitest';
import type { MediaItem } from '../src/artemis/media-item.ts';
import { entryKey } from '../src/media/media-index.ts';
import { runVisits } from '../src/outputs/visits.ts';
import { collect, Hotspot } from './emulator-fixture.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Visits a camera that sleeps between the visits and takes a picture every 25 minutes. */
function sleepyCamera() {
  const hotspot = new Hotspot();
  const startedAt: number[] = [];
  const fetched: string[] = [];
  const failures: (number | undefined)[] = [];
  const abort = new AbortController();
  let cannotWake = 0;
  const start = async (limits: { visitLimitMs?: number } = {}) => {
    const { clock, random } = hotspot;
    const camera = await hotspot.camera({ itemCount: 5, newPictureEveryMs: 25 * MINUTE });
    camera.faults.silent = true;
    const known = new Set<string>();
    const running = runVisits(
      { clock, random },
      {
        times: { everyMs: 2 * HOUR },
        ...limits,
        signal: abort.signal,
        onFailed: (_error, again) => failures.push(again),
        visit: async (signal) => {
          startedAt.push(clock.now());
          if (cannotWake-- > 0) throw new Error('not found');
          camera.faults.silent = false;
          await using client = hotspot.client();
          try {
            await client.connectWithRetries({ signal });
            const items: MediaItem[] = (await collect(client.mediaList({ signal }))).filter(
              (item) => !known.has(entryKey(item)),
            );
            for await (const { item, data } of client.download(items, { signal })) {
              if (data === undefined) continue;
              known.add(entryKey(item));
              fetched.push(entryKey(item));
            }
          } finally {
            await client.close();
            camera.faults.silent = true;
          }
        },
      },
    ).catch((error: Error) => error.message);
    return { camera, running };
  };
  return {
    hotspot,
    startedAt,
    fetched,
    failures,
    abort,
    start,
    failNext: (count: number) => {
      cannotWake = count;
    },
  };
}

describe('a schedule of visits (B10)', () => {
  test('twelve hours: every picture is fetched once, the schedule is kept, nothing leaks', async () => {
    const { hotspot, startedAt, fetched, failures, abort, start } = sleepyCamera();
    const { camera, running } = await start();
    await hotspot.clock.advance(12 * HOUR + 10 * MINUTE);
    expect(startedAt.map((ms) => Math.round(ms / MINUTE))).toEqual([0, 120, 240, 360, 480, 600, 720]);
    expect(failures).toEqual([]);
    // 5 at the start, and one every 25 minutes until the last visit.
    const due = camera.items.slice(-(5 + Math.floor((12 * 60) / 25))).map(entryKey);
    expect([...fetched].sort()).toEqual([...due].sort());
    expect(new Set(fetched).size).toBe(fetched.length);
    expect(camera.sessions).toEqual([]);
    abort.abort(new Error('enough'));
    expect(await hotspot.run(running)).toBe('enough');
    expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
  });

  test('a visit that fails is tried again soon, and the schedule stays', async () => {
    const { hotspot, startedAt, failures, fetched, abort, start, failNext } = sleepyCamera();
    const { running } = await start();
    await hotspot.clock.advance(HOUR);
    failNext(2);
    await hotspot.clock.advance(4 * HOUR);
    const minutes = startedAt.map((ms) => Math.round(ms / MINUTE));
    expect(minutes).toEqual([0, 120, 121, 123, 240]);
    expect(failures.map((ms) => Math.round((ms ?? 0) / MINUTE))).toEqual([1, 2]);
    expect(new Set(fetched).size).toBe(fetched.length);
    abort.abort(new Error('enough'));
    expect(await hotspot.run(running)).toBe('enough');
    expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
  });

  test('a camera that is gone is tried four times at each visit, not without end', async () => {
    const { hotspot, startedAt, failures, abort, start, failNext } = sleepyCamera();
    failNext(100);
    const { running } = await start();
    await hotspot.clock.advance(4 * HOUR - MINUTE);
    expect(startedAt).toHaveLength(8);
    expect(failures.filter((again) => again === undefined)).toHaveLength(2);
    abort.abort(new Error('enough'));
    expect(await hotspot.run(running)).toBe('enough');
  });

  test('a visit that takes too long is ended, because the camera stays awake for it', async () => {
    const { hotspot, failures, abort, start } = sleepyCamera();
    const { running } = await start({ visitLimitMs: 1 });
    await hotspot.clock.advance(HOUR);
    expect(failures.length).toBeGreaterThan(0);
    abort.abort(new Error('enough'));
    expect(await hotspot.run(running)).toBe('enough');
    expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
  });
});
