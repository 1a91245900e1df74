import { setTimeout as sleep } from 'node:timers/promises';
import { CameraClient } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using target = await exampleCamera();
await using camera = new CameraClient(target.address);
if (!(await camera.connectWithRetries())) throw camera.lastError;

// The heartbeat starts with the login; start does nothing when it runs already.
const heartbeat = camera.heartbeatManager;
await heartbeat.start();
await sleep(heartbeat.interval * 1_000 + 500);
console.log(`Heartbeats: ${heartbeat.sent}, last sequence number ${heartbeat.sequence}`);

await heartbeat.stop();
console.log(`Heartbeat running: ${heartbeat.running}, camera connected: ${camera.running}`);
