import { ParallelConnectionManager } from '@towpath/camera/compat';
import { createLog } from '@towpath/core';
import { exampleCamera } from '../support/camera.ts';
import { failUnreachable } from '../support/failure.ts';

await using camera = await exampleCamera();

// Every record, with its level and scope: [CONNECT], [P2P], [LAN], [RELAY].
const logger = createLog(({ level, scope, message }) => {
  console.log(`${new Date().toISOString()} - [${level.toUpperCase()}] [${scope}] ${message}`);
});

const manager = new ParallelConnectionManager(camera.address, { logger });
const { success, info } = await manager.connectParallel();
if (!success) failUnreachable(info.error);
await info.session.close();
