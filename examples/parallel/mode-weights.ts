import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';
import { failUnreachable } from '../support/failure.ts';

await using camera = await exampleCamera();

// The kind with the highest weight starts first; the others follow after up to 250 ms, if it has not connected by then.
const manager = new ParallelConnectionManager(camera.address, {
  modeWeights: {
    p2p: 1.0, // directly first
    lan: 0.8, // then LAN search
    relay: 0.5, // a relay last
  },
});

const { success, info } = await manager.connectParallel();
if (!success) failUnreachable(info.error);
console.log(`Connected via ${info.winningThread}`);
await info.session.close();
