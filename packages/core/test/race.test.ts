import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  AbortedError,
  type AttemptReport,
  type Candidate,
  createLog,
  Race,
  race,
  SeededRandom,
  TowpathError,
} from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

interface Path {
  id: string;
}

interface Script {
  id: string;
  kind?: string;
  rank?: number;
  /** Virtual ms until it settles; never when undefined. */
  afterMs?: number;
  fails?: boolean;
  /** It brings its path although it was cancelled. */
  deaf?: boolean;
  limitMs?: number;
}

function world() {
  const clock = new VirtualClock();
  const open = new Set<string>();
  const undone: string[] = [];
  const candidate = ({ id, kind = 'lan', rank, afterMs, fails, deaf, limitMs }: Script): Candidate<Path> => ({
    id,
    kind,
    label: `${id}.test`,
    ...(rank === undefined ? {} : { rank }),
    ...(limitMs === undefined ? {} : { limitMs }),
    connect: async ({ signal, note }) => {
      open.add(id);
      note({ localPort: 50_000 + open.size });
      try {
        await clock.sleep(afterMs ?? 1e9, deaf ? undefined : signal);
      } catch (error) {
        open.delete(id);
        throw error;
      }
      if (fails) {
        open.delete(id);
        throw new TowpathError('no-answer', `${id} did not answer`);
      }
      return { id };
    },
  });
  const undo = (path: Path) => {
    undone.push(path.id);
    open.delete(path.id);
  };
  return { clock, open, undone, candidate, undo };
}

describe('race', () => {
  test('takes the first success and cancels the rest (A3)', async () => {
    const { clock, open, candidate, undo } = world();
    const scripts = [candidate({ id: 'slow', afterMs: 90 }), candidate({ id: 'fast', kind: 'p2p', afterMs: 20 })];
    const result = await clock.runUntil(race(scripts, { clock }, { limitMs: 1_000, undo }).result);
    expect(result.ok && result.path.id).toBe('fast');
    expect(result.report.attempts.map(({ id, state }) => [id, state])).toEqual([
      ['slow', 'cancelled'],
      ['fast', 'success'],
    ]);
    expect(result.report.attempts[1]?.localPort).toBeGreaterThan(0);
    await clock.advance(0);
    expect([...open]).toEqual(['fast']);
    expect(clock.pendingTimers).toBe(0);
  });

  test('reports why each attempt failed (A5)', async () => {
    const { clock, candidate, undo } = world();
    const scripts = [candidate({ id: 'a', afterMs: 5, fails: true }), candidate({ id: 'b', limitMs: 30 })];
    const result = await clock.runUntil(race(scripts, { clock }, { limitMs: 1_000, staggerMs: 10, undo }).result);
    expect(result.ok).toBe(false);
    expect(result.report.attempts.map(({ error }) => error?.code)).toEqual(['no-answer', 'attempt-timed-out']);
    expect(clock.pendingTimers).toBe(0);
  });

  test('does not take longer because of dead candidates ahead of the live one (A2)', async () => {
    const { clock, candidate, undo } = world();
    const dead = ['1', '2', '3', '4', '5'].map((id) => candidate({ id }));
    const scripts = [...dead, candidate({ id: 'live', afterMs: 7 })];
    await clock.runUntil(race(scripts, { clock }, { limitMs: 30_000, staggerMs: 2, undo }).result);
    expect(clock.now()).toBe(5 * 2 + 7);
  });

  test('ends at the limit with nothing left open (A6)', async () => {
    const { clock, open, candidate, undo } = world();
    const result = await clock.runUntil(
      race([candidate({ id: 'a' }), candidate({ id: 'b' })], { clock }, { limitMs: 500, staggerMs: 50, undo }).result,
    );
    expect(result).toMatchObject({ ok: false, reason: 'limit' });
    expect(clock.now()).toBe(500);
    expect(open.size).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test('an abort closes everything before the promise rejects with its reason (A6)', async () => {
    const { clock, open, candidate, undo } = world();
    const abort = new AbortController();
    const running = race([candidate({ id: 'a' })], { clock }, { limitMs: 500, undo, signal: abort.signal });
    clock.timer(40, () => abort.abort(new AbortedError('enough')));
    await expect(clock.runUntil(running.result)).rejects.toThrow('enough');
    expect(open.size).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test('a race with an aborted signal starts nothing', async () => {
    const { clock, open, candidate, undo } = world();
    const running = race(
      [candidate({ id: 'a' })],
      { clock },
      { limitMs: 500, undo, signal: AbortSignal.abort(new Error('no')) },
    );
    await expect(clock.runUntil(running.result)).rejects.toThrow('no');
    expect(open.size).toBe(0);
  });

  test('does not wait for ever on an attempt that ignores its signal, and undoes what it brings later (A3)', async () => {
    const { clock, open, undone, candidate, undo } = world();
    const running = race([candidate({ id: 'deaf', afterMs: 60_000, deaf: true })], { clock }, { limitMs: 100, undo });
    const result = await clock.runUntil(running.result);
    expect(result.ok).toBe(false);
    expect(clock.now()).toBeLessThan(2_000);
    await clock.advance(60_000);
    expect(undone).toEqual(['deaf']);
    expect(open.size).toBe(0);
  });

  test('kinds can be given a later start (A9)', async () => {
    const { clock, candidate, undo } = world();
    const scripts = [candidate({ id: 'relay', kind: 'relay', afterMs: 1 }), candidate({ id: 'lan', afterMs: 1 })];
    const running = race(scripts, { clock }, { limitMs: 500, kinds: { relay: { delayMs: 100 } }, undo });
    const result = await clock.runUntil(running.result);
    expect(result.ok && result.path.id).toBe('lan');
    expect(result.report.attempts[0]).toMatchObject({ state: 'cancelled', startedAtMs: undefined });
  });

  test('goes on looking for a better path after a worse one has won (A7)', async () => {
    const { clock, candidate, undo, undone, open } = world();
    const better: [string, AttemptReport][] = [];
    const running = race(
      [
        candidate({ id: 'relay', kind: 'relay', rank: 2, afterMs: 10 }),
        candidate({ id: 'direct', kind: 'p2p', rank: 1, afterMs: 50 }),
      ],
      { clock },
      { limitMs: 5_000, undo, onPath: (path, report) => better.push([path.id, report]) },
    );
    const result = await clock.runUntil(running.result);
    expect(result.ok && result.path.id).toBe('relay');
    expect(result.report.attempts.map(({ state, continues }) => [state, continues])).toEqual([
      ['success', false],
      ['cancelled', true],
    ]);
    await clock.runUntil(running.settled);
    expect(better.map(([id, { state }]) => [id, state])).toEqual([['direct', 'success']]);
    expect(undone).toEqual([]);
    expect([...open]).toEqual(['relay', 'direct']);
    expect(clock.pendingTimers).toBe(0);
  });

  test('collects the equals of the first success for the settling time, so that round trips can choose', async () => {
    const { clock, open, candidate, undo } = world();
    const further: string[] = [];
    const running = race(
      [
        candidate({ id: 'slow', kind: 'x', afterMs: 40 }),
        candidate({ id: 'fast', kind: 'y', afterMs: 60 }),
        candidate({ id: 'late', kind: 'z', afterMs: 500 }),
      ],
      { clock },
      { limitMs: 5_000, undo, settleMs: 100, onPath: (path) => further.push(path.id) },
    );
    const result = await clock.runUntil(running.result);
    expect([result.ok && result.path.id, clock.now()]).toEqual(['slow', 40]);
    await clock.runUntil(running.settled);
    expect([further, clock.now()]).toEqual([['fast'], 140]);
    expect([...open]).toEqual(['slow', 'fast']);
    expect(clock.pendingTimers).toBe(0);
  });

  test('a withdrawn candidate is cancelled, and its success undone', async () => {
    const { clock, open, undone, candidate, undo } = world();
    const running = new Race<Path>({ clock }, { limitMs: 5_000, undo, onPath: () => {} });
    running.add(
      candidate({ id: 'a', kind: 'x', afterMs: 50 }),
      candidate({ id: 'b', kind: 'y', afterMs: 90, deaf: true }),
    );
    running.withdraw('unknown');
    running.withdraw('b');
    running.seal();
    const result = await clock.runUntil(running.result);
    await clock.advance(1_000);
    expect([result.ok && result.path.id, undone, [...open]]).toEqual(['a', ['b'], ['a']]);
  });

  test('observers that throw, add and withdraw neither lose a wake-up nor leave anything open', async () => {
    const { clock, open, candidate, undo } = world();
    const errors: string[] = [];
    const log = createLog(({ level, message }) => level === 'error' && errors.push(message));
    let running: Race<Path> | undefined;
    running = new Race<Path>(
      { clock, log },
      {
        limitMs: 1_000,
        staggerMs: 30,
        undo,
        onProgress: ({ type, attempt }) => {
          if (type === 'started' && attempt.id === 'a') {
            running?.add(
              candidate({ id: 'b', afterMs: 100 }),
              candidate({ id: 'c', kind: 'p2p', afterMs: 5, fails: true }),
            );
            running?.withdraw('a');
            running?.seal();
          }
          throw new Error('observer');
        },
      },
    );
    running.add(candidate({ id: 'a' }));
    const result = await clock.runUntil(running.result);
    expect([result.ok && result.path.id, clock.now()]).toEqual(['b', 130]);
    await clock.runUntil(running.settled);
    expect([...open]).toEqual(['b']);
    expect(clock.pendingTimers).toBe(0);
    expect(errors.length).toBeGreaterThan(4);
  });

  test('a further path that its receiver throws at is undone', async () => {
    const { clock, open, undone, candidate, undo } = world();
    const running = race(
      [candidate({ id: 'a', kind: 'x', afterMs: 5 }), candidate({ id: 'b', kind: 'y', afterMs: 6 })],
      { clock },
      {
        limitMs: 1_000,
        undo,
        settleMs: 50,
        onPath: () => {
          throw new Error('not now');
        },
      },
    );
    await clock.runUntil(running.settled);
    await clock.advance(0);
    expect([undone, [...open]]).toEqual([['b'], ['a']]);
  });

  test('takes candidates that arrive while it runs', async () => {
    const { clock, candidate, undo } = world();
    const running = new Race<Path>({ clock }, { limitMs: 5_000, undo });
    running.add(candidate({ id: 'dead', afterMs: 5, fails: true }));
    clock.timer(200, () => {
      running.add(candidate({ id: 'late', afterMs: 5 }), candidate({ id: 'dead', afterMs: 1 }));
      running.seal();
    });
    const result = await clock.runUntil(running.result);
    expect(result.ok && result.path.id).toBe('late');
    expect(result.report.attempts.length).toBe(2);
  });

  test('tells its story in order (A12)', async () => {
    const { clock, candidate, undo } = world();
    const lines: string[] = [];
    const log = createLog(({ level, scope, message }) => lines.push(`${level} [${scope}] ${message}`), 'CONNECT');
    const steps: string[] = [];
    const running = race(
      [candidate({ id: 'a', afterMs: 5, fails: true }), candidate({ id: 'b', afterMs: 5 })],
      { clock, log },
      {
        limitMs: 500,
        undo,
        onProgress: ({ type, attempt }) => steps.push(`${type} ${attempt.id}`),
      },
    );
    await clock.runUntil(running.result);
    expect(steps).toEqual(['started a', 'noted a', 'failed a', 'started b', 'noted b', 'won b']);
    expect(lines).toEqual([
      'debug [CONNECT] Attempt a starts',
      'debug [CONNECT] Attempt a failed: a did not answer',
      'debug [CONNECT] Attempt b starts',
      'info [CONNECT] lan won to b.test in 5 ms',
    ]);
  });

  test('with random delays, failures and deaf attempts: one winner at most, nothing leaks, nothing outlives the limit (A3, A6)', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.boolean(), fc.boolean(), async (seed, improve, hostile) => {
        const random = new SeededRandom(seed);
        const { clock, open, candidate, undo, undone } = world();
        const scripts = Array.from({ length: random.integer(1, 12) }, (_, index): Script => {
          const settles = random.next() < 0.8;
          return {
            id: `c${index}`,
            kind: ['lan', 'p2p', 'relay'][random.integer(0, 2)]!,
            rank: random.integer(0, 2),
            fails: random.next() < 0.5,
            deaf: settles && random.next() < 0.2,
            ...(settles ? { afterMs: random.integer(0, 400) } : {}),
          };
        });
        const kept: string[] = [];
        let running: Race<Path> | undefined;
        running = race(
          scripts.map(candidate),
          { clock },
          {
            limitMs: 300,
            staggerMs: random.integer(0, 60),
            undo,
            settleMs: random.integer(0, 80),
            ...(improve ? { onPath: (path: Path) => kept.push(path.id) } : {}),
            onProgress: ({ attempt }) => {
              if (!hostile) return;
              if (random.next() < 0.1) running?.withdraw(attempt.id);
              if (random.next() < 0.1) throw new Error('observer');
            },
          },
        );
        const result = await clock.runUntil(running.result);
        if (result.ok) kept.unshift(result.path.id);
        expect(clock.now()).toBeLessThanOrEqual(300 + 1_000);
        await clock.runUntil(running.settled);
        await clock.advance(2_000);
        const successes = result.report.attempts.filter(({ state }) => state === 'success');
        expect(successes.length).toBe(result.ok ? 1 : 0);
        expect(new Set(kept)).toEqual(open);
        expect(kept.some((id) => undone.includes(id))).toBe(false);
        expect(clock.pendingTimers).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
