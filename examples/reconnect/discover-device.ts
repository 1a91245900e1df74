import { CameraClient } from '@towpath/camera/compat';
import { createLog } from '@towpath/core';
import { exampleCamera } from '../support/camera.ts';

await using target = await exampleCamera();
const logger = createLog(({ level, scope, message }) => {
  if (level !== 'debug' && level !== 'trace') console.log(`[${scope}] ${message}`);
});

// First connection: the system assigns the local port, which is read from the socket after it is bound.
let sourcePort: number | undefined;
{
  await using client = new CameraClient(target.address, { logger });
  if (!(await client.discoverDevice())) throw client.lastError;
  sourcePort = client.activePort;
  console.log(`The system assigned local port ${sourcePort}`);
  console.log(`Logged in: ${await client.login()}`);
}

// Another client, or another process: the same port again.
await using client = new CameraClient(target.address, { sourcePort, logger });
console.log(`Connected: ${await client.connectWithRetries()}`);
console.log(`Local port ${client.activePort}, as before: ${client.activePort === sourcePort}`);
