import type { Clock } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import type { ControlStore } from '../src/store/store.ts';

/** What the suite needs of a store. */
export interface StoreUnderTest {
  /** A store on fresh data. `nowMs` is its wall clock, which the suite moves. */
  open(clock: { nowMs: number }): Promise<ControlStore>;
  /** Another server's store on the same data as `store`; absent where one process owns the data. */
  openSecond?(store: ControlStore, clock: { nowMs: number }): Promise<ControlStore>;
}

const PARTY = 'a'.repeat(32);
const OTHER = 'b'.repeat(32);
const bytes = (...values: number[]) => new Uint8Array(values);
const plain = (list: Uint8Array[]) => list.map((each) => [...each]);

/** The one suite that every {@link ControlStore} passes. */
export function storeSuite(name: string, under: StoreUnderTest): void {
  const withStore = async (body: (store: ControlStore, clock: { nowMs: number }) => Promise<void>) => {
    const clock = { nowMs: Date.UTC(2026, 10, 1) };
    await using store = await under.open(clock);
    await body(store, clock);
  };

  describe(`${name} store`, () => {
    test('keeps each party’s statements in order and apart (C12)', () =>
      withStore(async (store) => {
        expect(await store.readLog(PARTY, 0, 10)).toEqual([]);
        for (let at = 0; at < 30; at++) expect(await store.append(PARTY, at, bytes(at, 255))).toBe('appended');
        expect(await store.append(OTHER, 0, bytes(99))).toBe('appended');
        expect(plain(await store.readLog(PARTY, 0, 100))).toEqual(Array.from({ length: 30 }, (_, at) => [at, 255]));
        expect(plain(await store.readLog(PARTY, 28, 100))).toEqual([
          [28, 255],
          [29, 255],
        ]);
        expect(plain(await store.readLog(PARTY, 3, 2))).toEqual([
          [3, 255],
          [4, 255],
        ]);
        expect(plain(await store.readLog(PARTY, 3, 20)).at(-1)).toEqual([22, 255]);
        expect(await store.readLog(PARTY, 30, 10)).toEqual([]);
        expect(await store.readLog(PARTY, 0, 0)).toEqual([]);
        expect(plain(await store.readLog(OTHER, 0, 10))).toEqual([[99]]);
      }));

    test('appends by compare-and-set: too early, too late and twice are conflicts (C12)', () =>
      withStore(async (store) => {
        expect(await store.append(PARTY, 1, bytes(1))).toBe('conflict');
        expect(await store.append(PARTY, 0, bytes(1))).toBe('appended');
        expect(await store.append(PARTY, 0, bytes(1))).toBe('conflict');
        expect(await store.append(PARTY, 5, bytes(2))).toBe('conflict');
        expect(plain(await store.readLog(PARTY, 0, 10))).toEqual([[1]]);
      }));

    test('lets exactly one of many win each place (C12)', () =>
      withStore(async (store, clock) => {
        await using second = await under.openSecond?.(store, clock);
        const stores = second === undefined ? [store] : [store, second];
        for (let sequence = 0; sequence < 5; sequence++) {
          const tries = Array.from({ length: 10 }, (_, at) =>
            stores[at % stores.length]!.append(PARTY, sequence, bytes(sequence, at)),
          );
          const outcomes = await Promise.all(tries);
          expect(outcomes.filter((outcome) => outcome === 'appended')).toHaveLength(1);
          const winner = outcomes.indexOf('appended');
          for (const each of stores) {
            expect(plain(await each.readLog(PARTY, sequence, 1))).toEqual([[sequence, winner]]);
          }
        }
      }));

    test('keeps records by kind until they expire', () =>
      withStore(async (store, clock) => {
        const soon = clock.nowMs + 1_000;
        await store.putRecord('relay', 'one', bytes(1), soon);
        await store.putRecord('relay', 'two', bytes(2), soon + 60_000);
        await store.putRecord('invite', 'one', bytes(3), soon + 60_000);
        expect(await store.getRecord('relay', 'one')).toEqual(bytes(1));
        await store.putRecord('relay', 'one', bytes(7, 8), soon);
        expect(await store.listRecords('relay')).toEqual([
          { key: 'one', value: bytes(7, 8) },
          { key: 'two', value: bytes(2) },
        ]);
        clock.nowMs = soon + 1;
        expect(await store.getRecord('relay', 'one')).toBeUndefined();
        expect(await store.getRecord('relay', 'never')).toBeUndefined();
        expect((await store.listRecords('relay')).map((record) => record.key)).toEqual(['two']);
        expect(await store.getRecord('invite', 'one')).toEqual(bytes(3));
        expect(await store.listRecords('nonce')).toEqual([]);
      }));

    test('creates a record once, also when many try, and again after it expired', () =>
      withStore(async (store, clock) => {
        const until = clock.nowMs + 1_000;
        const outcomes = await Promise.all(
          Array.from({ length: 5 }, (_, at) => store.createRecord('nonce', 'n-_1', bytes(at), until)),
        );
        expect(outcomes.filter(Boolean)).toHaveLength(1);
        expect(await store.createRecord('nonce', 'n-_1', bytes(9), until)).toBe(false);
        clock.nowMs = until + 1;
        expect(await store.createRecord('nonce', 'n-_1', bytes(9), until + 5_000)).toBe(true);
        expect(await store.getRecord('nonce', 'n-_1')).toEqual(bytes(9));
      }));

    test('keeps grants for good, and lets exactly one remove a record (C12)', () =>
      withStore(async (store, clock) => {
        await store.putRecord('setup', 'code', bytes(7), 0);
        clock.nowMs += 400 * 24 * 3_600_000;
        expect(await store.listRecords('setup')).toEqual([{ key: 'code', value: bytes(7) }]);
        const removed = await Promise.all(Array.from({ length: 5 }, () => store.deleteRecord('setup', 'code')));
        expect(removed.filter(Boolean)).toHaveLength(1);
        expect(await store.getRecord('setup', 'code')).toBeUndefined();
        expect(await store.deleteRecord('setup', 'code')).toBe(false);
        await store.putRecord('setup', 'code', bytes(8), 0);
        expect(await store.getRecord('setup', 'code')).toEqual(bytes(8));
      }));

    test('refuses a key that another store would not take', () =>
      withStore(async (store, clock) => {
        for (const key of ['', 'a b', 'a*', 'a.', 'ü']) {
          await expect(store.getRecord('relay', key)).rejects.toMatchObject({ code: 'store-failed' });
          await expect(
            (async () => store.putRecord('relay', key, bytes(1), clock.nowMs + 1_000))(),
          ).rejects.toMatchObject({ code: 'store-failed' });
        }
      }));

    test('carries messages to all subscribers of a channel, in order, and to no others (C12)', () =>
      withStore(async (store, clock) => {
        await using second = await under.openSecond?.(store, clock);
        const receiver = second ?? store;
        const got: number[] = [];
        let done = () => {};
        const all = new Promise<void>((resolve) => {
          done = resolve;
        });
        const stop = await receiver.subscribe('party.x', (data) => {
          got.push(data[0]!);
          if (got.length === 50) done();
        });
        const other: number[] = [];
        await receiver.subscribe('party.y', (data) => other.push(data[0]!));
        for (let at = 0; at < 50; at++) store.publish('party.x', bytes(at));
        await all;
        expect(got).toEqual(Array.from({ length: 50 }, (_, at) => at));
        expect(other).toEqual([]);
        stop();
        store.publish('party.x', bytes(99));
        await store.ready();
        expect(got).toHaveLength(50);
      }));

    test('is ready while open and closes twice', () =>
      withStore(async (store) => {
        await store.ready();
        await store.close();
        await store.close();
        expect(store.onBusRestored(() => {})).toBeTypeOf('function');
      }));
  });
}

/** A clock for a store: only its wall time is asked for. */
export function wallClock(time: { nowMs: number }): Clock {
  const clock = new VirtualClock();
  clock.wallTime = () => time.nowMs;
  return clock;
}
