import { ConnectionManager } from '@towpath/mesh';
import { examplePeers } from '../support/peers.ts';

await using peers = await examplePeers();
const { config, network, nat, control } = peers;

const { summary } = await nat.detectNat();
console.log(`NAT: ${summary ?? 'not measured yet'}`);
await using _manager = new ConnectionManager(config, network, nat, control);
console.log('✓ Connection manager initialized');
