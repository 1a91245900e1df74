import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using camera = await exampleCamera();
const manager = new ParallelConnectionManager(camera.address);

// Only direct attempts.
const { success, info } = await manager.connectParallel({
  enableP2p: true,
  enableLan: false,
  enableRelay: false,
});

console.log(success ? `Connected via ${info.winningThread}` : info.error);
console.log(`LAN thread: ${info.threadsInfo.lanConnectThread.state}`);
if (success) await info.session.close();
