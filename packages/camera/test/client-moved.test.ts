import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { CameraEmulator, type CameraEmulatorOptions, paddedPictures } from '../src/emulator/index.ts';
import { connectCamera, DEFAULT_UID } from '../src/index.ts';

const BEFORE = '192.168.43.1';
const AFTER = '192.168.43.50';

/** A LAN whose cameras can be moved to other addresses. */
function world() {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const internet = new SimulatedInternet({ clock, random });
  const lan = internet.lan({ subnet: '192.168.43.0/24', link: { delayMs: 2 } });
  const components = { network: lan.host({ address: '192.168.43.20' }).network, clock, random };
  const start = async (address: string, init: CameraEmulatorOptions = {}) => {
    const { network } = lan.host({ address });
    const camera = new CameraEmulator({ network, clock, random }, { pictures: paddedPictures(), ...init });
    await clock.runUntil(camera.start());
    return camera;
  };
  return { clock, internet, components, start };
}

describe('a camera that was given by its address (C7)', () => {
  test.each([
    ['a UID of its own', 'TEST-000001-BCDEF', false],
    ['the UID of the family, and a known device id', DEFAULT_UID, true],
  ])('is searched again by UID when the address stops answering: %s', async (_name, uid, asked) => {
    const { clock, components, start } = world();
    const first = await start(BEFORE, { uid, seed: 7 });
    const client = await clock.runUntil(connectCamera(BEFORE, components));
    if (asked) await clock.runUntil(client.deviceInfo());
    await clock.runUntil(first.close());
    const moved = await start(AFTER, { uid, seed: 7 });
    await clock.advance(40_000);
    expect(client.path?.artemis.carrier.peer.address).toBe(AFTER);
    expect((await clock.runUntil(client.deviceInfo())).devId).toBe(first.deviceId);
    await clock.runUntil(client.close());
    await clock.runUntil(moved.close());
  });

  test('another camera of the family at another address is not taken for it', async () => {
    const { clock, components, start } = world();
    const first = await start(BEFORE, { seed: 7 });
    const client = await clock.runUntil(connectCamera(BEFORE, components));
    await clock.runUntil(client.deviceInfo());
    const errors = new Set<string>();
    client.events.on('tryFailed', ({ error }) => errors.add(error.code));
    await clock.runUntil(first.close());
    const other = await start(AFTER, { seed: 8 });
    await clock.advance(40_000);
    expect([client.path, [...errors].sort()]).toEqual([undefined, ['connect-failed', 'other-camera']]);
    const again = await start('192.168.43.51', { seed: 7 });
    await clock.runUntil(other.close());
    await clock.advance(40_000);
    expect(client.path?.artemis.carrier.peer.address).toBe('192.168.43.51');
    await clock.runUntil(client.close());
    await clock.runUntil(again.close());
  });

  test('without a known device id the UID of the family is not searched for: it could be any camera', async () => {
    const { clock, components, start } = world();
    const first = await start(BEFORE, { seed: 7 });
    const client = await clock.runUntil(connectCamera(BEFORE, components));
    await clock.runUntil(first.close());
    const other = await start(AFTER, { seed: 8 });
    await clock.advance(40_000);
    expect([client.path, other.counters.sessions]).toEqual([undefined, 0]);
    await clock.runUntil(client.close());
    await clock.runUntil(other.close());
  });
});
