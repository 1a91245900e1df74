import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';
import { failUnreachable } from '../support/failure.ts';

await using camera = await exampleCamera();

// Certain ports, in order of preference.
const manager = new ParallelConnectionManager(camera.address, {
  destinationPorts: [40611, 32100], // only these two
  maxConnectionTime: 15, // give up after 15 seconds
  search: false, // and no LAN search, which would find the camera on any port
});

const { success, info } = await manager.connectParallel();
if (!success) failUnreachable(info.error);
console.log(`Connected to port ${info.destinationPort}`);
await info.session.close();
