import { CameraClient, DeviceCommands, ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using target = await exampleCamera();

// Step 1: connect over all kinds of path at the same time.
const manager = new ParallelConnectionManager(target.address, { destinationPorts: [40611, 32100, 32108] });
const { success, info } = await manager.connectParallel({ enableP2p: true, enableLan: true });

if (success) {
  console.log(`Connected via ${info.winningThread} in ${info.elapsedTime.toFixed(2)}s`);

  // Step 2: use the session that was found, and its local port after a reconnect.
  await using camera = new CameraClient(target.address, { sourcePort: info.port, session: info.session });
  if (await camera.login()) {
    const { modelName, batPercent } = await new DeviceCommands(camera).getDeviceInfo();
    console.log(`Logged in to ${modelName} from port ${camera.activePort}, battery ${batPercent} %`);
  }
} else {
  console.error('Failed to discover the camera');
  process.exitCode = 3;
}
