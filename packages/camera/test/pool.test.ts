import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { CameraClient, CameraPool, RaceConnector } from '../src/index.ts';
import { CameraEmulator, paddedPictures } from '../src/emulator/index.ts';

async function world(cameras: number) {
  const clock = new VirtualClock();
  const random = new SeededRandom(5);
  const internet = new SimulatedInternet({ clock, random });
  const lan = internet.lan({ subnet: '10.0.0.0/16' });
  const emulators: CameraEmulator[] = [];
  for (let n = 1; n <= cameras; n++) {
    const { network } = lan.host({ address: `10.0.1.${n}` });
    const emulator = new CameraEmulator({ network, clock, random }, { seed: n, pictures: paddedPictures() });
    await emulator.start();
    emulators.push(emulator);
  }
  const { network } = lan.host({ address: '10.0.0.9' });
  const create = (ip: string) =>
    new CameraClient({ clock, random, connector: new RaceConnector({ network, clock, random }, { target: ip }) });
  const pool = new CameraPool({ clock, create }, { lingerMs: 5_000 });
  return { clock, internet, emulators, pool };
}

describe('camera pool', () => {
  test('many cameras at once, each independent; one asked for twice shares one connection (A11)', async () => {
    const { clock, emulators, pool } = await world(20);
    const addresses = emulators.map((_, at) => `10.0.1.${at + 1}`);
    const leases = await clock.runUntil(Promise.all([...addresses, '10.0.1.1'].map((ip) => pool.connect(ip))));
    expect(pool.size).toBe(20);
    expect(leases.at(-1)?.value).toBe(leases[0]?.value);
    expect(emulators.map(({ counters }) => counters.logins)).toEqual(emulators.map(() => 1));
    const ids = await clock.runUntil(Promise.all(leases.map(({ value }) => value.deviceInfo())));
    expect(ids.map(({ devId }) => devId)).toEqual([...emulators, emulators[0]!].map(({ deviceId }) => deviceId));
    emulators[1]?.reboot({ downMs: 60_000 });
    await clock.advance(30_000);
    expect(leases[1]?.value.state).toBe('RECONNECTING');
    expect(leases.filter(({ value }) => value.state === 'CONNECTED').length).toBe(20);
    await clock.runUntil(pool.close());
    for (const emulator of emulators) await clock.runUntil(emulator.close());
  });

  test('a camera that nobody uses any more is let go after a while, and nothing remains (A11)', async () => {
    const { clock, internet, emulators, pool } = await world(1);
    const first = await clock.runUntil(pool.connect('10.0.1.1'));
    const second = await clock.runUntil(pool.connect('10.0.1.1'));
    first.release();
    await clock.advance(10_000);
    expect(second.value.state).toBe('CONNECTED');
    second.release();
    await clock.advance(6_000);
    expect([pool.size, emulators[0]?.sessions.length]).toEqual([0, 0]);
    await clock.runUntil(emulators[0]!.close());
    await clock.runUntil(pool.close());
    await clock.advance(1_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('a camera that is not there fails for everyone who asks, and can be asked for again', async () => {
    const { clock, emulators, pool } = await world(0);
    expect(emulators.length).toBe(0);
    const both = [pool.connect('10.0.1.77'), pool.connect('10.0.1.77')].map((asked) => asked.catch(({ code }) => code));
    expect(await clock.runUntil(Promise.all(both))).toEqual(['connect-failed', 'connect-failed']);
    await clock.runUntil(pool.close());
  });
});
