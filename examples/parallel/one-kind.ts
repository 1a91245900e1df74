import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';
import { failUnreachable } from '../support/failure.ts';

await using camera = await exampleCamera();
const manager = new ParallelConnectionManager(camera.address);

// Only direct attempts.
const { success, info } = await manager.connectParallel({
  enableP2p: true,
  enableLan: false,
  enableRelay: false,
});

if (!success) failUnreachable(info.error);
console.log(`Connected via ${info.winningThread}`);
console.log(`LAN thread: ${info.threadsInfo.lanConnectThread.state}`);
await info.session.close();
