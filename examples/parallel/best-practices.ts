import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';
import { failUnreachable } from '../support/failure.ts';

await using camera = await exampleCamera();

// Port order: the port of the family first, then its other ports, then ports that were seen elsewhere.
const destinationPorts = [40611, 32100, 32108, 10000, 80, 57743];

// Time limits, in seconds.
const limits = {
  local: 15, // should connect within this time if the camera is there
  internet: 45, // a relay may take longer
  debugging: 60,
};

for (const [use, maxConnectionTime] of Object.entries(limits)) {
  const manager = new ParallelConnectionManager(camera.address, { destinationPorts, maxConnectionTime });
  // Direct paths are always recommended; a relay only when there is a relay server.
  const { success, info } = await manager.connectParallel({ enableP2p: true, enableLan: true });
  if (!success) failUnreachable(`${use}: ${info.error}`);
  console.log(`${use}: connected in ${info.elapsedTime.toFixed(2)}s`);
  await info.session.close();
}
