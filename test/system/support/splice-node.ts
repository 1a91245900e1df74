/**
 * One end of a tunnel whose data plane moves between hop and splice when told so, over one path. Argument: JSON, see
 * {@link SpliceNodeOptions}. Each line of standard input is a {@link SpliceOrder}, answered by a line of standard output.
 */
import { createInterface } from 'node:readline';
import { SystemClock, SystemRandom } from '@towpath/core';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { DataPlane, NetworkManager, type PeerPath } from '../../../packages/mesh/src/index.ts';
import { PathSocket } from '../../../packages/mesh/src/paths/path-socket.ts';

export interface SpliceNodeOptions {
  interfaceName: string;
  stateFolder: string;
  /** Hex. */
  privateKey: string;
  peerKey: string;
  address: string;
  peerAddress: string;
  family: 4 | 6;
  /** Of the path socket; NATs keep it. */
  port: number;
  remote: Endpoint;
}

/** `splice`: the kernel carries the peer. `twice`: every datagram is sent on two paths. `moves`: there and back so often, at random moments. */
export type SpliceOrder = 'splice' | 'twice' | 'state' | { moves: number; pauseMs: number };

export interface SpliceState {
  kind: string;
  reason: string;
  /** Times that the splice, and then the hop, was reached. */
  toSplice: number;
  toHop: number;
  /** What looked like STUN on the path socket. */
  probes: number;
  /** Datagrams of WireGuard that the hop has taken from paths. */
  received: number;
}

const options: SpliceNodeOptions = JSON.parse(process.argv[2]!);
const clock = new SystemClock();
const random = new SystemRandom();
const network = new NodeNetwork();
const components = { network, clock, random };
const { peerAddress, remote, family } = options;
const publicKey = Buffer.from(options.peerKey, 'hex');
const machine = new NetworkManager(components, {
  interfaceName: options.interfaceName,
  privateKey: Buffer.from(options.privateKey, 'hex'),
  address: options.address,
  stateFolder: options.stateFolder,
  hostsPath: false,
});
await machine.initialize();
const socket = await PathSocket.open(network, family, options.port);
const plane = await DataPlane.open(
  { ...components, wireGuard: machine, splice: machine.splice },
  { publicKey, sendEcho: () => machine.echo.touch(peerAddress), settleMs: 0, yieldsHandshake: options.port % 2 === 1 },
);
await machine.addPeer({ publicKey, endpoint: plane.hopEndpoint, allowedIps: [`${peerAddress}/32`] });
socket.receiveFrom(remote, (datagram) => plane.deliver(datagram));
let probes = 0;
socket.stun.onOther(() => {
  probes++;
  return true;
});
const path: PeerPath = {
  id: 'plain',
  kind: 'p2p',
  family,
  local: socket.local,
  remote,
  relay: undefined,
  isPlain: true,
  send: (datagram) => socket.send(datagram, remote),
};
/** The kernel cannot carry it, so the hop does. */
const framed: PeerPath = { ...path, id: 'framed', isPlain: false };
let toSplice = 0;
let toHop = 0;
let reached = Promise.withResolvers<void>();
plane.events.on('changed', ({ kind, reason }) => {
  if (kind === 'splice') toSplice++;
  if (reason === 'path-not-plain') toHop++;
  if (kind === 'splice' || reason === 'path-not-plain') reached.resolve();
});
plane.setPaths(framed);
// A Binding indication keeps NATs and firewalls open for the path socket, as checks do.
const probe = Buffer.from('001100002112a442000102030405060708090a0b', 'hex');
const probing = setInterval(() => socket.send(probe, remote), 200);
const reading = setInterval(() => {
  void machine.peer(publicKey).then((peer) => peer && plane.repair(peer));
}, 1_000);
print();
for await (const line of createInterface({ input: process.stdin })) {
  const order: SpliceOrder = JSON.parse(line);
  if (order === 'splice') await moveTo(path);
  else if (order === 'twice') plane.setPaths(framed, { ...framed, id: 'second' });
  else if (order !== 'state') {
    for (let move = 0; move < order.moves; move++) {
      await clock.sleep(random.next() * order.pauseMs);
      await moveTo(plane.kind === 'splice' ? framed : path);
    }
  }
  print();
}
clearInterval(probing);
clearInterval(reading);
await plane.close();
await socket.close();
await machine.cleanup();

async function moveTo(wanted: PeerPath): Promise<void> {
  reached = Promise.withResolvers();
  plane.setPaths(wanted);
  await reached.promise;
}

function print(): void {
  const state: SpliceState = {
    kind: plane.kind,
    reason: plane.reason,
    toSplice,
    toHop,
    probes,
    received: plane.counters.receivedPackets,
  };
  console.log(JSON.stringify(state));
}
