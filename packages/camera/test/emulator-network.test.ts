import { searchLan } from '@towpath/pppp';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CameraEmulator } from '../src/emulator/camera-emulator.ts';
import { drawnPictures } from '../src/emulator/media/picture-source.ts';
import { CAMERA_ADDRESS, collect, Hotspot, LISTEN, UID } from './emulator-fixture.ts';

let hotspot: Hotspot;

beforeEach(() => {
  hotspot = new Hotspot();
});

afterEach(async () => {
  expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
});

describe('an emulated camera and the client (B11)', () => {
  test('go the whole way: search, login, two pages, thumbnails, verified files', async () => {
    const camera = await hotspot.camera({ seed: 42 });
    const network = hotspot.network();
    const found = await hotspot.run(collect(searchLan({ network, clock: hotspot.clock })));
    expect(found.map(({ uid, endpoint }) => ({ uid, endpoint }))).toEqual([{ uid: UID, endpoint: LISTEN }]);

    const client = await hotspot.connected();
    expect(await hotspot.run(client.deviceInfo())).toMatchObject({
      devId: '02:54:50:00:00:2A',
      cameraName: 'TOWPATH 42',
    });
    const items = await hotspot.run(collect(client.mediaList()));
    expect(items.map((item) => item.mediaNum)).toEqual(camera.items.map((item) => item.mediaNum));
    expect(items).toHaveLength(83);

    const thumbnails = await hotspot.run(collect(client.thumbnails(items)));
    const again = await hotspot.run(collect(client.thumbnails(items)));
    expect(thumbnails.map(({ data }) => data?.length)).toEqual(items.map(() => 20_000));
    expect(again).toEqual(thumbnails);
    const files = await hotspot.run(collect(client.download(items.slice(0, 20))));
    expect(files.map(({ data }) => data?.length)).toEqual(new Array(20).fill(60_000));
  });

  test('show drawn pictures, live video and a recording', async () => {
    await hotspot.camera({ pictures: drawnPictures(), itemCount: 2, videoEvery: 2 });
    const client = await hotspot.connected();
    const [video, photo] = await hotspot.run(collect(client.mediaList()));
    const [file] = await hotspot.run(collect(client.download([photo!])));
    expect(file?.data?.subarray(0, 2)).toEqual(new Uint8Array([0xff, 0xd8]));
    expect(file?.data?.length).toBeGreaterThan(200_000);

    const frames: number[] = [];
    const watch = async () => {
      for await (const frame of client.live()) {
        if (frame.video.length > 0) frames.push(frame.video.length);
        if (frames.length === 40) return;
      }
    };
    const startedAt = hotspot.clock.now();
    await hotspot.run(watch());
    expect(hotspot.clock.now() - startedAt).toBeGreaterThan(2500);
    expect(hotspot.clock.now() - startedAt).toBeLessThan(3200);
    const recording = await hotspot.run(collect(client.playback(video!)));
    expect(recording.filter((frame) => frame.video.length > 0)).toHaveLength(150);
  });

  test('notice new pictures, which are dated by the clock that the login set', async () => {
    const camera = await hotspot.camera({ itemCount: 0, newPictureEveryMs: 10_000 });
    const client = await hotspot.connected();
    const pictures: number[] = [];
    camera.events.on('picture', ({ item }) => pictures.push(item.mediaTime));
    await hotspot.clock.advance(30_100);
    const items = await hotspot.run(collect(client.mediaList()));
    expect(items.map((item) => item.mediaTime)).toEqual(pictures.reverse());
    expect(pictures).toHaveLength(3);
    expect(pictures[0]! - pictures[2]!).toBe(20);
  });
});

describe('several emulated cameras in one process (B11)', () => {
  test('share the search port: broadcast and unicast find them all', async () => {
    for (const seed of [1, 2, 3])
      await hotspot.camera({ seed, listenPort: 40_610 + seed, uid: `TEST-00000${seed}-BCDEF` });
    const network = hotspot.network();
    const expected = [1, 2, 3].map((seed) => [`TEST-00000${seed}-BCDEF`, 40_610 + seed]);
    const found = await hotspot.run(collect(searchLan({ network, clock: hotspot.clock })));
    expect(found.map(({ uid, endpoint }) => [uid, endpoint.port]).sort()).toEqual(expected);
    const raw = await hotspot.raw();
    raw.send({ type: 'LAN_SEARCH' }, { address: CAMERA_ADDRESS, port: 32108 });
    await hotspot.clock.advance(5);
    expect(raw.heard.map(({ from }) => from.port).sort()).toEqual(expected.map(([, port]) => port));
  });

  test('do not hear each other, and one can leave without the others', async () => {
    const first = await hotspot.camera({ listenPort: 40_611 });
    await hotspot.camera({ listenPort: 40_612, seed: 2 });
    await hotspot.run(first.close());
    const raw = await hotspot.raw();
    raw.send({ type: 'LAN_SEARCH' }, { address: CAMERA_ADDRESS, port: 32108 });
    await hotspot.clock.advance(5);
    expect(raw.heard.map(({ from }) => from.port)).toEqual([40_612]);
  });

  test('cost nothing while nobody is there: a thousand of them have no timer', async () => {
    for (let seed = 1; seed <= 1000; seed++) await hotspot.camera({ seed, listenPort: 0, uid: `TEST-${seed}-BCDEF` });
    expect(hotspot.clock.pendingTimers).toBe(0);
    const raw = await hotspot.raw();
    raw.send({ type: 'LAN_SEARCH' }, { address: CAMERA_ADDRESS, port: 32108 });
    await hotspot.clock.advance(50);
    expect(new Set(raw.heard.map(({ from }) => from.port)).size).toBe(1000);
  });
});

describe('the ports of an emulated camera (B11)', () => {
  test('may be dead: open, and silent', async () => {
    await hotspot.camera({ deadPorts: [32100, 10000], listenPort: 57743 });
    const raw = await hotspot.raw();
    for (const port of [32100, 10000]) raw.send({ type: 'PUNCH_PKT', uid: UID }, { address: CAMERA_ADDRESS, port });
    await hotspot.clock.advance(1000);
    expect(raw.heard).toEqual([]);
    const client = await hotspot.connected();
    expect(client.state).toBe('CONNECTED');
  });

  test('are all given back when one of them cannot be had', async () => {
    await hotspot.cameraNetwork.bindUdp({ port: 40611, onMessage() {} });
    const before = hotspot.internet.openSockets;
    await expect(hotspot.run(hotspot.camera({ deadPorts: [32100] }))).rejects.toMatchObject({ code: 'address-in-use' });
    expect(hotspot.internet.openSockets).toBe(before);
    hotspot = new Hotspot();
  });

  test('can be closed twice, also before they were opened', async () => {
    const { clock, random } = hotspot;
    const never = new CameraEmulator({ network: hotspot.network(), clock, random });
    await never.close();
    const camera = await hotspot.camera();
    await hotspot.run(Promise.all([camera.close(), camera.close()]));
    camera.reboot();
    const closedEarly = new CameraEmulator({ network: hotspot.network(), clock, random });
    await hotspot.run(Promise.all([closedEarly.start(), closedEarly.close()]));
  });
});

describe('the transport of an emulated camera (B11)', () => {
  test('greets with ACK until that is acknowledged', async () => {
    await hotspot.camera();
    const raw = await hotspot.raw();
    raw.acknowledges = false;
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(500);
    const greetings = raw.of('DRW');
    expect(greetings.length).toBeGreaterThan(5);
    for (const { channel, index, data } of greetings) {
      expect([channel, index, Buffer.from(data).toString()]).toEqual([0, 0, 'ACK']);
    }
    raw.send({ type: 'DRW_ACK', channel: 0, indices: [0] });
    await hotspot.clock.advance(10);
    const before = raw.of('DRW').length;
    await hotspot.clock.advance(500);
    expect(raw.of('DRW')).toHaveLength(before);
  });

  test('sends its device info in packets of 1024, 1024, 1024 and 21 bytes, the last all zeros', async () => {
    await hotspot.camera({ tokenPolicy: 'ignore' });
    const raw = await hotspot.raw();
    await raw.login();
    raw.request({ cmdId: 512 }, 2);
    await hotspot.clock.advance(100);
    const packets = raw.of('DRW').filter(({ channel, index }) => channel === 0 && index >= 2);
    expect(packets.map(({ data }) => data.length)).toEqual([1024, 1024, 1024, 21]);
    expect(packets[3]!.data).toEqual(new Uint8Array(21));
  });

  test('repeats its event until it is acknowledged on channel 6', async () => {
    await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    raw.acknowledges = false;
    const second = await hotspot.raw();
    second.acknowledges = false;
    second.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(30);
    second.send({ type: 'DRW_ACK', channel: 0, indices: [0] });
    second.request({ cmdId: 0, usrName: 'admin', password: 'admin', utcTime: 1 });
    await hotspot.clock.advance(100);
    second.send({ type: 'DRW_ACK', channel: 0, indices: [1] });
    await hotspot.clock.advance(1000);
    const events = () => second.of('DRW').filter(({ channel }) => channel === 6);
    expect(events().length).toBeGreaterThan(10);
    second.send({ type: 'DRW_ACK', channel: 6, indices: [0] });
    await hotspot.clock.advance(10);
    const before = events().length;
    await hotspot.clock.advance(500);
    expect(events()).toHaveLength(before);
  });

  test('closes on an acknowledgement of what was never sent', async () => {
    const camera = await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    raw.send({ type: 'DRW_ACK', channel: 0, indices: [0x53] });
    await hotspot.clock.advance(150);
    expect(raw.of('CLOSE').length).toBeGreaterThan(0);
    expect(camera.sessions).toEqual([]);
  });

  test('closes when its keep-alives go unanswered', async () => {
    const camera = await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    raw.alive = false;
    await hotspot.clock.advance(5000);
    expect(camera.sessions).toHaveLength(1);
    await hotspot.clock.advance(6000);
    expect(raw.of('CLOSE').length).toBeGreaterThan(0);
    expect(camera.sessions).toEqual([]);
  });

  test('closes after 7 to 12 s without a login', async () => {
    const camera = await hotspot.camera();
    const raw = await hotspot.raw();
    const started = hotspot.clock.now();
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    let closedAt = 0;
    camera.events.on('closed', () => {
      closedAt = hotspot.clock.now();
    });
    await hotspot.clock.advance(13_000);
    expect(closedAt - started).toBeGreaterThan(7000);
    expect(closedAt - started).toBeLessThan(12_100);
    expect(raw.of('CLOSE').length).toBeGreaterThan(0);
  });

  test('offers TCP 51 times before it is ready when told to, to clients that searched', async () => {
    await hotspot.camera({ offersTcp: true });
    const raw = await hotspot.raw();
    raw.send({ type: 'LAN_SEARCH' }, { address: CAMERA_ADDRESS, port: 32108 });
    await hotspot.clock.advance(5);
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(600);
    expect(raw.of('P2P_RDY_ACK')).toHaveLength(51);
    expect(raw.of('P2P_RDY').length).toBeGreaterThanOrEqual(4);
    const client = await hotspot.connected();
    expect(client.state).toBe('CONNECTED');
  });
});
