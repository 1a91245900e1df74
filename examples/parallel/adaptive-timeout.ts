import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';
import { failUnreachable } from '../support/failure.ts';

await using camera = await exampleCamera();

// Time limits follow the connect times that this manager has measured. This is the default; false switches it off.
const manager = new ParallelConnectionManager(camera.address, { adaptiveTimeout: true });

for (let round = 1; round <= 3; round++) {
  const { success, info } = await manager.connectParallel();
  if (!success) failUnreachable(info.error);
  console.log(`Round ${round}: ${(info.elapsedTime * 1_000).toFixed(1)} ms via ${info.winningThread}`);
  await info.session.close();
}
console.log('Successes by kind of path:');
for (const [kind, { wins }] of Object.entries(manager.statistics.snapshot())) console.log(`  ${kind}: ${wins}`);
