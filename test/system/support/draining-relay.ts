/**
 * A relay that sends new clients elsewhere when it gets SIGUSR2: `node draining-relay.ts ADDRESS PORT ALTERNATE [kernel]`.
 * User `ann` with password `secret`.
 */
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { NodeSystem, RelayPlane, STUN_PATTERN } from '@towpath/splice';
import { TurnServer } from '@towpath/stun/server';

const [address = '', port = '', alternate = '', dataPlane = 'user'] = process.argv.slice(2);
const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
const tables = { form: 'netdev', addresses: [address], control: [STUN_PATTERN] } as const;
const plane =
  dataPlane === 'kernel' ? await RelayPlane.open({ ...components, system: new NodeSystem() }, tables) : undefined;
const server = await TurnServer.listen(
  { ...components, plane },
  {
    listeners: [
      { address, port: Number(port) },
      { transport: 'tcp', address, port: Number(port) },
    ],
    relay: [{ address }],
    credentials: { users: { ann: 'secret' } },
    // The addresses of the lab are for documentation (RFC 5737).
    peers: { allowScopes: ['documentation'] },
  },
);
process.on('SIGUSR2', () => {
  server.drain({ address: alternate, port: Number(port) });
  console.log(`draining, ${server.stats.allocations} allocations`);
});
console.log('ready');
