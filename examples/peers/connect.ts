import { ConnectionManager } from '@towpath/mesh';
import { examplePeers } from '../support/peers.ts';

await using peers = await examplePeers();
const { config, network, nat, control, partyId, peerId } = peers;
await using manager = new ConnectionManager(config, network, nat, control);

const success = await manager.connectToPeer(partyId, peerId);
if (success) console.log('Connected to peer!');
