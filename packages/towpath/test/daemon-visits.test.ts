import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DaemonEvent } from '@towpath/dashboard/api';
import { AbortedError } from '@towpath/core';
import { describe, expect, test, vi } from 'vitest';
import { Card } from '../../camera/src/emulator/card.ts';
import { scheduledWatch } from '../src/commands/camera/scheduled-watch.ts';
import { loadConfig } from '../src/daemon/config/config-file.ts';
import { Daemon } from '../src/daemon/daemon.ts';
import { StateFolder } from '../src/daemon/state/state-folder.ts';
import { SleepingWorld, type WorldCamera } from './sleeping-cameras.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const minutes = (times: readonly number[]) => times.map((ms) => Math.round(ms / MINUTE));
/** Pictures that a camera took since the start, one every 25 minutes. */
const taken = (hours: number) => Math.floor((hours * 60) / 25);

function write(world: SleepingWorld, cameras: string): void {
  mkdirSync(world.file('config'), { recursive: true, mode: 0o700 });
  writeFileSync(world.file('config/config.yaml'), `parties: none\ncameras:\n${cameras}`, { mode: 0o600 });
}

async function start(world: SleepingWorld): Promise<Daemon> {
  const runtime = world.runtime();
  const state = StateFolder.open(runtime.configFolder, { nowMs: runtime.clock.wallTime() });
  const options = { config: loadConfig(runtime), state, parties: [], given: {}, freeBytes: async () => 1e12 };
  const daemon = new Daemon(runtime, options);
  await world.run(daemon.start());
  return daemon;
}

/** A camera of the configuration. */
function entry(name: string, { bluetooth }: WorldCamera, wake: string, outputs = ''): string {
  return `  ${name}:\n    target: 192.168.43.1\n    wake: { ${wake}, bluetooth: "${bluetooth}" }\n${outputs}`;
}

const saved = (daemon: Daemon, name: string) => daemon.camera(name).describe().pictures.saved;
const photos = (folder: string) => readdirSync(folder).filter((name) => name.endsWith('.jpg'));
/** Copies are written to a real disk, which takes longer than the virtual time that passes meanwhile. */
const copies = (folder: string, count: number) => expect.poll(() => photos(folder).length, { interval: 5 }).toBe(count);

describe('the daemon and cameras that sleep (B10)', () => {
  test('twelve hours, two cameras on one adapter: each gets its turn, every picture is fetched and handed on once', async () => {
    await using world = await SleepingWorld.create(2);
    const [one, two] = world.cameras as [WorldCamera, WorldCamera];
    const out = world.file('out');
    write(
      world,
      entry('one', one, 'every: 2 h', `    outputs: { export: ${out} }\n`) + entry('two', two, 'every: 2 h'),
    );
    const daemon = await start(world);
    const downloaded: string[] = [];
    daemon.hub.subscribe(undefined, ({ events }: { events: readonly DaemonEvent[] }) => {
      for (const event of events) if (event.type === 'media' && event.item.saved) downloaded.push(event.item.id);
    });
    await world.pass(12 * HOUR + 10 * MINUTE);
    expect(minutes(one.wakes)).toEqual([0, 120, 240, 360, 480, 600, 720]);
    expect(two.wakes).toHaveLength(7);
    for (const [n, at] of two.wakes.entries()) expect(at - n * 2 * HOUR).toBeLessThan(2 * MINUTE);
    // One after the other, and nobody stays for long.
    const { joins } = world.radio;
    expect(joins).toHaveLength(14);
    for (const [n, { toMs, fromMs }] of joins.entries()) {
      expect(toMs).toBeLessThanOrEqual(joins[n + 1]?.fromMs ?? Number.POSITIVE_INFINITY);
      expect((toMs ?? Number.POSITIVE_INFINITY) - fromMs).toBeLessThan(2 * MINUTE);
    }
    for (const name of ['one', 'two']) {
      expect(saved(daemon, name)).toBe(3 + taken(12));
      expect(daemon.camera(name).describe()).toMatchObject({ state: 'asleep', problem: null });
    }
    // What was there at the first visit is not new.
    await copies(out, taken(12));
    expect(new Set(world.cameras.flatMap(({ emulator }) => emulator.sessions))).toEqual(new Set());
    await world.run(daemon[Symbol.asyncDispose]());
    expect(await world.leftovers()).toEqual({ sockets: 0, timers: 0, profiles: [], buses: 0 });
  }, 120_000);

  test('a camera that is not found does not keep the other one waiting, and says why', async () => {
    await using world = await SleepingWorld.create(2);
    const [one, two] = world.cameras as [WorldCamera, WorldCamera];
    two.absent = true;
    write(world, entry('two', two, 'every: 1 h') + entry('one', one, 'every: 1 h'));
    const daemon = await start(world);
    await world.pass(2 * HOUR + 10 * MINUTE);
    expect(one.wakes).toHaveLength(3);
    for (const [n, at] of one.wakes.entries()) expect(at - n * HOUR).toBeLessThan(MINUTE);
    expect(two.wakes).toEqual([]);
    expect(daemon.camera('one').describe()).toMatchObject({ state: 'asleep', problem: null });
    expect(daemon.camera('two').describe()).toMatchObject({
      problem: { code: 'device-not-found', message: expect.stringContaining('Next: move closer') },
    });
    two.absent = false;
    await world.pass(HOUR);
    expect(two.wakes).toHaveLength(1);
    expect(daemon.camera('two').describe()).toMatchObject({ state: 'asleep', problem: null });
    await world.run(daemon[Symbol.asyncDispose]());
    expect(await world.leftovers()).toEqual({ sockets: 0, timers: 0, profiles: [], buses: 0 });
  }, 120_000);

  test('adapters of their own are used side by side', async () => {
    await using world = await SleepingWorld.create(2, { adapters: ['wlan0', 'wlan1'] });
    const [one, two] = world.cameras as [WorldCamera, WorldCamera];
    write(world, entry('one', one, 'every: 1 h, wifi: wlan0') + entry('two', two, 'every: 1 h, wifi: wlan1'));
    const daemon = await start(world);
    await world.pass(8_000);
    expect([one.wakes.length, two.wakes.length]).toEqual([1, 1]);
    expect(world.radio.profiles).toHaveLength(2);
    await world.run(daemon[Symbol.asyncDispose]());
    expect(await world.leftovers()).toEqual({ sockets: 0, timers: 0, profiles: [], buses: 0 });
  });

  test('a restart does not wake a camera before its time; a check does at once', async () => {
    await using world = await SleepingWorld.create(1);
    const [one] = world.cameras as [WorldCamera];
    write(world, entry('one', one, 'every: 2 h'));
    const first = await start(world);
    await world.pass(30 * MINUTE);
    expect(minutes(one.wakes)).toEqual([0]);
    await world.run(first[Symbol.asyncDispose]());
    const second = await start(world);
    await world.pass(40 * MINUTE);
    expect(minutes(one.wakes)).toEqual([0]);
    const holder = second.camera('one');
    expect(holder.describe()).toMatchObject({ state: 'asleep', nextTryAt: expect.stringMatching(/T02:00/) });
    await expect(holder.watch().next()).rejects.toMatchObject({
      code: 'not-connected',
      message: expect.stringContaining('Next: check it now'),
    });
    holder.check();
    await world.pass(5 * MINUTE);
    expect(minutes(one.wakes)).toEqual([0, 70]);
    expect(saved(second, 'one')).toBe(3 + 2);
    await world.pass(HOUR);
    expect(minutes(one.wakes)).toEqual([0, 70, 120]);
    await world.run(second[Symbol.asyncDispose]());
    expect(await world.leftovers()).toEqual({ sockets: 0, timers: 0, profiles: [], buses: 0 });
  });

  test('times of the day are kept', async () => {
    await using world = await SleepingWorld.create(1);
    const [one] = world.cameras as [WorldCamera];
    const local = (ms: number) => new Date(world.clock.wallTime() + ms).toTimeString().slice(0, 5);
    write(world, entry('one', one, `at: ["${local(3 * HOUR)}", "${local(5 * HOUR)}"]`));
    const daemon = await start(world);
    await world.pass(30 * HOUR);
    expect(minutes(one.wakes)).toEqual([180, 300, 1_620, 1_740]);
    await world.run(daemon[Symbol.asyncDispose]());
    expect(await world.leftovers()).toEqual({ sockets: 0, timers: 0, profiles: [], buses: 0 });
  });

  test('other outputs are applied at once, without a visit; another schedule too', async () => {
    await using world = await SleepingWorld.create(1);
    const [one] = world.cameras as [WorldCamera];
    write(world, entry('one', one, 'every: 2 h'));
    const daemon = await start(world);
    await world.pass(10 * MINUTE);
    const holder = daemon.camera('one');
    const out = world.file('out');
    write(world, entry('one', one, 'every: 2 h', `    outputs: { export: ${out} }\n`));
    await world.run(daemon.reload());
    expect(daemon.camera('one')).toBe(holder);
    await world.pass(2 * HOUR);
    expect(minutes(one.wakes)).toEqual([0, 120]);
    // New are the pictures since the outputs were set.
    await copies(out, taken(2));
    write(world, entry('one', one, 'every: 1 h', `    outputs: { export: ${out} }\n`));
    await world.run(daemon.reload());
    expect(daemon.camera('one')).not.toBe(holder);
    await world.pass(HOUR);
    expect(minutes(one.wakes)).toEqual([0, 120, 180]);
    await copies(out, taken(3));
    await world.run(daemon[Symbol.asyncDispose]());
    expect(await world.leftovers()).toEqual({ sockets: 0, timers: 0, profiles: [], buses: 0 });
  });
});

describe('camera watch --wake --every 2h (B10)', () => {
  test('twelve hours: every picture is fetched once, the schedule is kept, nothing leaks', async () => {
    await using world = await SleepingWorld.create(1);
    const [one] = world.cameras as [WorldCamera];
    const interrupt = new AbortController();
    const folder = join(world.folder, 'garden');
    const options = { wake: true, output: folder, every: 7_200, json: true };
    const running = scheduledWatch(world.runtime(interrupt.signal), '192.168.43.1', options).catch(
      (error: Error) => error.message,
    );
    await world.pass(12 * HOUR + 10 * MINUTE);
    expect(minutes(one.wakes)).toEqual([0, 120, 240, 360, 480, 600, 720]);
    const lines = world.lines.map((line) => JSON.parse(line) as { type: string; path?: string });
    const paths = lines.flatMap(({ type, path }) => (type === 'saved' ? [path] : []));
    expect(paths).toHaveLength(taken(12));
    expect(new Set(paths).size).toBe(taken(12));
    await copies(folder, taken(12));
    expect(lines.filter(({ type }) => type === 'failed')).toEqual([]);
    expect(lines.filter(({ type }) => type === 'asleep')).toHaveLength(7);
    expect(one.emulator.sessions).toEqual([]);
    interrupt.abort(new AbortedError('Interrupted.'));
    expect(await world.run(running)).toBe('Interrupted.');
    expect(await world.leftovers()).toEqual({ sockets: 0, timers: 0, profiles: [], buses: 0 });
  }, 120_000);

  test('the exit code says entries of the list that cannot be read, as without --wake (C2)', async () => {
    await using world = await SleepingWorld.create(1);
    const page = Card.prototype.page;
    const unreadable = vi.spyOn(Card.prototype, 'page').mockImplementation(function (this: Card, pageNo, perPage) {
      const items = page.call(this, pageNo, perPage);
      return items.map((item) => (item.mediaNum === 2 ? { ...item, mediaNum: -1 } : item));
    });
    const options = { wake: true, output: world.file('garden'), every: 7_200, for: 3_600, json: true };
    const running = scheduledWatch(world.runtime(), '192.168.43.1', options).then(
      () => undefined,
      (error: Error) => error,
    );
    await world.pass(2 * HOUR);
    unreadable.mockRestore();
    expect(await world.run(running)).toMatchObject({
      code: 'items-failed',
      message: expect.stringContaining("not readable in the card's list: 1 entry"),
    });
    const warned = world.lines.map((line) => JSON.parse(line)).filter(({ type }) => type === 'warning');
    expect(warned).toMatchObject([{ unreadable: 1 }]);
  }, 120_000);
});
