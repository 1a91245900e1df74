import type { Endpoint, UdpSocket } from '@towpath/net';
import type { SimulatedHost } from '@towpath/net/simulated';
import type { OwnTransportOptions } from '../../src/turn/client/turn-client.ts';
import { TurnAllocation } from '../../src/turn/client/turn-allocation.ts';
import type { AllocateOptions } from '../../src/turn/client/turn-client.ts';
import type { TurnServerOptions } from '../../src/turn/server/options.ts';
import { TurnServer } from '../../src/turn/server/turn-server.ts';
import type { World } from './internet.ts';
import { closeWith, relayHost } from './planes.ts';

export const ALICE = { username: 'alice', password: 'wonderland' };
export const BOB = { username: 'bob', password: 'builder' };

/** A TURN server on a host of its own, for alice and bob; its data plane is that of the test. */
export async function turnServer(
  at: World,
  init: Partial<TurnServerOptions> = {},
): Promise<{ server: TurnServer; host: SimulatedHost }> {
  const host = at.internet.host();
  const { clock, random } = at;
  const { network, plane } = await relayHost(at, { network: host.network, addresses: [host.address] });
  const server = await TurnServer.listen(
    { network, clock, random, plane },
    {
      listeners: [{ address: host.address }, { transport: 'tcp', address: host.address }],
      relay: [{ address: host.address }],
      credentials: { users: { [ALICE.username]: ALICE.password, [BOB.username]: BOB.password } },
      ...init,
    },
  );
  return { server: closeWith(server, plane), host };
}

/** What came out of an allocation or a socket. */
export interface Inbox {
  readonly received: { text: string; from: Endpoint }[];
}

export interface Client extends Inbox {
  readonly allocation: TurnAllocation;
  readonly lost: string[];
  readonly attempts: { id: number; peer: Endpoint }[];
}

/** Allocates from `host` and collects what arrives. */
export async function client(
  at: World,
  host: SimulatedHost,
  server: Endpoint,
  init: Partial<AllocateOptions & OwnTransportOptions> = {},
): Promise<Client> {
  const received: Client['received'] = [];
  const lost: string[] = [];
  const attempts: Client['attempts'] = [];
  const { clock, random } = at;
  const asked = TurnAllocation.connect(
    { network: host.network, clock, random },
    {
      server,
      credentials: ALICE,
      handlers: {
        onData: (data, from) => received.push({ text: Buffer.from(data).toString(), from }),
        onLost: ({ code }) => lost.push(code),
        onConnection: (id, peer) => attempts.push({ id, peer }),
      },
      ...init,
    },
  );
  return { allocation: await clock.runUntil(asked), received, lost, attempts };
}

/** A plain UDP peer. */
export async function peer(
  host: Pick<SimulatedHost, 'network' | 'address'>,
  port = 0,
): Promise<Inbox & { socket: UdpSocket; at: Endpoint }> {
  const received: Inbox['received'] = [];
  const socket = await host.network.bindUdp({
    address: host.address,
    family: host.address.includes(':') ? 6 : 4,
    port,
    onMessage: (data, from) => received.push({ text: Buffer.from(data).toString(), from }),
  });
  return { socket, received, at: socket.local };
}

export function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}
