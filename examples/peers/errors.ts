import { ConnectionError, ConnectionManager } from '@towpath/mesh';
import { examplePeers } from '../support/peers.ts';

await using peers = await examplePeers();
const { config, network, nat, control, partyId } = peers;
await using manager = new ConnectionManager(config, network, nat, control);

try {
  await manager.connectToPeer(partyId, 'invalid_peer');
} catch (error) {
  if (!(error instanceof ConnectionError)) throw error;
  console.log(`Connection failed: ${error.message} (${error.code})`);
}
