import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { expect, test } from 'vitest';
import { CameraClient } from '../src/client/camera-client.ts';
import { RaceConnector } from '../src/connect/race-connector.ts';
import { CameraEmulator, paddedPictures } from '../src/emulator/index.ts';

const SUBNET = '192.168.43.0/24';
const CAMERA = '192.168.43.1';
/** The address of this machine in each of the two networks. */
const OWN = ['192.168.43.20', '192.168.43.77'] as const;

test('of two cameras with one address and one UID, the local address chooses (C1)', async () => {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const internet = new SimulatedInternet({ clock, random });
  const lans = [internet.lan({ subnet: SUBNET }), internet.lan({ subnet: SUBNET })] as const;
  const cameras: CameraEmulator[] = [];
  for (const [at, lan] of lans.entries()) {
    const { network } = lan.host({ address: CAMERA });
    const camera = new CameraEmulator({ network, clock, random }, { pictures: paddedPictures(), seed: 7 + at });
    await clock.runUntil(camera.start());
    cameras.push(camera);
  }
  const phone = lans[0].host({ address: OWN[0] });
  phone.join(lans[1], { address: OWN[1] });
  const { network } = phone;
  const ids: (string | undefined)[] = [];
  for (const localAddress of [...OWN, ...OWN]) {
    const connector = new RaceConnector({ network, clock, random }, { target: CAMERA, localAddress });
    const client = new CameraClient({ connector, clock, random });
    await clock.runUntil(client.connectWithRetries());
    ids.push((await clock.runUntil(client.deviceInfo())).devId);
    await clock.runUntil(client.close());
  }
  const [first, second] = cameras.map(({ deviceId }) => deviceId);
  expect(first).not.toBe(second);
  expect(ids).toEqual([first, second, first, second]);
  for (const camera of cameras) await clock.runUntil(camera.close());
});
