import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using camera = await exampleCamera();

// Certain ports, in order of preference.
const manager = new ParallelConnectionManager(camera.address, {
  destinationPorts: [40611, 32100], // only these two
  maxConnectionTime: 15, // give up after 15 seconds
  search: false, // and no LAN search, which would find the camera on any port
});

const { success, info } = await manager.connectParallel();
console.log(success ? `Connected to port ${info.destinationPort}` : info.error);
if (success) await info.session.close();
