import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';
import { failUnreachable } from '../support/failure.ts';

await using camera = await exampleCamera();

// The local port is read from the socket after it is bound, so a running attempt always has one.
const manager = new ParallelConnectionManager(camera.address);
const { success, info } = await manager.connectParallel({
  onProgress: ({ type, attempt }) => {
    if (type === 'noted') console.log(`${attempt.label}: local port ${attempt.localPort}`);
  },
});
for (const [name, thread] of Object.entries(info.threadsInfo)) {
  if (thread.state === 'running' && thread.port === null) throw new Error(`${name} runs without a port`);
}
if (!success) failUnreachable(info.error);
await info.session.close();
console.log('Every running thread had its own port');
