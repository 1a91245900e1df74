import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { expect, test } from 'vitest';
import { decodeMessage, encodeMessage, type Message, PaidInFullBytes } from '../src/codec/index.ts';
import { RendezvousServer } from '../src/rendezvous/server/rendezvous-server.ts';
import { World } from './connect-world.ts';
import { StubNetwork } from './stub-network.ts';

const UID = 'TEST-000001-BCDEF';
const PORT = 32100;
const RELAY = { address: '198.51.100.7', port: 32110 };
const SECRET = 'open-sesame';

test('refuses the relay to a client that gave a wrong secret, until it gives the right one (A7)', async () => {
  const network = new StubNetwork();
  await using server = await RendezvousServer.listen(
    { network, clock: new VirtualClock(), random: new SeededRandom(3) },
    { tcpPort: false, ports: [PORT], relays: [RELAY], deviceSecret: () => SECRET },
  );
  const exchange = (from: Endpoint, message: Message): Message[] => {
    network.deliver(PORT, from, encodeMessage(message, PaidInFullBytes.RLY_REQ));
    return network.take(from.address).map((data) => decodeMessage(data) as Message);
  };
  const device = { address: '192.0.2.9', port: 9 };
  const client = { address: '192.0.2.77', port: 7 };
  const local = { address: '192.168.1.50', port: 41000 };
  exchange(device, { type: 'DEV_LGN_DSK', uid: UID, natType: 0, version: [4, 0, 0], local, dsk: SECRET });
  const relay = { address: RELAY.address, port: 51234 };
  for (const [dsk, result, invited] of [
    ['guess', 0xfc, 0],
    [SECRET, 0, 1],
  ] as const) {
    const list = exchange(client, { type: 'LIST_REQ_DSK', uid: UID, dsk });
    expect(list).toEqual([{ type: 'LIST_REQ_ACK', relays: [RELAY] }]);
    expect(exchange(client, { type: 'RLY_REQ', uid: UID, relay, magic: 7 })[0]).toEqual({
      type: 'RLY_REQ_ACK',
      result,
    });
    expect(network.take(device.address)).toHaveLength(invited);
  }
  expect(server.metrics.connectsRefused).toBe(1);
});

test.each(['udp', 'tcp'] as const)(
  'a client that knows the secret is relayed over %s where clients need it, one that does not is refused (A8)',
  async (transport) => {
    const world = await World.make({ rendezvous: { deviceSecret: () => SECRET, clientsNeedSecret: true } });
    await world.startDevice({}, { secret: SECRET });
    for (const secret of [undefined, 'guess']) {
      const refused = world.byRelay({ transport, ...(secret === undefined ? {} : { secret }) });
      await expect(world.clock.runUntil(refused)).rejects.toMatchObject({ code: 'wrong-secret' });
    }
    expect(world.sessions).toEqual([]);
    const found = await world.timed(world.byRelay({ transport, secret: SECRET }));
    // Relays that the user names are no way around it, and no hindrance.
    const relays = world.relays.map(({ endpoint }) => ({ address: world.relayHosts[0]!.address, port: endpoint.port }));
    const named = await world.timed(world.byRelay({ transport, secret: SECRET, relays }));
    expect(await world.end(found.session, named.session)).toEqual({ sockets: 0, timers: 0 });
  },
);

test('a client is told when several devices claim the UID, once, and is connected to the first (A8)', async () => {
  const world = await World.make({ servers: 1 });
  await world.startDevice();
  const host = world.internet.host();
  const login: Message = { type: 'DEV_LGN', uid: UID, natType: 0, version: [4, 0, 0], local: undefined };
  const socket = await host.network.bindUdp({ onMessage: () => {} });
  for (let i = 0; i < 3; i++) {
    socket.send(encodeMessage(login), world.servers[0]!);
    await world.clock.advance(1_000);
  }
  await socket.close();
  const told: Endpoint[] = [];
  const onContested = (server: Endpoint) => told.push(server);
  const direct = await world.timed(world.byRendezvous({ onContested }));
  const relayed = await world.timed(world.byRelay({ onContested }));
  expect(told).toEqual([world.servers[0], world.servers[0]]);
  expect(direct.session.peer.address).toBe(world.deviceNat.externalAddress);
  expect(await world.end(direct.session, relayed.session)).toEqual({ sockets: 0, timers: 0 });
});
