import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { expect, test } from 'vitest';
import { CameraClient } from '../src/client/camera-client.ts';
import { RaceConnector } from '../src/connect/race-connector.ts';
import { CameraEmulator } from '../src/emulator/camera-emulator.ts';
import { paddedPictures } from '../src/emulator/media/picture-source.ts';
import { drain } from './client-fixture.ts';

const CAMERA = '192.168.43.1';
const ITEMS = 30;

/** Fetches everything twice over, files and thumbnails, while the camera and the network misbehave at random. */
async function fetchThroughTrouble(seed: number): Promise<{ outcomes: (string | undefined)[]; timersLeft: number }> {
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  const dice = new SeededRandom(7 * seed + 1);
  const link = { delayMs: dice.integer(0, 20), jitterMs: dice.integer(0, 5) };
  const lan = new SimulatedInternet({ clock, random }).lan({ subnet: '192.168.43.0/24', link });
  const faults = { lossRatio: 0.2 * dice.next() };
  const camera = new CameraEmulator(
    { network: lan.host({ address: CAMERA }).network, clock, random },
    {
      itemCount: ITEMS,
      pictures: paddedPictures({ photoBytes: 60_000, thumbnailBytes: 8000 }),
      secondTransfer: dice.next() < 0.5 ? 'queue' : 'restart',
      faults: { toCamera: faults, fromCamera: faults },
    },
  );
  await camera.start();
  const { network } = lan.host({ address: '192.168.43.20' });
  const connector = new RaceConnector({ network, clock, random }, { target: CAMERA });
  const client = new CameraClient({ clock, random, connector });
  await clock.runUntil(client.connectWithRetries());
  const items = await clock.runUntil(drain(client.mediaList()));
  const fetching = Promise.all([drain(client.download(items)), drain(client.thumbnails(items))]);
  let over = false;
  const end = () => {
    over = true;
  };
  fetching.then(end, end);
  for (let trouble = 0; trouble < 8 && !over; trouble++) {
    await clock.advance(dice.integer(100, 4000));
    const kind = dice.integer(1, 4);
    if (kind === 1) camera.reboot({ downMs: dice.integer(500, 15_000) });
    if (kind === 2) camera.sessions[0]?.close().catch(() => {});
    camera.faults.silent = kind === 3;
    await clock.advance(kind === 3 ? dice.integer(500, 30_000) : 0);
    camera.faults.silent = false;
  }
  const results = await clock.runUntil(fetching);
  await clock.runUntil(client.close());
  await clock.runUntil(camera.close());
  await clock.advance(30_000);
  const outcomes = results.flat().map(({ data, error }) => error?.message ?? (data ? undefined : 'nothing'));
  return { outcomes, timersLeft: clock.pendingTimers };
}

test('whatever happens to camera and network, every picture arrives and nothing is left over (B5, B13)', async () => {
  const seeds = Number(process.env.TOWPATH_STRESS_SEEDS ?? 12);
  for (let seed = 1; seed <= seeds; seed++) {
    const { outcomes, timersLeft } = await fetchThroughTrouble(seed);
    expect(outcomes, `seed ${seed}`).toEqual(new Array(2 * ITEMS).fill(undefined));
    expect(timersLeft, `seed ${seed}`).toBe(0);
  }
});
