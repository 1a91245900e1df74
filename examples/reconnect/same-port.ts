import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { CameraClient } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

/** A reconnect uses the same local port: a camera may serve only the (address, port) that it saw first. */
async function testReconnectPortReuse(address: string) {
  await using client = new CameraClient(address);

  assert.equal(await client.connectWithRetries(), true);
  const firstPort = client.activePort;
  console.log(`✓ Connected on port ${firstPort}`);
  assert.equal(client.state, 'CONNECTED');
  assert.equal(client.running, true);

  await client.close();
  assert.equal(client.state, 'DISCONNECTED');
  await sleep(1_000);

  assert.equal(await client.connectWithRetries(), true);
  const secondPort = client.activePort;
  console.log(`✓ Reconnected on port ${secondPort}`);
  assert.equal(secondPort, firstPort, `Port changed on reconnect! ${firstPort} → ${secondPort}`);
  console.log('PORT REUSE TEST PASSED');
}

await using camera = await exampleCamera({ firewall: true });
await testReconnectPortReuse(camera.address);
