import { SystemClock, SystemRandom } from '@towpath/core';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, type Message } from '../src/codec/index.ts';
import { RelayServer, RendezvousServer } from '../src/server/index.ts';

const UID = 'TEST-000001-BCDEF';
const address = '127.0.0.1';

/** A real socket that waits for the next message of a type. */
async function endOn(network: NodeNetwork) {
  const queue: Uint8Array[] = [];
  let wake = () => {};
  const socket = await network.bindUdp({
    address,
    onMessage: (data) => {
      queue.push(new Uint8Array(data));
      wake();
    },
  });
  const next = async (): Promise<Uint8Array> => {
    while (queue.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return queue.shift()!;
  };
  return {
    socket,
    next,
    send: (to: Endpoint, message: Message) => socket.send(encodeMessage(message), to),
    async wait<T extends Message['type']>(type: T): Promise<Extract<Message, { type: T }>> {
      for (;;) {
        const message = decodeMessage(await next());
        if (message.type === type) return message as Extract<Message, { type: T }>;
      }
    },
  };
}

describe('rendezvous and relay on real sockets (A7)', () => {
  test('bring a client and a device together from HELLO to relayed bytes', async () => {
    const network = new NodeNetwork();
    const components = { network, clock: new SystemClock(), random: new SystemRandom() };
    await using relay = await RelayServer.listen(components, { address, port: 0, sessionPorts: 2 });
    const relays = [relay.endpoint];
    await using rendezvous = await RendezvousServer.listen(components, { address, ports: [0, 0], relays });
    const at = rendezvous.endpoints[0]!;
    const device = await endOn(network);
    const client = await endOn(network);

    device.send(at, { type: 'DEV_LGN', uid: UID, natType: 0, version: [4, 0, 0], local: device.socket.local });
    expect((await device.wait('DEV_LGN_ACK')).result).toBe(0);
    client.send(at, { type: 'HELLO' });
    expect((await client.wait('HELLO_ACK')).address).toEqual(client.socket.local);
    client.send(at, { type: 'P2P_REQ', uid: UID, local: client.socket.local });
    expect((await client.wait('PUNCH_TO')).address).toEqual(device.socket.local);
    expect((await device.wait('PUNCH_TO')).address).toEqual(client.socket.local);

    client.send(at, { type: 'LIST_REQ1', uid: UID });
    const [base] = (await client.wait('LIST_REQ_ACK')).relays;
    client.send(base!, { type: 'RLY_HELLO' });
    await client.wait('RLY_HELLO_ACK');
    client.send(base!, { type: 'RLY_PORT', uid: UID });
    const { magic, port } = await client.wait('RLY_PORT_ACK');
    client.send(at, { type: 'RLY_REQ', uid: UID, relay: { address, port }, magic });
    const invitation = await device.wait('RLY_TO');
    expect(invitation).toEqual(await client.wait('RLY_TO'));
    client.send(invitation.relay!, { type: 'RLY_PKT', magic, uid: UID, side: 'client' });
    device.send(invitation.relay!, { type: 'RLY_PKT', magic, uid: UID, side: 'device' });
    await Promise.all([client.wait('RLY_RDY'), device.wait('RLY_RDY')]);

    const bytes = new SystemRandom().bytes(1032);
    device.socket.send(bytes, invitation.relay!);
    expect(await client.next()).toEqual(bytes);
    client.socket.send(bytes.subarray(0, 99), invitation.relay!);
    expect(await device.next()).toEqual(bytes.slice(0, 99));
    await Promise.all([client.socket.close(), device.socket.close()]);
  });

  test('serve a TCP port beside each UDP port, of the same number', async () => {
    const network = new NodeNetwork();
    const components = { network, clock: new SystemClock(), random: new SystemRandom() };
    await using relay = await RelayServer.listen(components, { address, port: 0, sessionPorts: 1 });
    await using rendezvous = await RendezvousServer.listen(components, { address, ports: [0] });
    expect(relay.tcpEndpoint).toEqual(relay.endpoint);
    expect(rendezvous.tcpEndpoint).toEqual(rendezvous.endpoints[0]);
  });
});
