import { ConnectionManager } from '@towpath/mesh';
import { examplePeers } from '../support/peers.ts';

await using peers = await examplePeers();
const { config, network, nat, control, partyId, peerId } = peers;
await using manager = new ConnectionManager(config, network, nat, control);
await manager.connectToPeer(partyId, peerId);

const status = await manager.getConnectionStatus(peerId);
if (status) {
  console.log(`Latency: ${status.latencyMs?.toFixed(0)} ms`);
  console.log(`Strategy: ${status.strategy}`);
  console.log(`${status.virtualIp}, ${status.status}, since ${status.connectedAt}`);
}
