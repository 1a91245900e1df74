/**
 * A PPPP relay in the kernel that gives each client so many bytes per second, and in a day: `node limited-pppp-relay.ts ADDRESS PORT RATE [BYTES]`.
 * It prints how many packets of data the kernel has forwarded and dropped when it gets SIGUSR2.
 */
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { relayPlaneOptions, RelayServer } from '@towpath/pppp/server';
import { NodeSystem, RelayPlane } from '@towpath/splice';

const [address = '', port = '', rate = '', bytes = 'Infinity'] = process.argv.slice(2);
const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
const limits = { clientBytes: { perSecond: Number(rate), burst: Number(rate) }, clientBytesPerDay: Number(bytes) };
const plane = await RelayPlane.open(
  { ...components, system: new NodeSystem() },
  { ...relayPlaneOptions({ limits }), form: 'netdev', addresses: [address] },
);
await RelayServer.listen({ ...components, plane }, { address, port: Number(port), limits });
process.on('SIGUSR2', async () => {
  await plane.readUsage();
  const { packetsOverRate, moved } = plane.stats;
  console.log(JSON.stringify({ packetsOverRate, moved }));
});
console.log('ready');
