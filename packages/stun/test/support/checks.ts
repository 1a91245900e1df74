import type { Endpoint, UdpSocket } from '@towpath/net';
import type { SimulatedHost } from '@towpath/net/simulated';
import type { VerifiedPath } from '../../src/checks/candidate-pair.ts';
import { ConnectivityChecks } from '../../src/checks/connectivity-checks.ts';
import type { ConnectivityChecksOptions } from '../../src/checks/options.ts';
import { StunDemultiplexer } from '../../src/checks/stun-demultiplexer.ts';
import { StunTransactions } from '../../src/client/stun-transactions.ts';
import { bindingResult } from '../../src/client/stun-client.ts';
import { Method } from '../../src/message/header.ts';
import type { World } from './internet.ts';

export const A = { localUfrag: 'uA', localPassword: 'password of A, long enough' };
export const B = { localUfrag: 'uB', localPassword: 'password of B, long enough' };

/** The secrets of `own` towards `other`. */
export function secrets(
  own: typeof A,
  other: typeof A,
): { localUfrag: string; localPassword: string; remoteUfrag: string; remotePassword: string } {
  return { ...own, remoteUfrag: other.localUfrag, remotePassword: other.localPassword };
}

export interface CheckingPeer {
  readonly checks: ConnectivityChecks;
  readonly socket: StunDemultiplexer;
  readonly udp: UdpSocket;
  readonly paths: VerifiedPath[];
  readonly reflexive: Endpoint[];
  readonly nominated: VerifiedPath[];
  readonly roles: string[];
  readonly local: Endpoint;
  /** The socket's address as a STUN server sees it. */
  mapped(server: Endpoint): Promise<Endpoint>;
}

/** One side of a pair of peers, on a socket of its own. */
export async function checkingPeer(
  at: World,
  host: SimulatedHost,
  own: typeof A,
  other: typeof A,
  options: Partial<ConnectivityChecksOptions> = {},
): Promise<CheckingPeer> {
  const { clock, random } = at;
  const udp: UdpSocket = await host.network.bindUdp({
    address: host.address,
    onMessage: (data, from) => void socket.receive(data, from),
  });
  const socket = new StunDemultiplexer(udp);
  const paths: VerifiedPath[] = [];
  const reflexive: Endpoint[] = [];
  const nominated: VerifiedPath[] = [];
  const roles: string[] = [];
  const checks = new ConnectivityChecks(
    { socket, clock, random },
    {
      ...secrets(own, other),
      role: own === A ? 'controlling' : 'controlled',
      onPath: (path) => paths.push(path),
      onPeerReflexive: (remote) => reflexive.push(remote),
      onNominated: (path) => nominated.push(path),
      onRoleChange: (role) => roles.push(role),
      ...options,
    },
  );
  const transactions = new StunTransactions({ clock, random, send: (data, to) => socket.send(data, to) });
  socket.onOther((message, from) => transactions.handle(message, from));
  const mapped = async (server: Endpoint) =>
    bindingResult(await clock.runUntil(transactions.request(server, { method: Method.Binding }))).mapped;
  return { checks, socket, udp, paths, reflexive, nominated, roles, local: udp.local, mapped };
}
