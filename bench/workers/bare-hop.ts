/** The least that a hop does: two sockets, datagrams of one leave from the other, with their own system calls. */
import { createSocket } from 'node:dgram';

export interface BareHopTask {
  /** Loopback port that WireGuard sends to, and the port that it listens on. */
  local: number;
  wireGuard: number;
  /** Port towards the peer, and where the peer is. */
  path: number;
  peer: { address: string; port: number };
}

const BUFFER_BYTES = 4 * 1024 * 1024;
const HERE = '127.0.0.1';

const { local, wireGuard, path, peer }: BareHopTask = JSON.parse(process.argv[2] ?? '{}');
// An address needs no look-up.
const lookup = (address: string, _options: unknown, done: (error: null, address: string, family: number) => void) =>
  done(null, address, 4);
const options = { type: 'udp4', lookup, recvBufferSize: BUFFER_BYTES, sendBufferSize: BUFFER_BYTES } as const;
const inner = createSocket(options);
const outer = createSocket(options);
inner.on('message', (data) => outer.send(data, peer.port, peer.address, () => {}));
outer.on('message', (data) => inner.send(data, wireGuard, HERE, () => {}));
inner.bind(local, HERE, () => outer.bind(path, () => console.log('ready')));
