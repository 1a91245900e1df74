import { connectCamera } from '@towpath/camera';
import { exampleCamera } from './support/camera.ts';

// The whole of it: one call connects and logs in; the connection is kept until the end of the block.
await using target = await exampleCamera({}, 'PORT');
await using camera = await connectCamera(target.address, { ports: target.ports, signal: AbortSignal.timeout(30_000) });

const { modelName, batPercent } = await camera.deviceInfo();
console.log(`${modelName}, battery ${batPercent} %`);

for await (const status of camera.status()) {
  if (status.type === 'state') console.log(`state: ${status.state}`);
  if (status.type === 'state' && status.state === 'CONNECTED') void camera.close();
}
await camera.closed();
console.log('closed');
