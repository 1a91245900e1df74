import { ParallelConnectionManager } from '@towpath/camera/compat';
import { exampleRelay } from '../support/relay.ts';

await using example = await exampleRelay();

// A camera in another network: it is named by its UID, and has logged in at the relay server.
const manager = new ParallelConnectionManager(example.uid, {
  relayServer: example.relayServer,
  relayPort: example.relayPort,
});

// The relay's port for this session is negotiated with the server.
const { success, info } = await manager.connectParallel({ enableP2p: false, enableLan: false, enableRelay: true });
console.log(success ? `Connected via ${info.winningThread}, relay port ${info.destinationPort}` : info.error);
if (success) await info.session.close();
