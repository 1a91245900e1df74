/** Prints what RFC 5780's tests say of the network that this process is in: `discover-nat.ts SERVER:PORT`. */
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork, parseEndpoint } from '@towpath/net';
import { discoverNat } from '@towpath/stun';

const server = parseEndpoint(process.argv[2] ?? '');
if (!server.ok) throw new Error('It takes the STUN server as ADDRESS:PORT.');
const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
const found = await discoverNat(components, { servers: [server.endpoint] });
console.log(JSON.stringify(found));
