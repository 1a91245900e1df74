import { CameraClient, RaceConnector } from '@towpath/camera';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { type Clock, SeededRandom, sleepOn, type Timer } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { clientAt, realComponents } from './support/loopback.ts';
import { Worker } from './support/worker.ts';
import type { EmulatorsReady, EmulatorsTask } from './workers/emulators.ts';

const INTERVAL_MS = 3_000;
/** One camera sends only twenty heartbeats a minute; the first of these cameras also downloads all the time. */
const CAMERAS = 20;
const GOAL_JITTER_MS = 10;

/** Blocking work: its duration, and the time until the next one. */
const BUSY_MS = 5;
const BREAK_MS = 5;

const VIRTUAL_HOURS = 10;
/** Timers of the virtual run are late by up to this, as on a busy machine. */
const LATE_TIMER_MS = 5;
const GOAL_DRIFT_MS = 10;

/** Times of heartbeats, and whether delays accumulate. */
export const bench: Bench = {
  about:
    'lateness and drift of heartbeats while the process computes and downloads, beside loops that sleep 3 s after each send',
  async run({ quick, print }) {
    const real = await busyProcess(quick ? 12_500 : 60_000);
    print(`  ${real.beats.length} heartbeats, ${(real.downloadedBytes / 1e6).toFixed(0)} MB downloaded meanwhile`);
    const virtual = await manyHours();
    print(`  ${virtual.beats} heartbeats in ${VIRTUAL_HOURS} virtual hours`);
    return [...realRows(real), ...virtualRows(virtual)];
  },
};

interface RealRun {
  seconds: number;
  /** How late each heartbeat left, ms. */
  beats: number[];
  loops: number[];
  /** Drift: delay at the end minus delay at the beginning, ms, median. */
  driftMs: number;
  loopDriftMs: number;
  downloadedBytes: number;
}

function realRows({ seconds, beats, loops, driftMs, loopDriftMs, downloadedBytes }: RealRun): BenchRow[] {
  const name = `${seconds} s, ${BUSY_MS} of ${BUSY_MS + BREAK_MS} ms busy, downloading`;
  const p99 = percentile(beats, 0.99);
  const goal = `< ${GOAL_JITTER_MS} ms`;
  const rate = (8 * downloadedBytes) / seconds / 1e6;
  return [
    row({
      case: name,
      metric: 'lateness, p99',
      value: p99,
      unit: 'ms',
      baseline: percentile(loops, 0.99),
      goal,
      met: p99 < GOAL_JITTER_MS,
    }),
    row({
      case: name,
      metric: 'lateness, median',
      value: percentile(beats, 0.5),
      unit: 'ms',
      baseline: percentile(loops, 0.5),
    }),
    row({
      case: name,
      metric: 'drift from first to last',
      value: driftMs,
      unit: 'ms',
      baseline: loopDriftMs,
      goal,
      met: Math.abs(driftMs) < GOAL_DRIFT_MS,
    }),
    row({ case: name, metric: 'heartbeats', value: beats.length, unit: 'heartbeats', baseline: loops.length }),
    row({ case: name, metric: 'download meanwhile', value: rate, unit: 'Mbit/s' }),
  ];
}

async function busyProcess(forMs: number): Promise<RealRun> {
  const task: EmulatorsTask = { kind: 'camera', count: CAMERAS, items: 60, photoBytes: 256 * 1_024 };
  const { worker, first } = await Worker.start<EmulatorsReady>('emulators', task);
  await using _worker = worker;
  const components = realComponents();
  await using clients = new AsyncDisposableStack();
  const over = new AbortController();
  const beats = Array.from({ length: CAMERAS }, (): number[] => []);
  const loops = Array.from({ length: CAMERAS }, (): number[] => []);
  let downloadedBytes = 0;
  let downloading: Promise<void> | undefined;
  for (const [n, port] of first.ports.entries()) {
    const client = clients.use(clientAt(port, components));
    await client.connectWithRetries();
    downloading ??= downloadFor(client, over.signal, (count) => (downloadedBytes += count));
    client.events.on('heartbeat', () => beats[n]?.push(performance.now()));
    sleepingLoop(loops[n] ?? [], over.signal);
    // Spread over the interval, so that not all are delayed by the same work.
    await pause(INTERVAL_MS / CAMERAS);
  }
  downloadedBytes = 0;
  for (const times of [...beats, ...loops]) times.length = 0;
  const computing = compute(over.signal);
  await pause(forMs);
  const seconds = Math.round(forMs / 1_000);
  const bytes = downloadedBytes;
  over.abort();
  await Promise.all([computing, downloading]);
  return {
    seconds,
    beats: beats.flatMap(lateness),
    loops: loops.flatMap(lateness),
    driftMs: percentile(beats.map(drift), 0.5),
    loopDriftMs: percentile(loops.map(drift), 0.5),
    downloadedBytes: bytes,
  };
}

/** Delay of each time behind a regular grid through the earliest of them. */
function lateness(times: readonly number[]): number[] {
  const offsets = times.map((time, n) => time - n * INTERVAL_MS);
  const start = Math.min(...offsets);
  return offsets.map((offset) => offset - start);
}

function drift(times: readonly number[]): number {
  return (times.at(-1) ?? 0) - (times[0] ?? 0) - (times.length - 1) * INTERVAL_MS;
}

async function downloadFor(client: CameraClient, signal: AbortSignal, onBytes: (count: number) => void): Promise<void> {
  try {
    const items = await Array.fromAsync(client.mediaList({ signal }));
    for (;;) {
      for await (const { error } of client.download(items, { signal, onBytes })) if (error !== undefined) throw error;
    }
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

/** Work in pieces that block the event loop. */
async function compute(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const until = performance.now() + BUSY_MS;
    while (performance.now() < until);
    await pause(BREAK_MS);
  }
}

/** The usual implementation: send, sleep, send. */
function sleepingLoop(times: number[], signal: AbortSignal): void {
  const beat = () => {
    if (signal.aborted) return;
    times.push(performance.now());
    setTimeout(beat, INTERVAL_MS);
  };
  const timer = setTimeout(beat, INTERVAL_MS);
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

interface VirtualRun {
  beats: number;
  p99Ms: number;
  driftMs: number;
  loopP99Ms: number;
  loopDriftMs: number;
}

function virtualRows({ beats, p99Ms, driftMs, loopP99Ms, loopDriftMs }: VirtualRun): BenchRow[] {
  const name = `${VIRTUAL_HOURS} virtual hours, timers up to ${LATE_TIMER_MS} ms late`;
  const goal = `< ${GOAL_JITTER_MS} ms`;
  const jitter = { value: p99Ms, baseline: loopP99Ms, goal, met: p99Ms < GOAL_JITTER_MS };
  const drifted = { value: driftMs, baseline: loopDriftMs, goal, met: Math.abs(driftMs) < GOAL_DRIFT_MS };
  const due = (VIRTUAL_HOURS * 3_600_000) / INTERVAL_MS;
  return [
    row({ case: name, metric: 'lateness, p99', unit: 'ms', ...jitter }),
    row({ case: name, metric: 'drift from first to last', unit: 'ms', ...drifted }),
    row({
      case: name,
      metric: 'heartbeats sent',
      value: beats,
      unit: 'heartbeats',
      goal: `${due} ± 1`,
      met: Math.abs(beats - due) <= 1,
    }),
  ];
}

async function manyHours(): Promise<VirtualRun> {
  const virtual = new VirtualClock();
  const clock = new LateClock(virtual, new SeededRandom(3));
  const internet = new SimulatedInternet({ clock: virtual, random: new SeededRandom(1) });
  const lan = internet.lan({ link: { delayMs: 1 } });
  const host = lan.host({ address: '192.168.1.1' });
  const random = new SeededRandom(2);
  const place = { listenPort: 40_611, searchPort: false } as const;
  const camera = new CameraEmulator(
    { network: host.network, clock: virtual, random },
    { ...place, pictures: paddedPictures() },
  );
  await virtual.runUntil(camera.start());
  const { network } = lan.host();
  const connector = new RaceConnector(
    { network, clock, random },
    { target: '192.168.1.1', kinds: ['p2p'], ports: [40_611] },
  );
  const client = new CameraClient({ connector, clock, random });
  const beats: number[] = [];
  const loop: number[] = [];
  client.events.on('heartbeat', () => beats.push(clock.now()));
  await virtual.runUntil(client.connectWithRetries());
  const over = new AbortController();
  const asleep = sleepingOn(clock, loop, over.signal);
  await virtual.advance(VIRTUAL_HOURS * 3_600_000 + INTERVAL_MS / 2);
  over.abort();
  await virtual.runUntil(Promise.all([asleep, client.close()]));
  await virtual.runUntil(camera.close());
  return {
    beats: beats.length,
    p99Ms: percentile(lateness(beats), 0.99),
    driftMs: drift(beats),
    loopP99Ms: percentile(lateness(loop), 0.99),
    loopDriftMs: drift(loop),
  };
}

async function sleepingOn(clock: Clock, times: number[], signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      await clock.sleep(INTERVAL_MS, signal);
      times.push(clock.now());
    }
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

/** A clock whose timers are late, each by a different amount. */
class LateClock implements Clock {
  readonly #clock: VirtualClock;
  readonly #random: SeededRandom;

  constructor(clock: VirtualClock, random: SeededRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  now(): number {
    return this.#clock.now();
  }

  wallTime(): number {
    return this.#clock.wallTime();
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  timer(delayMs: number, callback: () => void): Timer {
    return this.#clock.timer(delayMs + LATE_TIMER_MS * this.#random.next(), callback);
  }
}
