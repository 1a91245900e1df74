import { type ConnectResult, ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';
import { failUnreachable } from '../support/failure.ts';

await using first = await exampleCamera();
await using second = await exampleCamera();

function connectInBackground(address: string): Promise<ConnectResult> {
  // After 35 seconds every socket is closed and the promise rejects.
  return new ParallelConnectionManager(address).connectParallel({ signal: AbortSignal.timeout(35_000) });
}

// Managers are independent of each other: each connect has sockets of its own, and nothing is shared.
const running = [first, second].map(({ address }) => connectInBackground(address));
console.log('Connecting in the background');
for (const { success, info } of await Promise.all(running)) {
  if (!success) failUnreachable(info.error);
  console.log(`Connected from port ${info.port}`);
  await info.session.close();
}
