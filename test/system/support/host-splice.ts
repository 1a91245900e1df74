/**
 * Opens a splice and obeys lines on standard input: `addOut|addIn|removeOut|removeIn|counters ADDRESS PORT PATHPORT`; answers
 * each with a line of JSON. Arguments: WireGuard's port.
 */
import { createInterface } from 'node:readline';
import { SystemClock, SystemRandom } from '@towpath/core';
import { HostSplice, NodeSystem } from '@towpath/splice';

const components = { system: new NodeSystem(), clock: new SystemClock(), random: new SystemRandom() };
await using splice = await HostSplice.open(components, {
  wireguardPort: Number(process.argv[2]),
  watchIntervalMs: 200,
});
console.log(JSON.stringify({ open: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const [command = '', address = '', port, pathPort] = line.split(' ');
  const peer = { address, port: Number(port), pathPort: Number(pathPort) };
  const method = command as 'addOut' | 'addIn' | 'removeOut' | 'removeIn' | 'counters';
  console.log(JSON.stringify((await splice[method](peer)) ?? splice.state(peer)));
}
