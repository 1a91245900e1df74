/** A DHT of its own, one node on each address, as in hyperdht's `createTestnet`; the first host also relays. */
import relay from 'blind-relay';
import DHT from 'hyperdht';
import { options, print } from './member.js';

const PORT = 49737;
const [first, ...others] = options.addresses;
const bootstrap = [{ host: first, port: PORT }];
const nodes = [DHT.bootstrapper(PORT, first, { host: first })];
await nodes[0].fullyBootstrapped();
for (const host of others) {
  const node = new DHT({ bootstrap, ephemeral: false, firewalled: false, host, port: PORT });
  await node.fullyBootstrapped();
  nodes.push(node);
}
const dht = new DHT({ bootstrap, host: options.relay, ephemeral: false, firewalled: false, port: PORT });
await dht.fullyBootstrapped();
const relaying = new relay.Server({ createStream: (settings) => dht.createRawStream({ ...settings, framed: true }) });
const server = dht.createServer((socket) => {
  socket.on('error', () => {});
  relaying.accept(socket, { id: socket.remotePublicKey }).on('error', () => {});
});
await server.listen();
print({ ready: { bootstrap, relay: server.publicKey.toString('hex') } });
