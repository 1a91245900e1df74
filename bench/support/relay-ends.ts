import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { decodeMessage, encodeMessage, type Message } from '@towpath/pppp/codec';
import { HERE } from './loopback.ts';

/** Both ends of a forwarder: what is sent at `source` must arrive at `sink`. */
export interface Flow {
  /** Connected to the forwarder, which makes sending cheaper. */
  source: Socket;
  sink: Socket;
}

const BUFFER_BYTES: number = 4 * 1024 * 1024;
const REPEAT_MS = 200;
const TRIES = 50;

type Wanted<T> = (message: ReturnType<typeof decodeMessage>, from: RemoteInfo) => T | undefined;

/** A socket with large buffers. */
export async function openEnd(address: string = HERE): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', lookup: (name, _options, done) => done(null, name, 4) });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port: 0, address, exclusive: true }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
  socket.setRecvBufferSize(BUFFER_BYTES);
  socket.setSendBufferSize(BUFFER_BYTES);
  return socket;
}

/** The two ends of a flow through the program that listens on this port. */
export async function openFlow(port: (flow: Flow) => number | Promise<number>): Promise<Flow> {
  const flow = { source: await openEnd(), sink: await openEnd() };
  const to = await port(flow);
  await new Promise<void>((resolve) => flow.source.connect(to, HERE, resolve));
  return flow;
}

export function closeFlows(flows: readonly Flow[]): void {
  for (const { source, sink } of flows) {
    source.close();
    sink.close();
  }
}

/** A separate device for each session. */
export function uidOf(n: number): string {
  return `TEST-${String(n).padStart(6, '0')}-BENCH`;
}

/** Reserves a session at the relay's base port, as clients do. */
export function reserve(client: Socket, basePort: number, uid: string): Promise<{ magic: number; port: number }> {
  return ask(client, { type: 'RLY_PORT', uid }, basePort, (message) =>
    message.type === 'RLY_PORT_ACK' ? { magic: message.magic, port: message.port } : undefined,
  );
}

/** Brings both ends into a reserved session; done when both were told and each has received an ALIVE of the other. */
export async function joinSession(
  { client, device }: { client: Socket; device: Socket },
  uid: string,
  { magic, port }: { magic: number; port: number },
): Promise<void> {
  const ready: Wanted<true> = (message, from) =>
    (message.type === 'RLY_RDY' && message.uid === uid && from.port === port) || undefined;
  await Promise.all([
    ask(client, { type: 'RLY_PKT', magic, uid, side: 'client' }, port, ready),
    ask(device, { type: 'RLY_PKT', magic, uid, side: 'device' }, port, ready),
  ]);
  const alive: Wanted<true> = (message, from) => (message.type === 'ALIVE' && from.port === port) || undefined;
  await Promise.all([ask(client, { type: 'ALIVE' }, port, alive), ask(device, { type: 'ALIVE' }, port, alive)]);
}

/** Repeats a message until the wanted answer arrives. */
function ask<T>(socket: Socket, message: Message, port: number, wanted: Wanted<T>): Promise<T> {
  const datagram = encodeMessage(message);
  return new Promise((resolve, reject) => {
    let tries = 0;
    const end = () => {
      clearInterval(timer);
      socket.off('message', onMessage);
    };
    const announce = () => {
      if (tries++ < TRIES) {
        socket.send(datagram, port, HERE);
        return;
      }
      end();
      reject(new Error(`${message.type} to port ${port} was not answered.`));
    };
    const onMessage = (data: Uint8Array, from: RemoteInfo) => {
      const found = wanted(decodeMessage(data), from);
      if (found === undefined) return;
      end();
      resolve(found);
    };
    const timer = setInterval(announce, REPEAT_MS);
    socket.on('message', onMessage);
    announce();
  });
}
