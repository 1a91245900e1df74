import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { FileType } from '../src/artemis/media-item.ts';
import { encodeFileRecord } from '../src/artemis/record.ts';
import { CameraClient } from '../src/client/camera-client.ts';
import { RaceConnector } from '../src/connect/race-connector.ts';
import { CameraEmulator } from '../src/emulator/camera-emulator.ts';
import type { CameraEmulatorOptions } from '../src/emulator/emulator-options.ts';
import { paddedPictures } from '../src/emulator/media/picture-source.ts';
import { downloadMedia } from '../src/media/download-media.ts';
import { MediaLibrary } from '../src/media/media-library.ts';
import { drain } from './client-fixture.ts';

const CAMERA = '192.168.43.1';

/** An emulated camera and a client on one simulated Wi-Fi: the whole stack. */
async function world(init: CameraEmulatorOptions = {}, options: { seed?: number; rttMs?: number } = {}) {
  const { seed = 1, rttMs = 4 } = options;
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  const internet = new SimulatedInternet({ clock, random });
  const lan = internet.lan({ subnet: '192.168.43.0/24', link: { delayMs: rttMs / 4 } });
  const pictures = paddedPictures({ photoBytes: 250_000, thumbnailBytes: 20_000 });
  const camera = new CameraEmulator(
    { network: lan.host({ address: CAMERA }).network, clock, random },
    { seed, pictures, ...init },
  );
  await camera.start();
  const { network } = lan.host({ address: '192.168.43.20' });
  const client = new CameraClient({
    clock,
    random,
    connector: new RaceConnector({ network, clock, random }, { target: CAMERA }),
  });
  return { clock, camera, client, internet, pictures };
}

const lossy = { toCamera: { lossRatio: 0.2 }, fromCamera: { lossRatio: 0.2 } };

describe('client and emulated camera', () => {
  test('log in, list 83 pictures and fetch thumbnails of them (B3, B9, B13)', async () => {
    const { clock, client, camera } = await world();
    await clock.runUntil(client.connectWithRetries());
    expect(clock.now()).toBeLessThan(1000);
    const items = await clock.runUntil(drain(client.mediaList()));
    expect(items).toEqual(camera.items);
    expect(items).toHaveLength(83);
    const thumbnails = await clock.runUntil(drain(client.thumbnails(items)));
    expect(thumbnails).toHaveLength(83);
    for (const { data } of thumbnails) expect(Buffer.from(data!.subarray(-2)).toString('hex')).toBe('ffd9');
    expect(await clock.runUntil(client.deviceInfo())).toMatchObject({ devId: camera.deviceId });
    await clock.runUntil(client.close());
    await clock.runUntil(camera.close());
  });

  test('log in within 5 s at 20 % loss in both directions (B1, B7)', async () => {
    const rounds = Number(process.env.TOWPATH_LOSS_ROUNDS ?? 25);
    let late = 0;
    for (let seed = 1; seed <= rounds; seed++) {
      const { clock, client, camera } = await world({ faults: lossy }, { seed });
      await clock.runUntil(client.connectWithRetries());
      if (clock.now() > 5000) late++;
      await clock.runUntil(client.close());
      await clock.runUntil(camera.close());
    }
    expect(late).toBeLessThanOrEqual(rounds / 100);
  });

  test('carry 5 MB of pictures through 20 % loss, byte for byte (B1, B13)', async () => {
    const { clock, client, camera, pictures } = await world({ faults: lossy, itemCount: 20 }, { seed: 5, rttMs: 20 });
    await clock.runUntil(client.connectWithRetries());
    const items = await clock.runUntil(drain(client.mediaList()));
    const results = await clock.runUntil(drain(client.download(items)));
    let bytes = 0;
    for (const { item, data, error } of results) {
      expect(error).toBeUndefined();
      const subject = { seed: 5, cameraName: camera.name, deviceId: camera.deviceId, isVideo: false, ...item };
      const sent = pictures.fileRecord(subject);
      const received = encodeFileRecord({ ...item, deviceId: camera.deviceId, data: data! });
      expect(Buffer.compare(received, sent)).toBe(0);
      bytes += data!.length;
    }
    expect(bytes).toBe(5_000_000);
    await clock.runUntil(client.close());
    await clock.runUntil(camera.close());
  });

  test('are back within 10 s of the return of a network that was gone for 30 s, the download too (B5)', async () => {
    const { clock, client, camera } = await world({ itemCount: 40 }, { rttMs: 40 });
    await clock.runUntil(client.connectWithRetries());
    const items = await clock.runUntil(drain(client.mediaList()));
    let received = 0;
    const downloading = (async () => {
      for await (const { data } of client.download(items)) if (data) received++;
    })();
    while (received < 5) await clock.advance(50);
    camera.faults.silent = true;
    await clock.advance(30_000);
    const before = received;
    expect(client.state).not.toBe('CONNECTED');
    camera.faults.silent = false;
    const returnedAt = clock.now();
    while (received === before) await clock.advance(50);
    expect(clock.now() - returnedAt).toBeLessThan(10_000);
    await clock.runUntil(downloading);
    expect(received).toBe(40);
    await clock.runUntil(client.close());
    await clock.runUntil(camera.close());
  });

  test('survive a reboot in mid-download, from the same local port (B5, B6)', async () => {
    const { clock, client, camera } = await world({ itemCount: 40, firewall: true }, { rttMs: 40 });
    await clock.runUntil(client.connectWithRetries());
    const port = client.path!.artemis.carrier.local.port;
    const items = await clock.runUntil(drain(client.mediaList()));
    let received = 0;
    const downloading = (async () => {
      for await (const { data } of client.download(items)) if (data) received++;
    })();
    while (received < 5) await clock.advance(50);
    camera.reboot({ downMs: 6000, keepFirewall: true });
    await clock.runUntil(downloading);
    expect(received).toBe(40);
    expect(client.path!.artemis.carrier.local.port).toBe(port);
    await clock.runUntil(client.close());
    await clock.runUntil(camera.close());
  });

  test('show live video from a key frame on (B13)', async () => {
    const { clock, client, camera } = await world();
    await clock.runUntil(client.connectWithRetries());
    const frames: { keyFrame: boolean; head: string }[] = [];
    const watching = (async () => {
      for await (const { video, keyFrame } of client.live()) {
        if (video.length === 0) continue;
        frames.push({ keyFrame, head: Buffer.from(video.subarray(0, 4)).toString('hex') });
        if (frames.length === 20) return;
      }
    })();
    await clock.runUntil(watching);
    expect(frames[0]!.keyFrame).toBe(true);
    expect(new Set(frames.map(({ head }) => head))).toEqual(new Set(['00000001']));
    await clock.runUntil(client.close());
    await clock.runUntil(camera.close());
    // The transport listens a little longer, to answer what is still on its way.
    await clock.advance(10_000);
    expect(clock.pendingTimers).toBe(0);
  });

  test('put photos and videos on disk, the videos as MP4 with their sound (B13)', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'towpath-client-'));
    const { clock, client, camera } = await world({ itemCount: 4, videoEvery: 4 });
    await clock.runUntil(client.connectWithRetries());
    const library = await MediaLibrary.open({ clock }, { folder });
    const video = camera.items.find(({ fileType }) => fileType === FileType.mp4)!;
    const fetching = downloadMedia({ client, library, clock });
    const summary = await clock.runUntil(fetching, Number.MAX_SAFE_INTEGER);
    expect(summary).toMatchObject({ listed: 4, saved: 4, failed: [] });
    expect((await readdir(folder)).map(extname).sort()).toEqual(['', '.jpg', '.jpg', '.jpg', '.json', '.mp4']);
    const { file } = [...library.entries].find(({ mediaNum }) => mediaNum === video.mediaNum)!;
    const mp4 = await readFile(join(folder, file!));
    expect(mp4.subarray(4, 8).toString()).toBe('ftyp');
    for (const track of ['avc1', 'mp4a']) expect(mp4.includes(track)).toBe(true);
    expect(await clock.runUntil(downloadMedia({ client, library, clock }))).toMatchObject({ present: 4, saved: 0 });
    await clock.runUntil(client.close());
    await clock.runUntil(camera.close());
    await rm(folder, { recursive: true });
  });
});
