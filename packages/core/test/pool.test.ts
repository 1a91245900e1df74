import { describe, expect, test } from 'vitest';
import { SharedPool } from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

function world(options: { lingerMs?: number; maxKeys?: number } = {}) {
  const clock = new VirtualClock();
  const made: string[] = [];
  const ended: string[] = [];
  const pool = new SharedPool<{ key: string }>(
    { clock },
    {
      create: (key) => {
        made.push(key);
        return { key };
      },
      dispose: ({ key }) => {
        ended.push(key);
      },
      ...options,
    },
  );
  return { clock, pool, made, ended };
}

describe('shared pool', () => {
  test('one target asked for twice shares one value, which ends with its last user (A11)', async () => {
    const { clock, pool, made, ended } = world();
    const first = await pool.acquire('a');
    const second = await pool.acquire('a');
    expect(second.value).toBe(first.value);
    first.release();
    first.release();
    await clock.advance(0);
    expect([made, ended]).toEqual([['a'], []]);
    second.release();
    await clock.advance(0);
    expect([pool.size, ended]).toEqual([0, ['a']]);
  });

  test('targets are independent of each other (A11)', async () => {
    const { clock, pool, ended } = world();
    const a = await pool.acquire('a');
    await pool.acquire('b');
    a.release();
    await clock.advance(0);
    expect([pool.size, ended]).toEqual([1, ['a']]);
  });

  test('an unused value lingers, and is taken up again within that time', async () => {
    const { clock, pool, made, ended } = world({ lingerMs: 1_000 });
    (await pool.acquire('a')).release();
    await clock.advance(900);
    const again = await pool.acquire('a');
    await clock.advance(5_000);
    expect([made, ended]).toEqual([['a'], []]);
    again.release();
    await clock.advance(1_000);
    expect([ended, clock.pendingTimers]).toEqual([['a'], 0]);
  });

  test('closing ends everything, and what is asked for afterwards is refused', async () => {
    const { pool, ended, clock } = world({ lingerMs: 1_000 });
    const a = await pool.acquire('a');
    (await pool.acquire('b')).release();
    await pool.close();
    a.release();
    expect(ended.sort()).toEqual(['a', 'b']);
    expect(clock.pendingTimers).toBe(0);
    await expect(pool.acquire('c')).rejects.toMatchObject({ code: 'pool-closed' });
  });

  test('has a limit', async () => {
    const { pool } = world({ maxKeys: 1 });
    await pool.acquire('a');
    await expect(pool.acquire('b')).rejects.toMatchObject({ code: 'pool-full' });
  });

  test('whoever asks while the last value is being disposed of gets the next one only after its end', async () => {
    const clock = new VirtualClock();
    const steps: string[] = [];
    let made = 0;
    const pool = new SharedPool<number>(
      { clock },
      {
        create: () => {
          steps.push(`create ${++made}`);
          return made;
        },
        dispose: async (value) => {
          await clock.sleep(100);
          steps.push(`end ${value}`);
        },
      },
    );
    (await pool.acquire('a')).release();
    const both = Promise.all([pool.acquire('a'), pool.acquire('a')]);
    const abort = new AbortController();
    const left = expect(pool.acquire('a', abort.signal)).rejects.toThrow('not now');
    await clock.advance(50);
    abort.abort(new Error('not now'));
    await left;
    expect(steps).toEqual(['create 1']);
    await clock.advance(50);
    expect((await both).map(({ value }) => value)).toEqual([2, 2]);
    expect(steps).toEqual(['create 1', 'end 1', 'create 2']);
    const closing = pool.close();
    await clock.advance(100);
    await closing;
    expect(pool.size).toBe(0);
  });
});
