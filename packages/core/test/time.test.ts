import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  deadlineInterval,
  RoundTripEstimator,
  SeededRandom,
  SystemClock,
  SystemRandom,
  type Timer,
} from '../src/index.ts';
import type { PlatformTimers } from '../src/clock.ts';
import type { Tick } from '../src/interval.ts';
import { VirtualClock } from '../src/testing.ts';

describe('virtual clock', () => {
  test('fires timers in order of time, equal times in order of creation', async () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    clock.timer(20, () => fired.push('c'));
    clock.timer(10, () => fired.push('a'));
    clock.timer(10, () => fired.push('b'));
    clock.timer(15, () => fired.push('never')).cancel();
    await clock.advance(30);
    expect(fired).toEqual(['a', 'b', 'c']);
    expect(clock.pendingTimers).toBe(0);
  });

  test('agrees with a sorted list for any set of timers and cancellations', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat(50), cancel: fc.boolean() }), { maxLength: 200 }),
        async (timers) => {
          const clock = new VirtualClock();
          const fired: number[] = [];
          const handles = timers.map(({ at }, index) => clock.timer(at, () => fired.push(index)));
          timers.forEach(({ cancel }, index) => {
            if (cancel) handles[index]?.cancel();
          });
          await clock.advance(50);
          const expected = timers
            .map(({ at, cancel }, index) => ({ at, cancel, index }))
            .filter(({ cancel }) => !cancel)
            .sort((a, b) => a.at - b.at || a.index - b.index)
            .map(({ index }) => index);
          expect(fired).toEqual(expected);
          expect(clock.pendingTimers).toBe(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('says so when a promise can never settle', async () => {
    const clock = new VirtualClock();
    await expect(clock.runUntil(new Promise(() => {}))).rejects.toMatchObject({ code: 'virtual-time-exhausted' });
  });

  test('a sleep that is aborted leaves no timer behind', async () => {
    for (const clock of [new VirtualClock(), new SystemClock()]) {
      const abort = new AbortController();
      const outcome = expect(clock.sleep(60_000, abort.signal)).rejects.toThrow('stop');
      abort.abort(new Error('stop'));
      await outcome;
      await expect(clock.sleep(60_000, abort.signal)).rejects.toThrow('stop');
      if (clock instanceof VirtualClock) expect(clock.pendingTimers).toBe(0);
    }
  });
});

describe('system clock', () => {
  /** Timers that hold no more than Node's do, on a virtual time. */
  function platform() {
    const clock = new VirtualClock();
    const delays: number[] = [];
    const timers: PlatformTimers = {
      now: () => clock.now(),
      set: (callback, delayMs) => {
        delays.push(delayMs);
        return clock.timer(delayMs > 2 ** 31 - 1 ? 1 : delayMs, callback);
      },
      clear: (handle) => (handle as Timer).cancel(),
    };
    return { virtual: clock, delays, clock: new SystemClock(timers) };
  }

  test('delays beyond the 24.8 days of a platform timer do not end early', async () => {
    const { virtual, clock, delays } = platform();
    const days = 24 * 3_600_000;
    let firedAt: number | undefined;
    clock.timer(60 * days, () => {
      firedAt = virtual.now();
    });
    await virtual.advance(59 * days);
    expect(firedAt).toBeUndefined();
    await virtual.advance(2 * days);
    expect(firedAt).toBe(60 * days);
    expect(Math.max(...delays)).toBeLessThanOrEqual(2 ** 31 - 1);
  });

  test('a long delay can be cancelled after it was armed again, and one without end never fires', async () => {
    const { virtual, clock } = platform();
    const fired: string[] = [];
    const long = clock.timer(100 * 24 * 3_600_000, () => fired.push('long'));
    clock.timer(Number.POSITIVE_INFINITY, () => fired.push('never'));
    await virtual.advance(30 * 24 * 3_600_000);
    long.cancel();
    await virtual.advance(1_000 * 24 * 3_600_000);
    expect(fired).toEqual([]);
    expect(virtual.pendingTimers).toBe(1);
  });
});

describe('deadline interval', () => {
  test('does not drift in ten hours of late timers (B4)', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(4);
    // Every timer fires up to 8 ms late, as on a busy machine.
    const late = {
      ...clockFace(clock),
      timer: (ms: number, callback: () => void) => clock.timer(ms + random.next() * 8, callback),
    };
    const ticks: Tick[] = [];
    const interval = deadlineInterval({ clock: late, intervalMs: 3_000, onTick: (tick) => ticks.push(tick) });
    await clock.advance(10 * 3_600_000);
    interval.cancel();
    expect(ticks.length).toBeGreaterThanOrEqual(11_999);
    expect(ticks.every(({ lateMs, skipped }) => lateMs <= 8 && skipped === 0)).toBe(true);
    expect(ticks.at(-1)?.deadlineMs).toBe(3_000 * ticks.length);
    expect(clock.pendingTimers).toBe(0);
  });

  test('skips what it missed while the process was suspended instead of sending a burst', async () => {
    const clock = new VirtualClock();
    let suspendedMs = 0;
    const face = clockFace(clock);
    const jumping = { ...face, now: () => clock.now() + suspendedMs, timer: face.timer };
    const ticks: Tick[] = [];
    const interval = deadlineInterval({ clock: jumping, intervalMs: 1_000, onTick: (tick) => ticks.push(tick) });
    await clock.advance(2_000);
    suspendedMs = 7_500;
    await clock.advance(2_000);
    expect(ticks.map(({ count }) => count)).toEqual([0, 1, 2, 10, 11].slice(0, ticks.length));
    expect(ticks.length).toBeLessThanOrEqual(5);
    expect(ticks.some(({ skipped }) => skipped >= 7)).toBe(true);
    interval.cancel();
  });

  test('ends with its signal, also when that is aborted from a tick', async () => {
    const clock = new VirtualClock();
    const abort = new AbortController();
    let count = 0;
    deadlineInterval({
      clock,
      intervalMs: 10,
      firstMs: 0,
      signal: abort.signal,
      onTick: () => {
        count++;
        if (count === 3) abort.abort();
      },
    });
    await clock.advance(1_000);
    expect(count).toBe(3);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('round-trip estimator', () => {
  test('follows RFC 6298 §2', () => {
    const rtt = new RoundTripEstimator({ initialMs: 40, minMs: 20, maxMs: 1_000 });
    expect(rtt.timeoutMs).toBe(40);
    rtt.sample(100);
    expect([rtt.smoothedMs, rtt.timeoutMs]).toEqual([100, 300]);
    rtt.sample(60);
    expect([rtt.smoothedMs, rtt.timeoutMs, rtt.minMs]).toEqual([95, 95 + 4 * 47.5, 60]);
    rtt.reset();
    expect([rtt.smoothedMs, rtt.timeoutMs]).toEqual([undefined, 40]);
  });

  test('stays within its bounds whatever it is fed (A8)', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.double(), fc.constant('backoff' as const)), { maxLength: 100 }), (steps) => {
        const rtt = new RoundTripEstimator({ initialMs: 40, minMs: 20, maxMs: 1_000 });
        for (const step of steps) {
          if (step === 'backoff') rtt.backoff();
          else rtt.sample(step);
          expect(rtt.timeoutMs).toBeGreaterThanOrEqual(20);
          expect(rtt.timeoutMs).toBeLessThanOrEqual(1_000);
        }
      }),
    );
  });

  test('backs off by doubling, and a fresh sample ends it', () => {
    const rtt = new RoundTripEstimator({ initialMs: 40, minMs: 20, maxMs: 1_000 });
    for (let n = 0; n < 20; n++) rtt.backoff();
    expect(rtt.timeoutMs).toBe(1_000);
    rtt.sample(10);
    expect(rtt.timeoutMs).toBe(30);
  });
});

describe('randomness', () => {
  test('the same seed gives the same run, and values stay in range', () => {
    const draw = (seed: number) => {
      const random = new SeededRandom(seed);
      return [random.next(), random.integer(5, 7), [...random.bytes(4)]];
    };
    expect(draw(9)).toEqual(draw(9));
    expect(draw(9)).not.toEqual(draw(10));
    for (const random of [new SeededRandom(1), new SystemRandom()]) {
      const seen = new Set(Array.from({ length: 200 }, () => random.integer(5, 7)));
      expect([...seen].sort()).toEqual([5, 6, 7]);
      expect(random.bytes(33).length).toBe(33);
      expect(random.next()).toBeLessThan(1);
    }
  });
});

function clockFace(clock: VirtualClock) {
  return {
    now: () => clock.now(),
    wallTime: () => clock.wallTime(),
    sleep: (ms: number, signal?: AbortSignal | undefined) => clock.sleep(ms, signal),
    timer: (ms: number, callback: () => void) => clock.timer(ms, callback),
  };
}
