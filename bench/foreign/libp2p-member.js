/** `over`: "dcutr", a circuit that DCUtR replaces by a TCP connection; "webrtc", a WebRTC connection, signalled over a circuit. */
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2';
import { dcutr } from '@libp2p/dcutr';
import { identify } from '@libp2p/identify';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { webRTC } from '@libp2p/webrtc';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { options, serve, until } from './member.js';

const ECHO = '/towpath-bench-echo/1.0.0';
const webrtc = options.over === 'webrtc';
// Not the same: the member of the attempt before may still be waiting for a direct path.
const port = webrtc ? 4003 : 4002;
const rtcConfiguration = { iceServers: [{ urls: [`stun:${options.stun}:3478`] }] };
const node = await createLibp2p({
  addresses: {
    listen: [`/ip4/0.0.0.0/tcp/${port}`, '/p2p-circuit', ...(webrtc ? ['/webrtc'] : [])],
    // As the owner of a public host would: without it, an address counts only after peers of several networks have confirmed it.
    appendAnnounce: options.open ? [`/ip4/${options.address}/tcp/${port}`] : [],
  },
  transports: [tcp(), circuitRelayTransport(), ...(webrtc ? [webRTC({ rtcConfiguration })] : [])],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ...(webrtc ? {} : { dcutr: dcutr() }) },
});
const anywhere = { runOnLimitedConnection: true };
await node.handle(
  ECHO,
  async (stream) => {
    for await (const chunk of stream) stream.send(chunk);
  },
  anywhere,
);
await node.dial(multiaddr(options.relay));
const own = (part) => node.getMultiaddrs().filter((each) => each.toString().includes(part));
await until(() => own(webrtc ? '/webrtc' : '/p2p-circuit').length > 0, 20);
// What is of use to a member elsewhere: an address on the internet if there is one, and the circuit or what is signalled over it.
const addresses = webrtc
  ? own('/webrtc')
  : [...(options.open ? own(`/ip4/${options.address}/tcp/${port}`) : []), ...own('/p2p-circuit')];
serve(addresses.join(), async (target, seen) => {
  const id = target.split('/').at(-1);
  const isDirect = (each) => each.remotePeer.toString() === id && each.limits === undefined;
  const connection = await node.dial(target.split(',').map((each) => multiaddr(each)));
  const stream = await connection.newStream(ECHO, anywhere);
  stream.send(new TextEncoder().encode('echo'));
  for await (const _ of stream) break;
  seen.echo();
  await until(() => node.getConnections().some(isDirect), 5);
  seen.direct();
});
