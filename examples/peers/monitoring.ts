import { ConnectionManager } from '@towpath/mesh';
import { examplePeers } from '../support/peers.ts';

await using peers = await examplePeers();
const { config, network, nat, control, partyId, peerId } = peers;
await using manager = new ConnectionManager(config, network, nat, control);
await manager.connectToPeer(partyId, peerId);

// Echoes through the tunnel decide: degraded when they are lost or take 200 ms, failed after three tries to reconnect.
const seen = new Promise<void>((resolve) => {
  manager.events.on('changed', ({ what, reason, status }) => {
    if (what !== 'status') return;
    console.log(`${status.status} (${reason})`);
    if (status.status === 'degraded') peers.setReachable(true);
    if (status.status === 'connected') resolve();
  });
});
peers.setReachable(false);
await seen;
