/**
 * Asks a TURN server for a relayed address. Arguments: address, port, user name, password. Prints `granted ADDRESS` or
 * `refused: …`.
 */
import { errorMessage, SystemClock, SystemRandom } from '@towpath/core';
import { formatEndpoint, NodeNetwork } from '@towpath/net';
import { TurnAllocation } from '@towpath/stun';

const [address = '', port = '', username = '', password = ''] = process.argv.slice(2);
try {
  const allocation = await TurnAllocation.connect(
    { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() },
    {
      server: { address, port: Number(port) },
      credentials: { username, password },
      handlers: { onData: () => {}, onLost: () => {} },
    },
  );
  console.log(`granted ${formatEndpoint(allocation.relayed[0]!)}`);
  await allocation.close();
} catch (error) {
  console.log(`refused: ${errorMessage(error)}`);
}
