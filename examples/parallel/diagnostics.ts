import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using camera = await exampleCamera();
const { success, info } = await new ParallelConnectionManager(camera.address).connectParallel();

if (success) {
  console.log('✓ SUCCESS');
  console.log(`  Winning thread: ${info.winningThread}`);
  console.log(`  Connection mode: ${info.mode}`);
  console.log(`  Local port: ${info.port}`);
  console.log(`  Target port: ${info.destinationPort}`);
  console.log(`  Total time: ${info.elapsedTime.toFixed(2)}s`);
  await info.session.close();
} else {
  console.error(`✗ FAILED after ${info.elapsedTime.toFixed(2)}s`);
  process.exitCode = 3;
}

for (const [name, thread] of Object.entries(info.threadsInfo)) {
  console.log(`\n${name}:`);
  console.log(`  State: ${thread.state}`);
  console.log(`  Retries: ${thread.retries}`);
  if (thread.elapsed !== null) console.log(`  Time: ${thread.elapsed.toFixed(2)}s`);
  if (thread.error !== null) console.log(`  Error: ${thread.error}`);
}
