import { describe, expect, test } from 'vitest';
import { SharedPool, VirtualClock } from '../src/index.ts';

function world(options: { lingerMs?: number; maxKeys?: number } = {}) {
  const clock = new VirtualClock();
  const made: string[] = [];
  const ended: string[] = [];
  const pool = new SharedPool<{ key: string }>({
    clock,
    create: (key) => {
      made.push(key);
      return { key };
    },
    dispose: ({ key }) => {
      ended.push(key);
    },
    ...options,
  });
  return { clock, pool, made, ended };
}

describe('shared pool', () => {
  test('one target asked for twice shares one value, which ends with its last user (A11)', async () => {
    const { clock, pool, made, ended } = world();
    const first = pool.acquire('a');
    const second = pool.acquire('a');
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
    const a = pool.acquire('a');
    pool.acquire('b');
    a.release();
    await clock.advance(0);
    expect([pool.size, ended]).toEqual([1, ['a']]);
  });

  test('an unused value lingers, and is taken up again within that time', async () => {
    const { clock, pool, made, ended } = world({ lingerMs: 1_000 });
    pool.acquire('a').release();
    await clock.advance(900);
    const again = pool.acquire('a');
    await clock.advance(5_000);
    expect([made, ended]).toEqual([['a'], []]);
    again.release();
    await clock.advance(1_000);
    expect([ended, clock.pendingTimers]).toEqual([['a'], 0]);
  });

  test('closing ends everything, and what is asked for afterwards is refused', async () => {
    const { pool, ended, clock } = world({ lingerMs: 1_000 });
    const a = pool.acquire('a');
    pool.acquire('b').release();
    await pool.close();
    a.release();
    expect(ended.sort()).toEqual(['a', 'b']);
    expect(clock.pendingTimers).toBe(0);
    expect(() => pool.acquire('c')).toThrow(expect.objectContaining({ code: 'pool-closed' }));
  });

  test('has a limit', () => {
    const { pool } = world({ maxKeys: 1 });
    pool.acquire('a');
    expect(() => pool.acquire('b')).toThrow(expect.objectContaining({ code: 'pool-full' }));
  });
});
