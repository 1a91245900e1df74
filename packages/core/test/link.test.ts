import { describe, expect, test } from 'vitest';
import { AbortedError, backoff, Link, type LinkOptions, PathReason, SeededRandom, TowpathError } from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

type Path = { id: number };

function world(overrides: Partial<LinkOptions<Path>> = {}) {
  const clock = new VirtualClock();
  const tries: number[] = [];
  const released: number[] = [];
  let reachable = true;
  let kill: ((error: TowpathError) => void) | undefined;
  const link = new Link<Path>(
    { clock },
    {
      target: 'camera.test',
      connect: async ({ signal }) => {
        tries.push(clock.now());
        await clock.sleep(100, signal);
        if (!reachable) throw new TowpathError('no-answer', 'nobody there');
        return { id: tries.length };
      },
      watch: (_path, { signal }) =>
        new Promise((resolve) => {
          kill = resolve;
          signal.addEventListener('abort', () => resolve(new AbortedError('unwatched')));
        }),
      release: ({ id }) => {
        released.push(id);
      },
      first: { delaysMs: () => [1_000, 2_000, 4_000, 8_000], limitMs: 90_000 },
      again: { delaysMs: () => [500, 1_000], slowRetryMs: 3_000 },
      ...overrides,
    },
  );
  const events: string[] = [];
  link.events.on('phase', (phase) => events.push(phase));
  return {
    clock,
    link,
    tries,
    released,
    events,
    setReachable: (value: boolean) => {
      reachable = value;
    },
    kill: () => kill?.(new TowpathError('session-dead', 'silence')),
  };
}

describe('link', () => {
  test('connects and hands out the path', async () => {
    const { clock, link, events } = world();
    expect(await clock.runUntil(link.ready())).toEqual({ id: 1 });
    expect(events).toEqual(['connecting', 'up']);
    await link.close();
    expect(clock.pendingTimers).toBe(0);
  });

  test('tries again with the given delays, then says that it gave up (B7)', async () => {
    const { clock, link, tries, setReachable, events } = world();
    setReachable(false);
    await expect(clock.runUntil(link.ready())).rejects.toMatchObject({ code: 'no-answer' });
    expect(tries).toEqual([0, 1_100, 3_200, 7_300, 15_400]);
    expect(link.phase).toBe('failed');
    expect(events.at(-1)).toBe('failed');
    await expect(link.ready()).rejects.toMatchObject({ code: 'no-answer' });
    await link.close();
  });

  test('the round of tries has a limit in time (B7)', async () => {
    const { clock, link, setReachable } = world({ first: { delaysMs: () => Array(100).fill(1_000), limitMs: 2_050 } });
    setReachable(false);
    await expect(clock.runUntil(link.ready())).rejects.toThrow();
    expect(clock.now()).toBeLessThanOrEqual(2_050);
    await link.close();
    expect(clock.pendingTimers).toBe(0);
  });

  test('a try that hangs is ended by the limit of the round', async () => {
    const { clock, link } = world({
      connect: ({ signal }) => clockless(signal),
      first: { delaysMs: () => [], limitMs: 5_000 },
    });
    await expect(clock.runUntil(link.ready())).rejects.toMatchObject({ code: 'retries-timed-out' });
    expect(clock.now()).toBe(5_000);
    await link.close();
  });

  test('reconnects by itself after a loss, and goes on slowly for as long as it takes (B5, C7)', async () => {
    const { clock, link, tries, released, setReachable, kill } = world();
    await clock.runUntil(link.ready());
    setReachable(false);
    kill();
    await clock.advance(60_000);
    expect(released).toEqual([1]);
    expect(link.phase).toBe('failed');
    const before = tries.length;
    expect(before).toBeGreaterThan(15);
    setReachable(true);
    await clock.advance(4_000);
    expect(link.phase).toBe('up');
    await link.close();
    expect(released).toEqual([1, before + 1]);
    expect(clock.pendingTimers).toBe(0);
  });

  test('a reconnect waits until the lost path has let go of what it held, such as its local port (B6)', async () => {
    let held = 0;
    const overlaps: boolean[] = [];
    const base = world();
    const { clock, link, kill } = world({
      connect: async () => {
        overlaps.push(held > 0);
        held++;
        return { id: held };
      },
      release: async () => {
        await base.clock.sleep(0);
        held--;
      },
    });
    await clock.runUntil(link.ready());
    kill();
    await clock.advance(10);
    expect(overlaps).toEqual([false]);
    await base.clock.advance(0);
    await clock.advance(10);
    expect(overlaps).toEqual([false, false]);
    const closing = link.close();
    await base.clock.advance(0);
    await closing;
  });

  test('a refresh ends the waiting at once', async () => {
    const { clock, link, setReachable } = world();
    setReachable(false);
    link.start();
    await clock.advance(5_000);
    expect(link.phase).toBe('waiting');
    setReachable(true);
    link.refresh(PathReason.networkChanged);
    await clock.advance(100);
    expect(link.phase).toBe('up');
    await link.close();
  });

  test('a fatal error is not tried again', async () => {
    const { clock, link, tries, setReachable } = world({ fatal: ({ code }) => code === 'no-answer' });
    setReachable(false);
    await expect(clock.runUntil(link.ready())).rejects.toMatchObject({ code: 'no-answer' });
    await clock.advance(60_000);
    expect(tries.length).toBe(1);
    await link.close();
  });

  test('closing while connecting releases everything and tells those who wait', async () => {
    const { clock, link } = world();
    const ready = link.ready();
    const outcome = expect(ready).rejects.toMatchObject({ code: 'link-closed' });
    await clock.advance(50);
    await link.close();
    await outcome;
    expect(clock.pendingTimers).toBe(0);
    expect(link.events.count('up')).toBe(0);
    await expect(link.ready()).rejects.toMatchObject({ code: 'link-closed' });
  });

  test('waiting for the link can be given up without disturbing it', async () => {
    const { clock, link } = world();
    const abort = new AbortController();
    const outcome = expect(link.ready(abort.signal)).rejects.toThrow('not now');
    abort.abort(new Error('not now'));
    await outcome;
    await clock.advance(100);
    expect(link.phase).toBe('up');
    await link.close();
  });

  test('a loss that a user of the path reports counts like one that the watch saw', async () => {
    const { clock, link } = world();
    const path = await clock.runUntil(link.ready());
    const down: string[] = [];
    link.events.on('down', ({ error }) => down.push(error.code));
    link.reportLoss({ id: 99 }, new TowpathError('other', 'not this one'));
    link.reportLoss(path, new TowpathError('no-heartbeat', 'five failures'));
    expect(down).toEqual(['no-heartbeat']);
    await clock.advance(100);
    expect(link.phase).toBe('up');
    await link.close();
  });

  test('backoff delays are 1, 2, 4, 8, 16 s with jitter, and end (B7)', () => {
    const random = new SeededRandom(1);
    const exact = [...backoff({ baseMs: 1_000, maxMs: 16_000, count: 6, jitter: 0, random })];
    expect(exact).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 16_000]);
    const jittered = [...backoff({ baseMs: 1_000, maxMs: 16_000, count: 5, jitter: 0.1, random })];
    jittered.forEach((delayMs, index) => {
      expect(Math.abs(delayMs / exact[index]! - 1)).toBeLessThanOrEqual(0.1);
    });
    expect(new Set(jittered.map((delayMs, index) => delayMs / exact[index]!)).size).toBe(5);
  });
});

function clockless(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}
