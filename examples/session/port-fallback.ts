import assert from 'node:assert/strict';
import { DEFAULT_LAN_PORTS, ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

// The camera listens on 32100 only; 40611 is open but does not answer.
await using camera = await exampleCamera({ listenPort: 32_100, deadPorts: [40_611], searchPort: false });

const order: string[] = [];
const manager = new ParallelConnectionManager(camera.address, { destinationPorts: DEFAULT_LAN_PORTS });
const { success, info } = await manager.connectParallel({
  enableLan: false,
  onProgress: ({ type, attempt }) => {
    if (type === 'started') order.push(attempt.label.split(':').at(-1) ?? '');
  },
});
assert(success);
console.log(`Tried in this order: ${order.join(', ')}`);
console.log(`Connected to port ${info.destinationPort}`);
await info.session.close();
