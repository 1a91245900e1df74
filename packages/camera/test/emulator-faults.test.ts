import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandId } from '../src/artemis/command-id.ts';
import type { EmulatorFaultOptions } from '../src/emulator/faults.ts';
import { collect, Hotspot, type RawClient, UID } from './emulator-fixture.ts';

let hotspot: Hotspot;

beforeEach(() => {
  hotspot = new Hotspot();
});

afterEach(async () => {
  expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
});

/** Sends `count` searches, one per ms, and returns when each answer came. */
async function answers(faults: EmulatorFaultOptions, count: number): Promise<{ at: number; raw: RawClient }[]> {
  await hotspot.camera({ faults });
  const raw = await hotspot.raw();
  const heardAt: { at: number; raw: RawClient }[] = [];
  for (let sent = 0; sent < count; sent++) {
    raw.send({ type: 'LAN_SEARCH' }, { address: '192.168.43.1', port: 32108 });
    await hotspot.clock.advance(1);
    while (heardAt.length < raw.heard.length) heardAt.push({ at: hotspot.clock.now(), raw });
  }
  for (let waited = 0; waited < 3000; waited++) {
    await hotspot.clock.advance(1);
    while (heardAt.length < raw.heard.length) heardAt.push({ at: hotspot.clock.now(), raw });
  }
  return heardAt;
}

describe('faults of the line of an emulated camera (B11)', () => {
  test('loss, in each direction on its own', async () => {
    expect((await answers({ toCamera: { lossRatio: 0.3 } }, 1000)).length).toBeCloseTo(700, -2);
    await hotspot.end();
    hotspot = new Hotspot();
    expect((await answers({ fromCamera: { lossRatio: 0.3 } }, 1000)).length).toBeCloseTo(700, -2);
    await hotspot.end();
    hotspot = new Hotspot();
    expect((await answers({ fromCamera: { lossRatio: 1 } }, 100)).length).toBe(0);
  });

  test('duplication', async () => {
    expect((await answers({ toCamera: { duplicateRatio: 0.5 } }, 1000)).length).toBeCloseTo(1500, -2);
  });

  test('delay and jitter, which keep the order', async () => {
    const heard = await answers({ toCamera: { delayMs: 100 }, fromCamera: { delayMs: 50, jitterMs: 30 } }, 20);
    expect(heard).toHaveLength(20);
    expect(heard[0]!.at).toBeGreaterThanOrEqual(150);
    expect(heard.at(-1)!.at).toBeLessThan(150 + 30 + 25);
  });

  test('a bandwidth limit, with a queue that overflows', async () => {
    // 200 answers of 24 bytes in 0.2 s; the line carries 100 per second and holds a quarter of a second.
    const heard = await answers({ fromCamera: { bytesPerSecond: 2400 } }, 200);
    expect(heard.length).toBeGreaterThan(40);
    expect(heard.length).toBeLessThan(50);
    expect(heard.at(-1)!.at).toBeGreaterThan(420);
  });

  test('pauses of a line that saves power, after which everything comes at once', async () => {
    const heard = await answers({ fromCamera: { pauseEveryMs: 1000, pauseMs: 150 } }, 300);
    expect(heard).toHaveLength(300);
    expect(heard.filter(({ at }) => at < 150)).toEqual([]);
    expect(heard.filter(({ at }) => at <= 152).length).toBeGreaterThan(145);
  });

  test('reordering, duplication, delay and loss together, through which everything arrives whole', async () => {
    const direction = { lossRatio: 0.1, duplicateRatio: 0.1, reorderRatio: 0.1, delayMs: 3, jitterMs: 4 };
    await hotspot.camera({ faults: { toCamera: direction, fromCamera: direction } });
    const client = await hotspot.connected();
    const items = await hotspot.run(collect(client.mediaList()));
    expect(items).toHaveLength(83);
    const files = await hotspot.run(collect(client.download(items.slice(0, 3))));
    expect(files.map(({ data }) => data?.length)).toEqual([60_000, 60_000, 60_000]);
    expect(client.path?.artemis.carrier.stats.duplicatesReceived).toBeGreaterThan(5);
  });

  test('may be changed while it runs', async () => {
    const camera = await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    camera.faults.fromCamera.lossRatio = 1;
    const before = raw.heard.length;
    raw.send({ type: 'ALIVE' });
    await hotspot.clock.advance(100);
    expect(raw.heard).toHaveLength(before);
    camera.faults.fromCamera.lossRatio = 0;
    raw.send({ type: 'ALIVE' });
    await hotspot.clock.advance(100);
    expect(raw.of('ALIVE_ACK').length).toBeGreaterThan(0);
  });

  test('silence: neither search nor session is answered, and both are afterwards', async () => {
    const camera = await hotspot.camera();
    const client = await hotspot.connected();
    camera.faults.silent = true;
    const raw = await hotspot.raw();
    raw.send({ type: 'LAN_SEARCH' }, { address: '192.168.43.1', port: 32108 });
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(2000);
    expect(raw.heard).toEqual([]);
    camera.faults.silent = false;
    await hotspot.clock.advance(1000);
    expect(await hotspot.run(client.deviceInfo())).toMatchObject({ devId: camera.deviceId });
    expect(camera.counters.logins).toBe(1);
  });
});

describe('faults of the camera itself (B11)', () => {
  test('stuck: acknowledges and does not answer, until it is not stuck any more', async () => {
    const camera = await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    camera.faults.stuck = true;
    const before = raw.of('DRW').length;
    raw.request({ cmdId: CommandId.deviceInfo, token: 1 });
    await hotspot.clock.advance(500);
    expect(raw.of('DRW')).toHaveLength(before);
    expect(raw.of('DRW_ACK').length).toBeGreaterThan(1);
    expect(camera.sessions).toHaveLength(1);
  });

  test('a token that is not accepted afterwards', async () => {
    const camera = await hotspot.camera({ faults: { wrongToken: true } });
    const client = await hotspot.connected();
    await expect(hotspot.run(client.deviceInfo())).rejects.toMatchObject({ code: 'command-timeout' });
    expect(camera.counters.ignored).toBeGreaterThan(0);
  });

  test('CLOSE after a time, and at once', async () => {
    const camera = await hotspot.camera({ faults: { closeAfterMs: 700 } });
    const raw = await hotspot.raw();
    await raw.login();
    await hotspot.clock.advance(700);
    expect(raw.of('CLOSE').length).toBeGreaterThan(0);
    camera.faults.closeAfterMs = 0;
    const second = await hotspot.raw();
    await second.login();
    await hotspot.clock.advance(3000);
    expect(second.of('CLOSE')).toEqual([]);
    await hotspot.run(camera.closeSessions());
    await hotspot.clock.advance(50);
    expect(second.of('CLOSE').length).toBeGreaterThan(0);
  });

  test('a reboot: away without a word, and without its sessions when it is back', async () => {
    const camera = await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    const closed: string[] = [];
    camera.events.on('closed', ({ reason }) => closed.push(reason));
    camera.reboot({ downMs: 4000 });
    expect(closed).toEqual(['carrier-failed']);
    const before = raw.heard.length;
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    raw.send({ type: 'LAN_SEARCH' }, { address: '192.168.43.1', port: 32108 });
    await hotspot.clock.advance(3900);
    expect(raw.heard).toHaveLength(before);
    await hotspot.clock.advance(200);
    raw.send({ type: 'ALIVE' });
    await hotspot.clock.advance(100);
    expect(raw.heard).toHaveLength(before);
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(100);
    expect(raw.of('P2P_RDY').length).toBeGreaterThan(4);
  });

  test('a reboot in the middle of a download, which the client survives', async () => {
    const camera = await hotspot.camera({ faults: { fromCamera: { bytesPerSecond: 300_000 } } });
    const client = await hotspot.connected();
    const items = (await hotspot.run(collect(client.mediaList()))).slice(0, 12);
    const sizes: (number | undefined)[] = [];
    const download = async () => {
      for await (const { data } of client.download(items)) {
        sizes.push(data?.length);
        if (sizes.length === 3) camera.reboot({ downMs: 3000 });
      }
    };
    await hotspot.run(download());
    expect(sizes).toEqual(new Array(12).fill(60_000));
    expect(camera.counters.logins).toBe(2);
  });

  test('a second transfer that breaks the first off, which the client survives', async () => {
    await hotspot.camera({ secondTransfer: 'restart' });
    const raw = await hotspot.raw();
    await raw.login();
    const client = await hotspot.connected();
    const items = await hotspot.run(collect(client.mediaList()));
    const files = await hotspot.run(collect(client.download(items)));
    expect(files.filter(({ data }) => data?.length === 60_000)).toHaveLength(83);
  });
});

describe('the firewall of an emulated camera (B6, B11)', () => {
  test('hears only the (address, port) of the first contact', async () => {
    const camera = await hotspot.camera({ firewall: true });
    const network = hotspot.network();
    const first = await hotspot.raw(network, 5000);
    const second = await hotspot.raw(network, 5001);
    const stranger = await hotspot.raw();
    await first.login();
    for (const other of [second, stranger]) other.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(500);
    expect(camera.admitted).toEqual(
      first.local.port === 5000 ? { address: camera.sessions[0]!.peer.address, port: 5000 } : undefined,
    );
    expect(second.heard).toEqual([]);
    expect(stranger.heard).toEqual([]);
    expect(camera.sessions).toHaveLength(1);
  });

  test('still lets everybody search', async () => {
    await hotspot.camera({ firewall: true });
    const first = await hotspot.raw();
    await first.login();
    const other = await hotspot.raw();
    other.send({ type: 'LAN_SEARCH' }, { address: '192.168.43.1', port: 32108 });
    await hotspot.clock.advance(10);
    expect(other.of('PUNCH_PKT')).toHaveLength(1);
  });

  test('forgets on a reboot, unless told to keep', async () => {
    const camera = await hotspot.camera({ firewall: true });
    const [first, second] = [await hotspot.raw(), await hotspot.raw()];
    await first.login();
    camera.reboot({ downMs: 100, keepFirewall: true });
    await hotspot.clock.advance(200);
    second.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(100);
    expect(second.heard).toEqual([]);
    camera.reboot({ downMs: 100 });
    await hotspot.clock.advance(200);
    second.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(100);
    expect(second.of('P2P_RDY').length).toBeGreaterThan(0);
  });

  test('is switched off and on while it runs', async () => {
    const camera = await hotspot.camera({ firewall: true });
    const [first, second] = [await hotspot.raw(), await hotspot.raw()];
    await first.login();
    camera.setFirewall(false);
    await second.login();
    expect(camera.sessions).toHaveLength(2);
    camera.setFirewall(true);
    expect(camera.admitted).toBeUndefined();
  });

  test('lets the client back in from the same local port', async () => {
    const camera = await hotspot.camera({ firewall: true });
    const client = await hotspot.connected();
    const { port } = camera.sessions[0]!.peer;
    camera.reboot({ downMs: 2000, keepFirewall: true });
    await hotspot.clock.advance(20_000);
    await hotspot.run(client.deviceInfo());
    expect(camera.sessions[0]!.peer.port).toBe(port);
    expect(camera.counters.logins).toBe(2);
  });
});
