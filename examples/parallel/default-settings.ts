import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using camera = await exampleCamera();

const manager = new ParallelConnectionManager(camera.address);
const { success, info } = await manager.connectParallel();

if (success) {
  console.log(`Connected in ${info.elapsedTime.toFixed(2)}s via ${info.winningThread}`);
  await info.session.close();
} else {
  console.error('Connection failed');
  process.exitCode = 3;
}
