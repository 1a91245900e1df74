import { describe, expect, test } from 'vitest';
import {
  DEFAULT_MONITOR_TIMES,
  initialMonitor,
  type MonitorEvent,
  type MonitorTimes,
  Repeat,
  RequestSchedule,
  SeededRandom,
  stepMonitor,
} from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

describe('repeated work', () => {
  test('begins when it is woken, and each run determines the next', async () => {
    const clock = new VirtualClock();
    const ranAt: number[] = [];
    const delays = [10, 25, Number.POSITIVE_INFINITY, 5];
    const repeat = new Repeat({ clock }, { run: () => delays[ranAt.push(clock.now()) - 1]! });
    await clock.advance(100);
    expect(ranAt).toEqual([]);
    repeat.wake();
    await clock.advance(100);
    expect([ranAt, clock.pendingTimers]).toEqual([[100, 110, 135], 0]);
    repeat.wake();
    expect(ranAt.at(-1)).toBe(200);
    repeat.stop();
    repeat.wake();
    await clock.advance(100);
    expect([ranAt.length, clock.pendingTimers]).toEqual([4, 0]);
  });

  test('that is woken early runs once, and leaves one timer', async () => {
    const clock = new VirtualClock();
    const ranAt: number[] = [];
    using repeat = new Repeat(
      { clock },
      {
        run: () => {
          ranAt.push(clock.now());
          return 50;
        },
      },
    );
    repeat.wake();
    await clock.advance(20);
    repeat.wake();
    await clock.advance(60);
    expect([ranAt, clock.pendingTimers]).toEqual([[0, 20, 70], 1]);
  });

  test('may wake or stop itself', async () => {
    const clock = new VirtualClock();
    const ranAt: number[] = [];
    const repeat: Repeat = new Repeat(
      { clock },
      {
        run: () => {
          ranAt.push(clock.now());
          if (ranAt.length === 1) repeat.wake();
          if (ranAt.length === 3) repeat.stop();
          return 10;
        },
      },
    );
    repeat.wake();
    expect([ranAt, clock.pendingTimers]).toEqual([[0, 0], 1]);
    await clock.advance(100);
    expect([ranAt, clock.pendingTimers]).toEqual([[0, 0, 10], 0]);
  });
});

describe('the schedule of a request', () => {
  const random = new SeededRandom(1);
  // No jitter, so that the times are exact.
  random.next = () => 0.5;
  const roundTrip = { initialMs: 250, minMs: 100, maxMs: 1_000 };

  test('grows until it is answered; the first answer measures the round trip and shortens the wait', () => {
    const schedule = new RequestSchedule({ random }, { roundTrip, growth: 2, startAtMs: 5 });
    expect([schedule.dueAtMs, schedule.transmissions, schedule.answered]).toEqual([5, 0, false]);
    const due: number[] = [];
    for (let now = 5; due.length < 4; now = schedule.dueAtMs) {
      schedule.sent(now);
      due.push(schedule.dueAtMs - now);
    }
    expect(due).toEqual([250, 500, 1_000, 1_000]);
    const sentAtMs = schedule.dueAtMs;
    schedule.sent(sentAtMs);
    expect(schedule.heard(sentAtMs + 40)).toBe(true);
    // 40 ms and four times its half (RFC 6298 §2).
    expect([schedule.rtt.smoothedMs, schedule.dueAtMs - sentAtMs]).toEqual([40, 120]);
    expect([schedule.heard(sentAtMs + 400), schedule.rtt.smoothedMs]).toEqual([false, 40]);
  });

  test('starts over, at once, when there is something new to ask', () => {
    const schedule = new RequestSchedule({ random }, { roundTrip, growth: 2, startAtMs: 0 });
    for (const atMs of [0, 250, 750]) schedule.sent(atMs);
    schedule.restart(800);
    expect(schedule.dueAtMs).toBe(800);
    schedule.sent(800);
    expect([schedule.dueAtMs, schedule.transmissions]).toEqual([1_050, 4]);
  });
});

describe('a monitor that probes only when nothing is heard', () => {
  const interval = 1_000;
  const times: MonitorTimes = {
    ...DEFAULT_MONITOR_TIMES,
    onlyWhenSilent: true,
    startIntervalMs: interval,
    activeIntervalMs: interval,
    idleIntervalMs: interval,
    minProbeLimitMs: interval,
    maxProbeLimitMs: interval,
    trustMs: Number.POSITIVE_INFINITY,
    suspectAfter: 3,
    deadAfter: 3,
  };

  /** Runs it to its end, or to `untilMs`; something is heard at each of `heardAtMs`. */
  function run(heardAtMs: readonly number[], untilMs: number): { probes: number[]; deadAtMs: number | undefined } {
    const random = new SeededRandom(1);
    const probes: number[] = [];
    let state = initialMonitor(0, 'current');
    let wakeAtMs = Number.POSITIVE_INFINITY;
    const step = (event: MonitorEvent) => {
      const result = stepMonitor(state, event, times);
      state = result.state;
      for (const effect of result.effects) {
        if (effect.type === 'probe') probes.push(event.atMs);
        else if (effect.type === 'wake') wakeAtMs = effect.atMs;
      }
    };
    step({ type: 'heard', data: false, atMs: 0 });
    const heard = [...heardAtMs];
    while (state.health !== 'dead') {
      const atMs = Math.min(wakeAtMs, heard[0] ?? Number.POSITIVE_INFINITY);
      if (atMs > untilMs) return { probes, deadAtMs: undefined };
      if (atMs === heard[0]) step({ type: 'heard', data: random.next() < 0.5, atMs: heard.shift()! });
      else step({ type: 'tick', atMs });
    }
    return { probes, deadAtMs: wakeAtMs };
  }

  test('sends one per interval of silence, and is dead an interval after the last that is allowed', () => {
    expect(run([], 60_000)).toEqual({ probes: [1_000, 2_000, 3_000], deadAtMs: 4_000 });
  });

  test('sends none while it is heard, and starts over with whatever it hears', () => {
    const often = Array.from({ length: 10 }, (_, at) => 900 * (at + 1));
    expect(run(often, 9_900).probes).toEqual([]);
    expect(run([2_500, 2_600], 60_000)).toEqual({ probes: [1_000, 2_000, 3_600, 4_600, 5_600], deadAtMs: 6_600 });
  });
});
