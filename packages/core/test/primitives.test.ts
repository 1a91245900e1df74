import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  abortable,
  createLog,
  deadline,
  errorCode,
  errorMessage,
  Events,
  evenSchedule,
  Mutex,
  RateLimit,
  Renewal,
  type RenewalOptions,
  retransmit,
  SeededRandom,
  SharedWork,
  stunSchedule,
  TowpathError,
  Wakeup,
} from '../src/index.ts';
import { allDone, Tasks } from '../src/time/tasks.ts';
import { VirtualClock } from '../src/testing.ts';

describe('deadline', () => {
  test('aborts with its own error when the time is up, and says so', async () => {
    const clock = new VirtualClock();
    using limit = deadline(clock, 500);
    await clock.advance(499);
    expect(limit.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(limit.signal.reason).toMatchObject({ code: 'timed-out', kind: 'unreachable' });
    expect(limit.expired).toBe(true);
  });

  test('aborts with the outer reason, and leaves no timer', () => {
    const clock = new VirtualClock();
    const outer = new AbortController();
    using limit = deadline(clock, 500, outer.signal, () => new Error('late'));
    outer.abort(new Error('enough'));
    expect(limit.signal.reason).toEqual(new Error('enough'));
    expect([limit.expired, clock.pendingTimers]).toEqual([false, 0]);
    using second = deadline(clock, 500, outer.signal);
    expect([second.signal.aborted, clock.pendingTimers]).toEqual([true, 0]);
  });

  test('is over when it is disposed of; an endless one has no timer', async () => {
    const clock = new VirtualClock();
    const limits = [deadline(clock, 500), deadline(clock, Number.POSITIVE_INFINITY)];
    for (const limit of limits) limit[Symbol.dispose]();
    await clock.advance(1_000);
    expect(limits.map(({ signal }) => signal.aborted)).toEqual([false, false]);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('retransmit', () => {
  function world(answerAfterMs?: number) {
    const clock = new VirtualClock();
    const sentAt: number[] = [];
    const { promise: answer, resolve, reject } = Promise.withResolvers<string>();
    if (answerAfterMs !== undefined) clock.timer(answerAfterMs, () => resolve('answer'));
    const send = () => {
      sentAt.push(clock.now());
    };
    return { clock, sentAt, answer, reject, send };
  }

  test('the schedule of RFC 8489 is 0, 500, 1500, 3500, 7500, 15500, 31500 ms, and ends after 39.5 s', async () => {
    const { clock, sentAt, answer, send } = world();
    const outcome = retransmit({ clock, schedule: stunSchedule(), send, answer });
    await expect(clock.runUntil(outcome)).rejects.toMatchObject({ code: 'timed-out', kind: 'unreachable' });
    expect(sentAt).toEqual([0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    expect(clock.now()).toBe(39_500);
    expect(clock.pendingTimers).toBe(0);
  });

  test('ends with the answer, at once', async () => {
    const { clock, sentAt, answer, send } = world(1_600);
    expect(await clock.runUntil(retransmit({ clock, schedule: stunSchedule(), send, answer }))).toBe('answer');
    expect([sentAt, clock.now(), clock.pendingTimers]).toEqual([[0, 500, 1_500], 1_600, 0]);
  });

  test('an answer that rejects ends it with that error', async () => {
    const { clock, answer, reject, send } = world();
    clock.timer(700, () => reject(new Error('refused')));
    const outcome = retransmit({ clock, schedule: evenSchedule(500), send, answer });
    await expect(clock.runUntil(outcome)).rejects.toThrow('refused');
    expect(clock.pendingTimers).toBe(0);
  });

  test('an abort ends it with the reason of the signal, and nothing is sent any more', async () => {
    const { clock, sentAt, answer, send } = world();
    const abort = new AbortController();
    const outcome = retransmit({ clock, schedule: evenSchedule(500), send, answer, signal: abort.signal });
    clock.timer(1_200, () => abort.abort(new Error('stop')));
    await expect(clock.runUntil(outcome)).rejects.toThrow('stop');
    expect([sentAt, clock.pendingTimers]).toEqual([[0, 500, 1_000], 0]);
    await expect(
      retransmit({ clock, schedule: evenSchedule(500), send, answer, signal: abort.signal }),
    ).rejects.toThrow('stop');
    expect(sentAt.length).toBe(3);
  });

  test('an error of send ends it', async () => {
    const { clock, answer } = world();
    const send = () => Promise.reject(new TowpathError('EACCES', 'no'));
    await expect(retransmit({ clock, schedule: [1], send, answer })).rejects.toMatchObject({ kind: 'local' });
  });

  test('sends exactly as often as the answer leaves time for (property)', async () => {
    const schedules = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(schedules, fc.integer({ min: 0, max: 400 }), async (schedule, afterMs) => {
        const { clock, sentAt, answer, send } = world(afterMs + 0.5);
        const totalMs = schedule.reduce((sum, ms) => sum + ms, 0);
        const outcome = retransmit({ clock, schedule, send, answer });
        if (afterMs + 0.5 > totalMs) await expect(clock.runUntil(outcome)).rejects.toMatchObject({ code: 'timed-out' });
        else expect(await clock.runUntil(outcome)).toBe('answer');
        const starts = schedule.map((_ms, n) => schedule.slice(0, n).reduce((sum, ms) => sum + ms, 0));
        expect(sentAt).toEqual(starts.filter((atMs) => atMs < afterMs + 0.5));
      }),
      { numRuns: 60 },
    );
  });
});

describe('renewal', () => {
  function world(options: Partial<RenewalOptions> = {}) {
    const clock = new VirtualClock();
    const renewedAt: number[] = [];
    const failedAt: number[] = [];
    const told: string[] = [];
    const server = { up: true };
    const renewal = new Renewal(
      { clock, random: { ...new SeededRandom(1), next: () => 0, integer: () => 0, bytes: () => new Uint8Array() } },
      {
        name: 'port mapping 40000',
        grantedMs: 100_000,
        renew: async (signal) => {
          await clock.sleep(0, signal);
          (server.up ? renewedAt : failedAt).push(clock.now());
          if (!server.up) throw new TowpathError('no-answer', 'silence');
          return 100_000;
        },
        onRenewed: () => told.push('renewed'),
        onExpired: ({ code }) => told.push(`expired ${code}`),
        ...options,
      },
    );
    return { clock, renewal, renewedAt, failedAt, told, server };
  }

  test('renews at half of the lifetime', async () => {
    const { clock, renewal, renewedAt } = world();
    await clock.advance(160_000);
    expect(renewedAt).toEqual([50_000, 100_000, 150_000]);
    expect(renewal.expiresAtMs).toBe(250_000);
    await renewal.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  test('without a lifetime the first renewal is due at once', async () => {
    const { clock, renewal, renewedAt } = world({ grantedMs: undefined });
    await clock.advance(0);
    expect(renewedAt).toEqual([0]);
    await renewal.stop();
  });

  test('a failed renewal is tried again before the lease ends, and after it has ended until it succeeds', async () => {
    const { clock, renewal, failedAt, told, server } = world();
    server.up = false;
    await clock.advance(99_999);
    expect(failedAt.slice(0, 3)).toEqual([50_000, 75_000, 87_500]);
    expect(told).toEqual([]);
    await clock.advance(600_000);
    expect(told).toEqual(['expired no-answer']);
    const waits = failedAt.slice(-3);
    expect(waits[2]! - waits[1]!).toBeGreaterThan(50_000);
    server.up = true;
    await clock.advance(70_000);
    expect(told.slice(0, 2)).toEqual(['expired no-answer', 'renewed']);
    await renewal.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  test('wake renews at once; an endless lease needs no renewal but that', async () => {
    const { clock, renewal, renewedAt } = world({ grantedMs: Number.POSITIVE_INFINITY });
    await clock.advance(1_000_000);
    expect(renewedAt).toEqual([]);
    renewal.wake();
    await clock.advance(0);
    expect(renewedAt).toEqual([1_000_000]);
    await renewal.stop();
  });

  test('stopping aborts a renewal under way; listeners that throw change nothing', async () => {
    const { clock, renewal, renewedAt } = world({
      onRenewed: () => {
        throw new Error('listener');
      },
    });
    await clock.advance(110_000);
    expect(renewedAt.length).toBe(2);
    await renewal.stop();
    await renewal.stop();
    await clock.advance(200_000);
    expect([renewedAt.length, clock.pendingTimers]).toEqual([2, 0]);
  });
});

describe('rate limit', () => {
  test('allows the burst at once, then the rate, per key', async () => {
    const clock = new VirtualClock();
    const limit = new RateLimit({ clock }, { perSecond: 10, burst: 3 });
    const take = () => [1, 2, 3, 4].map(() => limit.take('a'));
    expect(take()).toEqual([true, true, true, false]);
    expect(limit.take('b')).toBe(true);
    expect(limit.waitMs('a')).toBeCloseTo(100);
    await clock.advance(200);
    expect(take()).toEqual([true, true, false, false]);
    await clock.advance(10_000);
    expect(take()).toEqual([true, true, true, false]);
  });

  test('makes takers wait for what was spent elsewhere', async () => {
    const clock = new VirtualClock();
    const limit = new RateLimit({ clock }, { perSecond: 10, burst: 10 });
    limit.spend('a', 25);
    expect(limit.take('a')).toBe(false);
    expect(limit.take('b')).toBe(true);
    await clock.advance(1_500);
    expect(limit.take('a')).toBe(false);
    await clock.advance(100);
    expect(limit.take('a')).toBe(true);
  });

  test('a cost above the budget takes nothing', () => {
    const limit = new RateLimit({ clock: new VirtualClock() }, { perSecond: 10, burst: 3 });
    expect([limit.take('a', 4), limit.take('a', 2), limit.take('a', 2), limit.take('a')]).toEqual([
      false,
      true,
      false,
      true,
    ]);
  });

  test('keys beyond the bound share one budget, and keys at rest make room', async () => {
    const clock = new VirtualClock();
    const limit = new RateLimit({ clock }, { perSecond: 1, burst: 2, maxKeys: 100 });
    const granted = () => Array.from({ length: 1_000 }, (_none, n) => limit.take(`k${n}`)).filter(Boolean).length;
    expect(granted()).toBe(102);
    expect(limit.size).toBe(100);
    await clock.advance(2_000);
    expect(limit.take('other')).toBe(true);
    expect(limit.size).toBe(1);
  });

  test('never grants more than burst + rate × time (property)', async () => {
    const steps = fc.array(fc.record({ waitMs: fc.nat(300), cost: fc.integer({ min: 1, max: 3 }) }), {
      maxLength: 100,
    });
    await fc.assert(
      fc.asyncProperty(
        steps,
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        async (all, rate, burst) => {
          const clock = new VirtualClock();
          const limit = new RateLimit({ clock }, { perSecond: rate, burst });
          let units = 0;
          for (const { waitMs, cost } of all) {
            await clock.advance(waitMs);
            const waitForIt = limit.waitMs('k', cost);
            const taken = limit.take('k', cost);
            expect(taken).toBe(waitForIt <= 1e-6);
            if (taken) units += cost;
            expect(units).toBeLessThanOrEqual(burst + (rate * clock.now()) / 1_000 + 1e-6);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('shared work', () => {
  function world() {
    const clock = new VirtualClock();
    const steps: string[] = [];
    let runs = 0;
    const work = new SharedWork(async (signal) => {
      const run = ++runs;
      steps.push(`start ${run}`);
      try {
        await clock.sleep(1_000, signal);
        return run;
      } catch (error) {
        await clock.sleep(50);
        throw error;
      } finally {
        steps.push(`end ${run}`);
      }
    });
    return { clock, work, steps };
  }

  test('all waiters share one run', async () => {
    const { clock, work, steps } = world();
    const all = Promise.all([work.join(), work.join(), work.join()]);
    expect(await clock.runUntil(all)).toEqual([1, 1, 1]);
    expect(await clock.runUntil(work.join())).toBe(2);
    expect(steps).toEqual(['start 1', 'end 1', 'start 2', 'end 2']);
  });

  test('it goes on when the first waiter leaves, and ends with the last one', async () => {
    const { clock, work, steps } = world();
    const [first, second] = [new AbortController(), new AbortController()];
    const left: string[] = [];
    const waiter = (name: string, { signal }: AbortController) => work.join(signal).catch(() => left.push(name));
    const both = [waiter('first', first), waiter('second', second)];
    await clock.advance(100);
    first.abort(new Error('leave'));
    await clock.advance(100);
    expect([left, steps]).toEqual([['first'], ['start 1']]);
    second.abort(new Error('leave'));
    await clock.advance(49);
    expect(left).toEqual(['first']);
    await clock.advance(1);
    await Promise.all(both);
    expect([left, steps]).toEqual([
      ['first', 'second'],
      ['start 1', 'end 1'],
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  test('whoever joins while it is being ended gets a run of their own', async () => {
    const { clock, work, steps } = world();
    const abort = new AbortController();
    const leaving = work.join(abort.signal).catch(() => 'left');
    await clock.advance(10);
    abort.abort(new Error('leave'));
    await clock.advance(10);
    const next = work.join();
    expect(await clock.runUntil(Promise.all([leaving, next]))).toEqual(['left', 2]);
    expect(steps).toEqual(['start 1', 'end 1', 'start 2', 'end 2']);
  });

  test('everybody hears of a failure', async () => {
    const work = new SharedWork(() => Promise.reject(new Error('no')));
    const outcomes = await Promise.allSettled([work.join(), work.join()]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(work.running).toBe(false);
  });
});

describe('tasks', () => {
  test('settle when the last is done, whether it succeeded or not, those that are added meanwhile included', async () => {
    const clock = new VirtualClock();
    const tasks = new Tasks();
    await tasks.settled();
    const done: string[] = [];
    tasks.add(clock.sleep(10).then(() => Promise.reject(new Error('it failed'))));
    tasks.add(
      clock.sleep(20).then(() => {
        tasks.add(clock.sleep(30).then(() => done.push('added meanwhile')));
      }),
    );
    await clock.runUntil(tasks.settled());
    expect([done, clock.now()]).toEqual([['added meanwhile'], 50]);
  });

  test('are awaited all, also when one fails at once; the first failure of the list is told', async () => {
    const clock = new VirtualClock();
    const done: string[] = [];
    const work = [
      clock.sleep(20).then(() => done.push('slow')),
      clock.sleep(10).then(() => Promise.reject(new Error('first'))),
      Promise.reject(new Error('second')),
    ];
    await expect(clock.runUntil(allDone(work))).rejects.toThrow('first');
    expect(done).toEqual(['slow']);
    await allDone([]);
  });
});

describe('waiting', () => {
  test('a mutex lets one in at a time, in order, and passes a turn on that was given up', async () => {
    const clock = new VirtualClock();
    const mutex = new Mutex();
    const order: string[] = [];
    const user = async (name: string, signal?: AbortSignal | undefined) => {
      using _turn = await mutex.acquire(signal);
      order.push(`${name} in`);
      await clock.sleep(10);
      order.push(`${name} out`);
    };
    const abort = new AbortController();
    const all = Promise.allSettled([user('a'), user('b', abort.signal), user('c')]);
    await clock.advance(5);
    abort.abort(new Error('b leaves'));
    await clock.advance(100);
    expect((await all).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(order).toEqual(['a in', 'a out', 'c in', 'c out']);
  });

  test('a wake-up that nobody waits for is kept for the next wait', async () => {
    const clock = new VirtualClock();
    const wakeup = new Wakeup({ clock });
    wakeup.wake();
    expect(await wakeup.wait(100)).toBe(true);
    const next = wakeup.wait(100);
    await clock.advance(100);
    expect(await next).toBe(false);
    const third = wakeup.wait(100);
    wakeup.wake();
    expect(await third).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  test('abortable rejects with the reason of the signal, and leaves no listener', async () => {
    const abort = new AbortController();
    expect(await abortable(Promise.resolve(1), abort.signal)).toBe(1);
    const outcome = expect(abortable(new Promise(() => {}), abort.signal)).rejects.toThrow('stop');
    abort.abort(new Error('stop'));
    await outcome;
    await expect(abortable(Promise.resolve(1), abort.signal)).rejects.toThrow('stop');
  });
});

describe('events', () => {
  test('a listener that is added twice is called once; those of an emit under way are those it began with', () => {
    const events = new Events<{ up: number }>();
    const heard: string[] = [];
    const first = () => heard.push('first');
    events.on('up', first);
    const stop = events.on('up', first);
    const stopSecond = events.on('up', () => {
      heard.push('second');
      stopSecond();
      stop();
      events.on('up', () => heard.push('third'));
    });
    events.emit('up', 1);
    expect(heard).toEqual(['first', 'second']);
    events.emit('up', 2);
    expect(heard).toEqual(['first', 'second', 'third']);
    expect(events.count('up')).toBe(1);
  });

  test('a listener that throws is logged; the others are called and the emitter goes on', () => {
    const lines: string[] = [];
    const events = new Events<{ up: number }>(createLog(({ level, message }) => lines.push(`${level}: ${message}`)));
    const heard: number[] = [];
    events.on('up', () => {
      throw new Error('broken');
    });
    events.on('up', (value) => heard.push(value));
    events.emit('up', 7);
    expect(heard).toEqual([7]);
    expect(lines).toEqual(['error: A listener of "up" failed: broken']);
  });

  test('a sink of the log that throws does not reach whoever logs', () => {
    const log = createLog(() => {
      throw new Error('disk full');
    });
    expect(() => log.child('X').info('hello')).not.toThrow();
  });
});

describe('errors', () => {
  test.each([
    ['no-answer', 'unreachable'],
    ['EADDRINUSE', 'local'],
    ['ECONNREFUSED', 'unreachable'],
    ['aborted', 'interrupted'],
    ['usage', 'usage'],
    ['never-classified', 'internal'],
  ])('%s is of the kind %s', (code, kind) => {
    expect(new TowpathError(code, '').kind).toBe(kind);
    expect(new TowpathError(code, '', { kind: 'untrusted' }).kind).toBe('untrusted');
  });

  test('one that closing adds to another does not hide it', async () => {
    const failing = (name: string) => ({
      [Symbol.dispose]: () => {
        throw new TowpathError(name, `closing ${name} failed`);
      },
    });
    const act = () => {
      using _first = failing('first');
      using _second = failing('second');
      throw new TowpathError('usage', 'it was wrong');
    };
    const thrown = await Promise.resolve()
      .then(act)
      .catch((error: unknown) => error);
    expect(thrown).not.toBeInstanceOf(TowpathError);
    expect([errorCode(thrown), errorMessage(thrown)]).toEqual(['usage', 'it was wrong']);
  });

  test('how to run Node is not said', () => {
    const reason = 'unable to verify the first certificate';
    const advice = '; if the root CA is installed locally, try running Node.js with --use-system-ca';
    expect(errorMessage(new Error(`${reason}${advice}`))).toBe(reason);
  });

  test('a report is carried along, and not printed with the error', () => {
    const error = new TowpathError('connect-failed', 'no', { report: { attempts: [] } });
    expect(error.report).toEqual({ attempts: [] });
    expect(Object.keys(error)).not.toContain('report');
  });
});
