import assert from 'node:assert/strict';
import { ConnectionManager } from '@towpath/mesh';
import { examplePeers } from '../support/peers.ts';

await using peers = await examplePeers();
const { config, network, nat, control, partyId, peerId } = peers;
await using manager = new ConnectionManager(config, network, nat, control);
await manager.connectToPeer(partyId, peerId);

// Removes the peer from WireGuard, deletes the record and stops the monitor; the peer is told.
await manager.disconnectFromPeer(peerId);
assert.equal(await manager.getConnectionStatus(peerId), undefined);
console.log('Disconnected');
