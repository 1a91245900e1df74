import { ParallelConnectionManager } from '@towpath/camera/compat';
import { createLog } from '@towpath/core';
import { exampleCamera } from '../support/camera.ts';

await using camera = await exampleCamera();

const logger = createLog(({ level, scope, message }) => console.log(`[${level.toUpperCase()}] [${scope}] ${message}`));

const manager = new ParallelConnectionManager(camera.address, {
  destinationPorts: [40611, 32100, 32108],
  maxConnectionTime: 30,
  logger,
});

const { success, info } = await manager.connectParallel({
  enableP2p: true, // directly
  enableLan: true, // LAN search and the camera's ports
  enableRelay: false, // needs relayServer, see relay-server.ts
});

if (success) {
  console.log(`✓ Connected via ${info.winningThread}`);
  console.log(`  Local port: ${info.port}`);
  console.log(`  Target port: ${info.destinationPort}`);
  console.log(`  Time: ${info.elapsedTime.toFixed(2)}s`);
  await info.session.close();
} else {
  console.error(`✗ Connection failed: ${info.error}`);
  process.exitCode = 3;
}
