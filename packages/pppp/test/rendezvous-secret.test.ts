import { SeededRandom, VirtualClock } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { expect, test } from 'vitest';
import { decodeMessage, encodeMessage, type Message, PaidInFullBytes } from '../src/index.ts';
import { RendezvousServer } from '../src/rendezvous/rendezvous-server.ts';
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
  const say = (from: Endpoint, message: Message): Message[] => {
    network.deliver(PORT, from, encodeMessage(message, PaidInFullBytes.RLY_REQ));
    return network.take(from.address).map((data) => decodeMessage(data) as Message);
  };
  const device = { address: '192.0.2.9', port: 9 };
  const client = { address: '192.0.2.77', port: 7 };
  const local = { address: '192.168.1.50', port: 41000 };
  say(device, { type: 'DEV_LGN_DSK', uid: UID, natType: 0, version: [4, 0, 0], local, dsk: SECRET });
  const relay = { address: RELAY.address, port: 51234 };
  for (const [dsk, result, invited] of [
    ['guess', 0xfc, 0],
    [SECRET, 0, 1],
  ] as const) {
    const list = say(client, { type: 'LIST_REQ_DSK', uid: UID, dsk });
    expect(list).toEqual([{ type: 'LIST_REQ_ACK', relays: [RELAY] }]);
    expect(say(client, { type: 'RLY_REQ', uid: UID, relay, magic: 7 })[0]).toEqual({ type: 'RLY_REQ_ACK', result });
    expect(network.take(device.address)).toHaveLength(invited);
  }
  expect(server.metrics.connectsRefused).toBe(1);
});
