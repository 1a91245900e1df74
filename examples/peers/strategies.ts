import { ConnectionManager, type ConnectionConfig } from '@towpath/mesh';
import { natKinds, type NatOptions } from '@towpath/net/simulated';
import { examplePeers } from '../support/peers.ts';

async function strategyFor(nat: NatOptions, options: Partial<ConnectionConfig> = {}): Promise<string> {
  await using peers = await examplePeers({ nat });
  const { config, network, control, partyId, peerId } = peers;
  await using manager = new ConnectionManager({ ...config, ...options }, network, peers.nat, control);
  await manager.connectToPeer(partyId, peerId);
  const status = await manager.getConnectionStatus(peerId);
  return `${status?.strategy} (${status?.relayReason ?? status?.pathReason})`;
}

// Compatible NATs: direct. NATs that choose a new random port for each destination: through a relay, which always works.
console.log(`Port-restricted NATs: ${await strategyFor(natKinds.portRestricted, { policy: 'direct-only' })}`);
console.log(`Symmetric NATs: ${await strategyFor(natKinds.symmetricRandom)}`);
