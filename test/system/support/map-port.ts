/**
 * Maps a UDP port at the gateway until it is asked to end: `map-port.ts PORT LIFETIME_S [no-upnp]`. Says `mapped JSON`,
 * `changed JSON`, `lost CODE`, `heard TEXT`, `removed` or `not removed`, and `failed MESSAGE`.
 */
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { PortMapper } from '@towpath/portmap';

const [internalPort = 0, lifetimeS = 0] = process.argv.slice(2, 4).map(Number);
const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
const socket = await components.network.bindUdp({
  port: internalPort,
  onMessage: (data) => console.log(`heard ${Buffer.from(data).toString().trim()}`),
});
const mapper = new PortMapper(components, { upnp: process.argv[4] !== 'no-upnp' });
const mapping = await mapper
  .map({ protocol: 'udp', internalPort, lifetimeMs: lifetimeS * 1_000 })
  .catch((error: Error) => {
    console.log(`failed ${error.message}`);
    process.exit(0);
  });
mapping.events.on('changed', (granted) => console.log(`changed ${JSON.stringify(granted)}`));
mapping.events.on('lost', ({ code }) => console.log(`lost ${code}`));
process.once('SIGTERM', async () => {
  const removed = await mapping.close();
  await socket.close();
  console.log(removed ? 'removed' : 'not removed');
});
// Last: whoever reads it may end this program at once.
console.log(`mapped ${JSON.stringify(mapping.current)}`);
