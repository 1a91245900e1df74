import { ConnectionManager } from '@towpath/mesh';
import { natKinds } from '@towpath/net/simulated';
import { examplePeers } from '../support/peers.ts';

// NATs that no direct path crosses, and a relay that is far away.
await using peers = await examplePeers({ nat: natKinds.symmetricRandom, relayDelayMs: 60 });
const { config, network, nat, control, partyId, peerId } = peers;
await using manager = new ConnectionManager(config, network, nat, control);
await manager.connectToPeer(partyId, peerId);

/** The relayed path in use, as it was measured. */
function current() {
  return manager.connections
    .get(peerId)
    ?.paths.status()
    .find(({ role }) => role === 'current');
}

const before = current();
console.log(`Current latency: ${before?.rttMs?.toFixed(0)} ms`);

// Both ends measure the new relay, agree on it, and move together: neither moves alone.
const moved = new Promise<void>((resolve) => {
  manager.events.on('changed', ({ what, reason }) => {
    if (what === 'path' && reason === 'agreed') resolve();
  });
});
await peers.addRelay('relay2', 5);
console.log('Found alternative relay: relay2');
await moved;

const after = current();
const gain = 1 - (after?.rttMs ?? 0) / (before?.rttMs ?? 1);
console.log(`✓ Switched to better relay: ${after?.rttMs?.toFixed(0)} ms (improved by ${(gain * 100).toFixed(1)} %)`);
