/**
 * One end of a session through a PPPP relay: `node pppp-end.ts ADDRESS PORT [MAGIC]`. Without MAGIC it is the client, reserves a session at the
 * relay's base port and prints `{"magic","port"}`; with it, it is the device, and PORT that of the session. Then it does what lines on its
 * standard input say, each answered with a line: `introduce`, `alive`, `send COUNT`, and `seen`: datagrams of data by
 * their source, and how often CLOSE.
 */
import { createInterface } from 'node:readline';
import { SystemClock } from '@towpath/core';
import { type Endpoint, formatEndpoint, NodeNetwork } from '@towpath/net';
import { decodeMessage, encodeMessage, type Message } from '@towpath/pppp/codec';

const UID = 'TEST-000001-BCDEF';
const [address = '', port = '', known] = process.argv.slice(2);
const clock = new SystemClock();
const seen: Record<string, number> = {};
const reserved = Promise.withResolvers<Extract<Message, { type: 'RLY_PORT_ACK' }>>();
const socket = await new NodeNetwork().bindUdp({
  receiveBufferBytes: 1 << 24,
  onMessage: (data, from) => {
    const message = decodeMessage(data);
    if (message.type === 'RLY_PORT_ACK') reserved.resolve(message);
    const key = message.type === 'DRW' ? formatEndpoint(from) : message.type;
    if (message.type === 'DRW' || message.type === 'CLOSE') seen[key] = (seen[key] ?? 0) + 1;
  },
});
let session = { magic: Number(known), port: Number(port) };
const say = (message: Message, to: Endpoint = { address, port: session.port }) =>
  socket.send(encodeMessage(message), to);
if (known === undefined) {
  say({ type: 'RLY_PORT', uid: undefined });
  const { magic, port: reservedPort } = await reserved.promise;
  session = { magic, port: reservedPort };
}
console.log(JSON.stringify(session));
for await (const line of createInterface({ input: process.stdin })) {
  const [what, count] = line.split(' ');
  if (what === 'introduce')
    say({ type: 'RLY_PKT', ...session, uid: UID, side: known === undefined ? 'client' : 'device' });
  else if (what === 'alive') say({ type: 'ALIVE' });
  for (let index = 0; index < Number(count ?? 0); index++) {
    say({ type: 'DRW', channel: 0, index, data: new Uint8Array(1_000) });
    if (index % 10 === 9) await clock.sleep(5);
  }
  await clock.sleep(200);
  console.log(JSON.stringify(what === 'seen' ? seen : {}));
}
