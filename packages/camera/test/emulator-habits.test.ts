import { NodeNetwork } from '@towpath/net';
import { SystemClock, SystemRandom } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { CameraClient } from '../src/client/camera-client.ts';
import { RaceConnector } from '../src/connect/race-connector.ts';
import { CameraEmulator } from '../src/emulator/camera-emulator.ts';
import { Card } from '../src/emulator/card.ts';
import { drawnPictures } from '../src/emulator/media/picture-source.ts';
import { WorkerPictures } from '../src/emulator/media/worker-pictures.ts';
import { Hotspot, UID } from './emulator-fixture.ts';

describe('habits of the recorded camera (C9)', () => {
  test('CLOSE goes out once', async () => {
    const hotspot = new Hotspot();
    const camera = await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    await hotspot.run(camera.closeSessions());
    await hotspot.clock.advance(500);
    expect(raw.of('CLOSE')).toHaveLength(1);
    await hotspot.end();
  });

  test('the recorded malformed acknowledgement is answered with one CLOSE at once', async () => {
    const hotspot = new Hotspot();
    await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    raw.sendBytes(Buffer.from('f1d10006d10000530053', 'hex'));
    await hotspot.clock.advance(10);
    expect(raw.of('CLOSE')).toHaveLength(1);
    await hotspot.clock.advance(2_000);
    expect(raw.of('CLOSE')).toHaveLength(1);
    await hotspot.end();
  });

  test('an acknowledgement of nothing does not close, as it did not in the recording', async () => {
    const hotspot = new Hotspot();
    await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    raw.sendBytes(Buffer.from('f1d10006d10000000000', 'hex'));
    await hotspot.clock.advance(2_000);
    expect(raw.of('CLOSE')).toEqual([]);
    await hotspot.end();
  });

  test('the greeting is repeated every 40 ms until it is acknowledged, however fast the path', async () => {
    const hotspot = new Hotspot();
    await hotspot.camera();
    const raw = await hotspot.raw();
    raw.acknowledges = false;
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(10);
    // The handshake shows a round trip of a few milliseconds.
    raw.send({ type: 'ALIVE' });
    await hotspot.clock.advance(1_000);
    expect(raw.of('DRW').length).toBeGreaterThanOrEqual(24);
    expect(raw.of('DRW').length).toBeLessThanOrEqual(27);
    await hotspot.end();
  });

  test('hostile text is given on demand', async () => {
    const hotspot = new Hotspot();
    const camera = await hotspot.camera();
    const client = await hotspot.connected();
    expect(JSON.stringify(await hotspot.run(client.deviceInfo()))).not.toContain('\\u001b');
    camera.faults.hostileText = true;
    const text = JSON.stringify(await hotspot.run(client.deviceInfo()));
    expect(text).toContain('\\u001b]52;c;');
    expect(text).toContain('\u202e');
    await hotspot.end();
  });
});

describe('pictures of a worker thread (C9)', () => {
  const [item] = new Card(7, 3, 0).page(0, 1);
  const subject = { seed: 7, cameraName: 'TOWPATH 07', deviceId: '02:54:50:00:00:07', isVideo: false, ...item! };

  test('are those that the same thread draws, and cost the event loop no time', { timeout: 60_000 }, async () => {
    await using pictures = new WorkerPictures();
    let turns = 0;
    const ticking = setInterval(() => turns++, 5);
    const photo = await pictures.fileRecord(subject);
    clearInterval(ticking);
    // A photo takes some 100 ms to draw; in this thread no turn would be had meanwhile.
    expect(turns).toBeGreaterThan(2);
    const thumbnail = await pictures.thumbnailRecord(subject);
    expect(Buffer.from(photo).equals(drawnPictures().fileRecord(subject))).toBe(true);
    expect(Buffer.from(thumbnail).equals(drawnPictures().thumbnailRecord(subject))).toBe(true);
    expect(await pictures.fileRecord(subject)).toBe(photo);
  });

  test('that are wanted when the source is closed fail', async () => {
    const pictures = new WorkerPictures();
    const photo = pictures.fileRecord(subject);
    const failed = expect(photo).rejects.toMatchObject({ code: 'aborted' });
    await pictures[Symbol.asyncDispose]();
    await failed;
  });

  test('come to a client in order and whole', { timeout: 60_000 }, async () => {
    const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
    await using pictures = new WorkerPictures();
    const place = { address: '127.0.0.1', listenPort: 0, searchPort: false } as const;
    await using camera = new CameraEmulator(components, { ...place, seed: 7, itemCount: 5, pictures });
    await camera.start();
    const connector = new RaceConnector(components, { target: '127.0.0.1', ports: [camera.listen.port] });
    await using client = new CameraClient({ connector, ...components });
    await client.connectWithRetries();
    const received = new Map<number, Uint8Array>();
    for await (const { item: one, data } of client.download(camera.items))
      received.set(one.mediaNum, data ?? new Uint8Array(0));
    const drawn = drawnPictures();
    for (const wanted of camera.items) {
      const record = drawn.fileRecord({ ...subject, cameraName: camera.name, deviceId: camera.deviceId, ...wanted });
      const data = received.get(wanted.mediaNum) ?? new Uint8Array(0);
      expect(Buffer.from(record.subarray(record.length - data.length)).equals(data)).toBe(true);
      expect(data.length).toBeGreaterThan(200_000);
    }
  });
});
