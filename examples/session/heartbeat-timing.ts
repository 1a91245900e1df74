import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectCamera } from '@towpath/camera';
import { HeartbeatManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

// Measures the intervals: 3.0 ± 0.05 s is expected. Give more seconds for a longer run.
const seconds = Number(process.env.EXAMPLE_SECONDS ?? 7);

await using target = await exampleCamera();
await using camera = await connectCamera(target.address);
await using heartbeat = new HeartbeatManager(camera);

const times: number[] = [];
camera.events.on('heartbeat', () => times.push(performance.now()));
await sleep(seconds * 1_000);

const intervals = times.slice(1).map((time, at) => (time - (times[at] ?? 0)) / 1_000);
console.log(`Intervals: ${intervals.map((interval) => interval.toFixed(3)).join(', ')} s`);
console.log(`Latest after its planned time: ${heartbeat.jitter.toFixed(3)} s`);
assert.equal(heartbeat.sent, times.length);
assert.equal(heartbeat.failures, 0);
