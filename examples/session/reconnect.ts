import assert from 'node:assert/strict';
import { connectCamera } from '@towpath/camera';
import { HeartbeatManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using target = await exampleCamera();
await using camera = await connectCamera(target.address);
await using heartbeat = new HeartbeatManager(camera, {
  onFailure: (error) => console.log(`Lost: ${error.message}`),
});

// The camera restarts and is away for a second. The client connects again, logs in, and continues the heartbeat.
const back = camera.events.once('connected', { accept: ({ reconnect }) => reconnect });
if (target.emulator === undefined) console.log('Now restart the camera.');
else target.emulator.reboot({ downMs: 1_000 });
await camera.events.once('lost');
const lostAt = performance.now();
await back;
const seconds = (performance.now() - lostAt) / 1_000;
console.log(`Reconnected after ${seconds.toFixed(1)} s`);

const { seq } = await camera.events.once('heartbeat');
assert.equal(seq, 65_537);
console.log(`The heartbeat continues: ${heartbeat.running}`);
