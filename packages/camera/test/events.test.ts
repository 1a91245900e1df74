import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AnnouncedItems } from '../src/outputs/events/announced-items.ts';
import { Delivery, type Refusal } from '../src/outputs/events/delivery.ts';
import { EventQueue, type EventQueueOptions } from '../src/outputs/events/event-queue.ts';
import { ReceiverHealth } from '../src/outputs/events/receiver-health.ts';
import { eventJson, type PictureEvent, pictureId } from '../src/outputs/picture-event.ts';
import { item } from './media-items.ts';

const clock = new VirtualClock();
const never = new AbortController().signal;
let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'towpath-events-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const event = (mediaNum: number, changes: Partial<PictureEvent> = {}): PictureEvent => ({
  camera: 'C2:00:5E:00:53:0A',
  item: item(mediaNum),
  takenAt: '2026-05-01T18:30:12+02:00',
  jpeg: Uint8Array.of(0xff, 0xd8, mediaNum),
  ...changes,
});
const open = (options: EventQueueOptions = {}) => EventQueue.open({ clock }, { folder, ...options });
const numbers = async (queue: EventQueue): Promise<number[]> => {
  const found: number[] = [];
  while (queue.size > 0) {
    const first = await queue.first(never);
    found.push(first.item.mediaNum);
    await queue.remove(first);
  }
  return found;
};

describe('events that wait for a receiver (B13)', () => {
  test('are there again, in their order and with their pictures, when the next process opens the queue', async () => {
    const queue = await open();
    for (const n of [3, 1, 2]) await queue.put(event(n));
    await queue.remove(event(3));
    // A killed process closes nothing.
    const again = await open();
    expect(again.size).toBe(2);
    const { jpeg, ...first } = await again.first(never);
    expect(Buffer.from(jpeg ?? [])).toEqual(Buffer.of(0xff, 0xd8, 1));
    expect(first).toEqual({ camera: 'C2:00:5E:00:53:0A', item: item(1), takenAt: '2026-05-01T18:30:12+02:00' });
    expect(await numbers(again)).toEqual([1, 2]);
    expect(await readdir(folder)).toEqual([]);
  });

  test('have an id that stays the same, and are not added twice', async () => {
    const queue = await open();
    await queue.put(event(1));
    await queue.put(event(1));
    expect(queue.size).toBe(1);
    expect(eventJson(event(1))).toMatchObject({ id: pictureId(event(1, { jpeg: undefined })) });
    expect(pictureId(event(1))).not.toBe(pictureId(event(2)));
    expect(pictureId(event(1))).not.toBe(pictureId(event(1, { camera: 'C2:00:5E:00:53:0B' })));
  });

  test('are bounded: the oldest is lost, and only the newest keep their pictures', async () => {
    const queue = await open({ maxEvents: 4, maxPictures: 2 });
    for (const n of [1, 2, 3, 4, 5]) await queue.put(event(n));
    expect(queue.size).toBe(4);
    expect((await readdir(folder)).filter((name) => name.endsWith('.jpg'))).toHaveLength(2);
    expect((await queue.first(never)).jpeg).toBeUndefined();
    expect(await numbers(queue)).toEqual([2, 3, 4, 5]);
  });

  test('refer to a file instead of copying it, and are there without it', async () => {
    const file = join(folder, 'picture');
    const queue = await open({ folder: join(folder, 'queue') });
    await writeFile(file, Uint8Array.of(7));
    await queue.put(event(1, { file }));
    expect(await readdir(join(folder, 'queue'))).toHaveLength(1);
    const again = await open({ folder: join(folder, 'queue') });
    expect(await again.first(never)).toMatchObject({ file, jpeg: Buffer.of(7) });
    await rm(file);
    expect((await again.first(never)).jpeg).toBeUndefined();
  });

  test('are private, and what is damaged or half written is removed', async () => {
    const queue = await open();
    await queue.put(event(1));
    await queue.put(event(2));
    const [one] = (await readdir(folder)).sort();
    expect((await stat(join(folder, one!))).mode & 0o777).toBe(0o600);
    await writeFile(join(folder, '000000000000-1.json'), '{"version":1');
    await writeFile(join(folder, '000000000009-1.jpg'), 'orphan');
    await writeFile(join(folder, '.000000000010-1.json.4711.part'), 'part');
    await writeFile(join(folder, '000000000011-1.json'), `{"version":1,"camera":"${'x'.repeat(70_000)}"}`);
    const again = await open();
    expect(await numbers(again)).toEqual([1, 2]);
    expect(await readdir(folder)).toEqual([]);
    // New events come after those that were there.
    await again.put(event(3));
    expect(await readdir(folder)).toContainEqual(expect.stringMatching(/^000000000012-\d+\.json$/));
  });

  test('wait in memory when the disk does not take them', async () => {
    const queue = await open({ folder: join(folder, 'queue') });
    await rm(join(folder, 'queue'), { recursive: true });
    await queue.put(event(1));
    expect((await queue.first(never)).jpeg).toEqual(Uint8Array.of(0xff, 0xd8, 1));
    expect(await numbers(queue)).toEqual([1]);
  });
});

describe('the delivery of events', () => {
  test('tries each again until it is taken, ends in the middle of a pause, and what was not taken stays', async () => {
    const clock = new VirtualClock();
    const queue = await EventQueue.open({ clock }, { folder });
    const taken: number[] = [];
    let failures = 2;
    const deliver = async ({ item: { mediaNum } }: PictureEvent) => {
      if (failures-- > 0) throw new Error('away');
      taken.push(mediaNum);
      return undefined;
    };
    const delivery = new Delivery({ clock, random: new SeededRandom(1), queue }, deliver);
    await queue.put(event(1));
    await queue.put(event(2));
    const later = async () => {
      await clock.advance(60_000);
      return taken;
    };
    await expect.poll(later).toEqual([1, 2]);
    await expect.poll(() => queue.size).toBe(0);
    failures = Number.POSITIVE_INFINITY;
    await queue.put(event(3));
    await delivery[Symbol.asyncDispose]();
    expect(clock.pendingTimers).toBe(0);
    expect((await open()).size).toBe(1);
  });

  test('ends while a receiver does not answer, and the event stays', async () => {
    const clock = new VirtualClock();
    const queue = await EventQueue.open({ clock }, { folder });
    let asked = 0;
    const hang = () => {
      asked++;
      return new Promise<undefined>(() => {});
    };
    const delivery = new Delivery({ clock, random: new SeededRandom(1), queue }, hang);
    await queue.put(event(1));
    await expect.poll(() => asked).toBe(1);
    await delivery[Symbol.asyncDispose]();
    expect(clock.pendingTimers).toBe(0);
    expect((await open()).size).toBe(1);
  });

  test('warns once of a receiver that fails, and again after it took something', async () => {
    const clock = new VirtualClock();
    const queue = await EventQueue.open({ clock }, { folder });
    const levels: string[] = [];
    const log = createLog(({ level }) => levels.push(level));
    let failures = 3;
    const deliver = async () => {
      if (failures-- > 0) throw new Error('away');
      return undefined;
    };
    await using _delivery = new Delivery({ clock, random: new SeededRandom(1), log, queue }, deliver);
    const taken = async () => {
      await clock.advance(60_000);
      return queue.size;
    };
    await queue.put(event(1));
    await expect.poll(taken).toBe(0);
    expect(levels).toEqual(['warn', 'info', 'info', 'info']);
    failures = 1;
    await queue.put(event(2));
    await expect.poll(taken).toBe(0);
    expect(levels.slice(4)).toEqual(['warn', 'info']);
  });

  test('says since when a receiver fails and why, also when it does not answer or drops an event', async () => {
    const clock = new VirtualClock();
    const queue = await EventQueue.open({ clock }, { folder });
    const health = new ReceiverHealth({ clock });
    const startMs = clock.wallTime();
    const answers: (Promise<Refusal | undefined> | Error)[] = [];
    const deliver = async () => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return await answer;
    };
    const late = Promise.withResolvers<undefined>();
    answers.push(Promise.resolve({ message: 'refused', again: false }), new Error('away'), late.promise);
    const delivery = new Delivery({ clock, random: new SeededRandom(1), queue, health }, deliver, { answerMs: 5_000 });
    await queue.put(event(1));
    await expect.poll(() => health.failure).toEqual({ message: 'refused', sinceMs: startMs });
    await expect.poll(() => queue.size).toBe(0);
    await queue.put(event(2));
    await expect.poll(() => health.failure?.message).toBe('away');
    await clock.advance(2_000);
    await clock.advance(5_000);
    expect(health.failure).toEqual({ message: 'It has not answered for 5 s.', sinceMs: startMs });
    expect(queue.size).toBe(1);
    late.resolve(undefined);
    await expect.poll(() => health.failure).toBeUndefined();
    await expect.poll(() => queue.size).toBe(0);
    await delivery[Symbol.asyncDispose]();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('which items were told of', () => {
  const path = () => join(folder, 'outputs', 'announced');

  test('is remembered from one process to the next; at first nothing is known', async () => {
    const first = await AnnouncedItems.open(path());
    expect(first.isNew).toBe(true);
    await first.begin([item(1)]);
    await first.add(item(2));
    const again = await AnnouncedItems.open(path());
    expect(again.isNew).toBe(false);
    expect([1, 2, 3].map((n) => again.has(item(n)))).toEqual([true, true, false]);
    expect((await stat(path())).mode & 0o777).toBe(0o600);
  });

  test('a line that a killed process did not complete does not count, and does not spoil the next one', async () => {
    const first = await AnnouncedItems.open(path());
    await first.begin([item(1)]);
    await writeFile(path(), `${await readFile(path(), 'utf8')}0-100`);
    const again = await AnnouncedItems.open(path());
    await again.add(item(2));
    const third = await AnnouncedItems.open(path());
    expect([1, 2].map((n) => third.has(item(n)))).toEqual([true, true]);
  });

  test('a folder that may not be read is an error with its path', async () => {
    await writeFile(join(folder, 'outputs'), 'a file');
    await chmod(join(folder, 'outputs'), 0o600);
    await expect(AnnouncedItems.open(path())).rejects.toMatchObject({ message: expect.stringContaining(path()) });
  });
});
