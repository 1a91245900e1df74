import DHT from 'hyperdht';
import { options, print, serve } from './member.js';

// A port of its own in each run, so that no mapping of an earlier run is there.
const port = 40_000 + Math.floor(Math.random() * 9_000);
const dht = new DHT({ bootstrap: options.bootstrap, port });
await dht.fullyBootstrapped();
const relayThrough = Buffer.from(options.relay, 'hex');
const server = dht.createServer({ relayThrough }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', (data) => socket.write(data));
});
await server.listen();
serve(server.publicKey.toString('hex'), async (target, seen) => {
  const socket = dht.connect(Buffer.from(target, 'hex'), { relayThrough });
  socket.on('error', (error) => print({ error: `${error.code ?? ''} ${error.message}` }));
  let direct = false;
  const look = () => {
    const { remoteHost } = socket.rawStream ?? {};
    if (direct || !remoteHost || remoteHost === options.relayAddress) return;
    direct = true;
    seen.direct();
  };
  socket.once('open', look);
  socket.once('data', () => {
    seen.echo();
    look();
    setInterval(look, 5);
  });
  socket.write('echo');
});
