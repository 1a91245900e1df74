import assert from 'node:assert/strict';
import { CameraClient } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using target = await exampleCamera();

// 90 % of the first attempts should take less than one second.
const rounds = 5;
let quick = 0;
for (let round = 0; round < rounds; round++) {
  await using camera = new CameraClient(target.address);
  const startedAt = performance.now();
  assert(await camera.connectWithRetries());
  const seconds = (performance.now() - startedAt) / 1_000;
  if (seconds < 1) quick++;
  console.log(`Logged in after ${seconds.toFixed(3)} s from port ${camera.activePort}`);
}
console.log(`${quick} of ${rounds} in less than 1 s`);
