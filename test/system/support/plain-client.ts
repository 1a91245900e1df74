/**
 * A client of a TURN relay that asks for plain relaying to one peer. Prints a line of JSON when it is verified, then obeys
 * lines on standard input: `send COUNT BYTES PER_SECOND`, `received`, `icmp`, `close`. Arguments: the relay's address and port, user,
 * password, the peer's address and port.
 */
import { createInterface } from 'node:readline';
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { TurnAllocation } from '@towpath/stun';

const [server = '', port = '', username = '', password = '', peerAddress = '', peerPort = ''] = process.argv.slice(2);
const clock = new SystemClock();
const random = new SystemRandom();
const peer = { address: peerAddress, port: Number(peerPort) };
const family = server.includes(':') ? 6 : 4;
const received: Record<string, number> = {};
const icmp: object[] = [];
const socket = await new NodeNetwork().bindUdp({ family, receiveBufferBytes: 1 << 24, onMessage() {} });
const allocation = await TurnAllocation.open(
  { clock, random, socket },
  {
    server: { address: server, port: Number(port) },
    credentials: { username, password },
    family: peerAddress.includes(':') ? 6 : 4,
    handlers: {
      onData: (_data, { address, port: from }) => {
        received[`${address}:${from}`] = (received[`${address}:${from}`] ?? 0) + 1;
      },
      onIcmpError: (from, { type, code }) => icmp.push({ ...from, type, code }),
    },
  },
);
const verified = Promise.withResolvers<void>();
const path = await allocation.openPlain(peer, { onChange: () => verified.resolve() });
if (path !== undefined) await verified.promise;
print({ relayed: allocation.relayed[0], plain: path?.remote, local: socket.local });

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count = '0', bytes = '0', perSecond = '1'] = line.split(' ');
  if (command === 'send') print({ tookS: await send(Number(count), Number(bytes), Number(perSecond)) });
  else if (command === 'received') print(received);
  else if (command === 'icmp') print(icmp);
  else if (command === 'close') break;
}
await allocation.close();
await socket.close();

async function send(count: number, bytes: number, perSecond: number): Promise<number> {
  const data = new Uint8Array(bytes).fill(0x45);
  const startMs = clock.now();
  for (let sent = 0; sent < count; ) {
    const due = Math.min(count, Math.ceil(((clock.now() - startMs) * perSecond) / 1_000) + 1);
    for (; sent < due; sent++) allocation.send(data, peer);
    await clock.sleep(1);
  }
  return (clock.now() - startMs) / 1_000;
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
