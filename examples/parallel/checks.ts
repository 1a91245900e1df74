import assert from 'node:assert/strict';
import { ConnectionThreadState, ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using camera = await exampleCamera();

async function testParallelConnectionSuccess() {
  const { success, info } = await new ParallelConnectionManager(camera.address).connectParallel();
  assert(success);
  assert('winningThread' in info);
  assert(info.elapsedTime < 5);
  await info.session.close();
}

async function testThreadSocketIsolation() {
  const { success, info } = await new ParallelConnectionManager(camera.address).connectParallel();
  for (const thread of Object.values(info.threadsInfo)) assert(thread.port !== null || thread.state !== 'running');
  if (success) await info.session.close();
}

async function testFirstWinPattern() {
  const { success, info } = await new ParallelConnectionManager(camera.address).connectParallel();
  const states = Object.values(info.threadsInfo).map(({ state }) => state);
  assert.equal(states.filter((state) => state === ConnectionThreadState.SUCCESS).length, 1);
  if (success) await info.session.close();
}

async function testWithRealCamera() {
  const manager = new ParallelConnectionManager(camera.address, {
    destinationPorts: [40611, 32100, 32108],
    maxConnectionTime: 10,
  });
  const { success, info } = await manager.connectParallel({ enableP2p: true, enableLan: true });
  assert(success);
  console.log(`Connected in ${info.elapsedTime.toFixed(2)}s`);
  await info.session.close();
}

for (const check of [
  testParallelConnectionSuccess,
  testThreadSocketIsolation,
  testFirstWinPattern,
  testWithRealCamera,
]) {
  await check();
  console.log(`✓ ${check.name}`);
}
