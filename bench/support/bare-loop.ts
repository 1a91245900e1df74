import { createSocket, type Socket } from 'node:dgram';
import { HERE } from './loopback.ts';

/** The size of a full data packet, and how many of them one acknowledgement is for. */
const DATAGRAM_BYTES = 1_032;
const HEADER_BYTES = 8;
const BATCH = 17;
/** As many packets as the emulated camera has under way: they fit into a default socket buffer. */
const WINDOW = 102;
/** Loss is rare here: after this silence the sender restarts behind the last acknowledgement. */
const STALL_MS = 50;
const BUFFER_BYTES: number = 2 * 1024 * 1024;

const GO = 0xffff_ffff;

/** The least work that sends this many packets: no copies, no channels, hardly any retransmission. */
export async function openBareSender(): Promise<{ port: number; close(): void }> {
  const socket = await openSocket();
  const datagram = Buffer.alloc(DATAGRAM_BYTES, 0x55);
  let peer = 0;
  let total = 0;
  let acknowledged = 0;
  let next = 0;
  let stall: NodeJS.Timeout | undefined;
  const sent = () => {};
  const pump = () => {
    while (next < total && next - acknowledged < WINDOW) {
      // One copy per packet: a buffer that is reused would change before it is sent.
      const packet = Buffer.allocUnsafe(DATAGRAM_BYTES);
      datagram.copy(packet);
      packet.writeUInt32BE(next++, 0);
      socket.send(packet, peer, HERE, sent);
    }
  };
  const again = () => {
    next = acknowledged;
    pump();
    stall = acknowledged < total ? setTimeout(again, STALL_MS) : undefined;
  };
  socket.on('message', (message, from) => {
    const upTo = message.readUInt32BE(0);
    if (upTo === GO) {
      peer = from.port;
      total = message.readUInt32BE(4);
      acknowledged = 0;
      clearTimeout(stall);
      again();
      return;
    }
    acknowledged = Math.max(acknowledged, upTo);
    stall?.refresh();
    if (acknowledged === total) clearTimeout(stall);
    else pump();
  });
  const close = () => {
    clearTimeout(stall);
    socket.close();
  };
  return { port: socket.address().port, close };
}

/** Fetches at least this many bytes from a bare sender; returns the received bytes. */
export async function bareFetch(port: number, bytes: number): Promise<number> {
  const payloadBytes = DATAGRAM_BYTES - HEADER_BYTES;
  const total = BATCH * Math.ceil(bytes / payloadBytes / BATCH);
  const socket = await openSocket();
  let expected = 0;
  const acknowledge = () => {
    const ack = Buffer.allocUnsafe(HEADER_BYTES + 2 * BATCH);
    ack.writeUInt32BE(expected, 0);
    socket.send(ack, port, HERE, () => {});
  };
  await new Promise<void>((resolve) => {
    socket.on('message', (message) => {
      if (message.readUInt32BE(0) !== expected) return;
      expected++;
      if (expected % BATCH === 0) acknowledge();
      if (expected === total) resolve();
    });
    const go = Buffer.alloc(HEADER_BYTES);
    go.writeUInt32BE(GO, 0);
    go.writeUInt32BE(total, 4);
    socket.send(go, port, HERE);
  });
  socket.close();
  return total * payloadBytes;
}

async function openSocket(): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', lookup: (address, _options, done) => done(null, address, 4) });
  await new Promise<void>((resolve) => socket.bind(0, HERE, resolve));
  socket.setRecvBufferSize(BUFFER_BYTES);
  socket.setSendBufferSize(BUFFER_BYTES);
  return socket;
}
