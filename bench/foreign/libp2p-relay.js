import { circuitRelayServer } from '@libp2p/circuit-relay-v2';
import { identify } from '@libp2p/identify';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { options, print } from './member.js';

const address = `/ip4/${options.address}/tcp/4001`;
const node = await createLibp2p({
  // Without it, an address counts only after peers of several networks have confirmed it.
  addresses: { listen: [address], announce: [address] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), relay: circuitRelayServer({ reservations: { maxReservations: 1000 } }) },
});
print({ ready: node.getMultiaddrs()[0].toString() });
