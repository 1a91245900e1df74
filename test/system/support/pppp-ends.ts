/**
 * Both ends of a session through a PPPP relay, in one process: opens it, waits until it is quiet, sends COUNT data messages each
 * way, then CLOSE, and prints what each end got. Arguments: the relay's address and port, COUNT.
 */
import { SystemClock } from '@towpath/core';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { decodeMessage, encodeMessage, type Message } from '@towpath/pppp/codec';

const [address = '', port = '', total = '0'] = process.argv.slice(2);
const UID = 'TEST-000001-BCDEF';
const QUIET_MS = 4_000;
const clock = new SystemClock();
const network = new NodeNetwork();

async function end() {
  const got: Message[] = [];
  const socket = await network.bindUdp({
    receiveBufferBytes: 1 << 24,
    onMessage: (data) => {
      const message = decodeMessage(data);
      if (message.type !== 'malformed') got.push(message as Message);
    },
  });
  return {
    socket,
    got,
    send: (message: Message, to: Endpoint) => socket.send(encodeMessage(message), to),
    count: (type: Message['type']) => got.filter((each) => each.type === type).length,
  };
}

const [client, device] = [await end(), await end()];
client.send({ type: 'RLY_PORT', uid: undefined }, { address, port: Number(port) });
while (client.got.length === 0) await clock.sleep(20);
const { magic, port: session } = client.got[0] as Extract<Message, { type: 'RLY_PORT_ACK' }>;
const relay = { address, port: session };
client.send({ type: 'RLY_PKT', magic, uid: UID, side: 'client' }, relay);
await clock.sleep(100);
device.send({ type: 'RLY_PKT', magic, uid: UID, side: 'device' }, relay);
await clock.sleep(100);
for (const each of [device, client]) each.send({ type: 'ALIVE' }, relay);
await clock.sleep(QUIET_MS);
const data = new Uint8Array(1_000);
for (let index = 0; index < Number(total); index++) {
  for (const each of [client, device]) each.send({ type: 'DRW', channel: 0, index, data }, relay);
  if (index % 10 === 9) await clock.sleep(5);
}
client.send({ type: 'ALIVE' }, relay);
await clock.sleep(500);
client.send({ type: 'CLOSE' }, relay);
await clock.sleep(300);
const seen = (each: typeof client) => ({
  data: each.count('DRW'),
  alive: each.count('ALIVE'),
  close: each.count('CLOSE'),
});
console.log(JSON.stringify({ client: seen(client), device: seen(device) }));
await client.socket.close();
await device.socket.close();
