import type { CameraClient, MediaItem } from '@towpath/camera';
import { CameraEmulator, type ImmediatePictureSource, paddedPictures } from '@towpath/camera/emulator';
import { bareFetch, openBareSender } from './support/bare-loop.ts';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { clientAt, HERE, realComponents } from './support/loopback.ts';
import { Worker } from './support/worker.ts';
import type { BareSenderReady } from './workers/bare-sender.ts';
import type { EmulatorsReady, EmulatorsTask } from './workers/emulators.ts';

const GOAL_MBIT = 200;
const ITEMS = 60;
const PHOTO_BYTES: number = 256 * 1024;

/** The lossy path: half of the round-trip time and the loss apply in each direction. */
const RTT_MS = 20;
const LOSS_RATIOS = [0.01, 0.05, 0.2];
const LOSSY_PHOTO_BYTES: number = 64 * 1024;

/** Sender of the emulated camera: as the recorded cameras send, or our own. */
const SENDERS = ['as-device', 'adaptive'] as const;

/** Payload of ARTEMIS downloads per second; every file is compared with the camera's. */
export const bench: Bench = {
  about:
    'ARTEMIS download from an emulated camera on loopback, beside a bare UDP loop with the same packets and one ack per 17; on lossy paths beside the same path without loss',
  async run({ quick, print }) {
    const rounds = quick ? 3 : 11;
    const rows = [...(await inOneProcess(rounds)), ...(await inTwoProcesses(rounds))];
    for (const sender of SENDERS) rows.push(...(await lossy(sender, quick ? 900 : 5_000)));
    for (const { case: name, metric, value, unit } of rows) print(`  ${name}: ${metric} ${value} ${unit}`);
    return rows;
  },
};

interface Speed {
  mbitPerSecond: number;
  /** Per second of processor time of this process. */
  mbitPerCpuSecond: number;
}

async function inOneProcess(rounds: number): Promise<BenchRow[]> {
  const bare = await openBareSender();
  await using camera = emulator('as-device', PHOTO_BYTES);
  await camera.start();
  await using client = clientAt(camera.listen.port, realComponents());
  const { ours, theirs } = await compare(client, bare.port, rounds, camera.deviceId);
  bare.close();
  return speedRows('client and camera in one process', ours, theirs, GOAL_MBIT);
}

async function inTwoProcesses(rounds: number): Promise<BenchRow[]> {
  const task: EmulatorsTask = { kind: 'camera', count: 1, items: ITEMS, photoBytes: PHOTO_BYTES };
  const { worker: emulators, first } = await Worker.start<EmulatorsReady>('emulators', task);
  await using _emulators = emulators;
  const { worker: sender, first: bare } = await Worker.start<BareSenderReady>('bare-sender', {});
  await using _sender = sender;
  await using client = clientAt(first.ports[0] ?? 0, realComponents());
  const { ours, theirs } = await compare(client, bare.port, rounds);
  return speedRows('camera in another process', ours, theirs);
}

/** Both alternate, so that other load affects them equally; medians. The first round is a warm-up. */
async function compare(client: CameraClient, barePort: number, rounds: number, deviceId?: string) {
  const ours: Speed[] = [];
  const theirs: Speed[] = [];
  await client.connectWithRetries();
  const items = await Array.fromAsync(client.mediaList());
  const device = deviceId ?? (await client.deviceInfo()).devId;
  const expected = picturesOf(items, device, PHOTO_BYTES);
  for (let round = 0; round <= rounds; round++) {
    ours.push(await speed(() => fetchAll(client, items, expected)));
    theirs.push(await speed(() => bareFetch(barePort, ITEMS * PHOTO_BYTES)));
  }
  return { ours: median(ours.slice(1)), theirs: median(theirs.slice(1)) };
}

function speedRows(name: string, ours: Speed, bare: Speed, goalMbit?: number): BenchRow[] {
  const goal = goalMbit === undefined ? {} : { goal: `≥ ${goalMbit} Mbit/s`, met: ours.mbitPerSecond >= goalMbit };
  const fields = { case: name, unit: 'Mbit/s' };
  const perCpu = 'per second of this processor time';
  return [
    row({ ...fields, metric: 'payload', value: ours.mbitPerSecond, baseline: bare.mbitPerSecond, ...goal }),
    row({ ...fields, metric: perCpu, value: ours.mbitPerCpuSecond, baseline: bare.mbitPerCpuSecond }),
  ];
}

async function speed(work: () => Promise<number>): Promise<Speed> {
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  const bits = 8 * (await work());
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  return { mbitPerSecond: bits / elapsedMs / 1_000, mbitPerCpuSecond: bits / (user + system) };
}

function median(speeds: readonly Speed[]): Speed {
  const of = (pick: (speed: Speed) => number) => percentile(speeds.map(pick), 0.5);
  return { mbitPerSecond: of((each) => each.mbitPerSecond), mbitPerCpuSecond: of((each) => each.mbitPerCpuSecond) };
}

async function lossy(sending: (typeof SENDERS)[number], forMs: number): Promise<BenchRow[]> {
  await using camera = emulator(sending, LOSSY_PHOTO_BYTES);
  await camera.start();
  const { toCamera, fromCamera } = camera.faults;
  toCamera.delayMs = RTT_MS / 2;
  fromCamera.delayMs = RTT_MS / 2;
  const rates: number[] = [];
  for (const lossRatio of [0, ...LOSS_RATIOS]) {
    toCamera.lossRatio = lossRatio;
    fromCamera.lossRatio = lossRatio;
    rates.push(await rateFor(camera, forMs));
  }
  const [lossFree = 0, ...others] = rates;
  const name = sending === 'adaptive' ? 'our sender' : 'sender as in recordings';
  const path = `RTT ${RTT_MS} ms, ${name}`;
  return [
    row({ case: `${path}, no loss`, metric: 'payload', value: lossFree, unit: 'Mbit/s' }),
    ...LOSS_RATIOS.map((loss, n) => {
      const value = others[n] ?? 0;
      const lost = `${path}, ${loss * 100} % lost each way`;
      return row({ case: lost, metric: 'payload', value, unit: 'Mbit/s', baseline: lossFree });
    }),
  ];
}

/** Mbit/s that arrive in order during `forMs`, after a warm-up of the same length, through a separate client. */
async function rateFor(camera: CameraEmulator, forMs: number): Promise<number> {
  await using client = clientAt(camera.listen.port, realComponents());
  await client.connectWithRetries();
  const items = camera.items;
  const expected = picturesOf(items, camera.deviceId, LOSSY_PHOTO_BYTES);
  const over = new AbortController();
  let bytes = 0;
  const transfer = (async () => {
    const options = { signal: over.signal, onBytes: (count: number) => (bytes += count) };
    while (!over.signal.aborted) await fetchAll(client, items, expected, options);
  })().catch((error: unknown) => {
    if (error !== over.signal.reason) throw error;
  });
  const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
  await Promise.race([transfer, wait(forMs / 3)]);
  const before = bytes;
  const startedAt = performance.now();
  await Promise.race([transfer, wait(forMs)]);
  const rate = (8 * (bytes - before)) / (performance.now() - startedAt) / 1_000;
  over.abort();
  await transfer;
  return rate;
}

function emulator(sending: (typeof SENDERS)[number], photoBytes: number): CameraEmulator {
  return new CameraEmulator(realComponents(), {
    address: HERE,
    listenPort: 0,
    searchPort: false,
    itemCount: ITEMS,
    pictures: source(photoBytes),
    session: { sending },
  });
}

function source(photoBytes: number): ImmediatePictureSource {
  return paddedPictures({ photoBytes, cacheBytes: 2 * ITEMS * photoBytes });
}

/** Downloads everything and compares it byte for byte. Returns the received bytes of pictures. */
async function fetchAll(
  client: CameraClient,
  items: readonly MediaItem[],
  expected: ReadonlyMap<number, Uint8Array>,
  options: { signal?: AbortSignal | undefined; onBytes?(count: number): void } = {},
): Promise<number> {
  let bytes = 0;
  for await (const { item, data, error } of client.download(items, options)) {
    if (error !== undefined) throw error;
    const picture = expected.get(item.mediaId);
    if (picture === undefined || Buffer.compare(picture, data) !== 0) {
      throw new Error(`Item ${item.dirNum}/${item.mediaNum} arrived with other bytes than the camera has.`);
    }
    bytes += data.length;
  }
  return bytes;
}

/** The same pictures, generated again. Each follows its record header. */
function picturesOf(items: readonly MediaItem[], deviceId: string, photoBytes: number): Map<number, Uint8Array> {
  const pictures = source(photoBytes);
  const camera = { seed: 1, cameraName: 'TOWPATH 01', deviceId, isVideo: false };
  return new Map(
    items.map((item) => {
      const record = pictures.fileRecord({ ...camera, ...item });
      return [item.mediaId, record.subarray(record.length - photoBytes)];
    }),
  );
}
