import { createServer, type Server, type Socket } from 'node:net';
import { NodeNetwork } from '@towpath/net';
import { encodeMessage, encodeTcpFrame, type Message } from '@towpath/pppp/codec';
import { afterEach, describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';

const HERE = '127.0.0.1';
const UID = 'TEST-000001-BCDEF';
/** Seconds that a command may take to connect. */
const TIMEOUT_S = 2;
/** What a command may take beyond its limit on a machine with other work, s. */
const LATE_S = 6;
/** What a command may hold at most while it is sent data without end, MiB. */
const GROWTH_MIB = 300;

const framed = (message: Message) => encodeTcpFrame(encodeMessage(message));

/** Sends a piece again and again, as fast as it is taken. */
function endless(socket: Socket, piece: Uint8Array): void {
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.on('drain', more);
  more();
}

type Behave = (socket: Socket) => void;

const MISBEHAVIOUR: Readonly<Record<string, Behave>> = {
  'never answers': () => {},
  'closes at once': (socket) => socket.destroy(),
  'closes after the request': (socket) => void socket.once('data', () => socket.end()),
  'answers with garbage': (socket) => void socket.once('data', () => socket.write(Buffer.alloc(4_096, 0xe5))),
  'answers with HTTP': (socket) => void socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
  'closes in the middle of a frame': (socket) => void socket.end(framed({ type: 'RLY_HELLO_ACK' }).subarray(0, 9)),
  'stops in the middle of a frame': (socket) => void socket.write(framed({ type: 'RLY_HELLO_ACK' }).subarray(0, 9)),
};

const repeated = (frame: Uint8Array) => Buffer.concat(Array.from({ length: 50 }, () => frame));

const ENDLESS: Readonly<Record<string, Uint8Array>> = {
  garbage: Buffer.alloc(65_536, 0xe5),
  'frames of garbage': repeated(encodeTcpFrame(Buffer.alloc(1_000, 7))),
  'lists of relays': repeated(
    framed({
      type: 'LIST_REQ_ACK',
      relays: Array.from({ length: 8 }, (_, at) => ({ address: '192.0.2.1', port: 1_000 + at })),
    }),
  ),
};

describe('a camera through a server that misbehaves over TCP (A1, C14)', { timeout: 60_000 }, () => {
  const servers = new Set<Server>();
  const sockets = new Set<Socket>();
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
  });

  async function listen(behave: (socket: Socket) => void): Promise<{ at: string; connections: () => number }> {
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      sockets.add(socket);
      socket.on('error', () => {});
      socket.resume();
      behave(socket);
    });
    servers.add(server);
    await new Promise<void>((resolve) => {
      server.listen(0, HERE, resolve);
    });
    return { at: `${HERE}:${(server.address() as { port: number }).port}`, connections: () => connections };
  }

  /** Connects by way of such a server. @returns how it ended, and how often the server was dialled */
  async function connect(behave: Behave, limitS: number) {
    using commandLine = new CommandLine();
    const { at, connections } = await listen(behave);
    const startedAt = performance.now();
    const args = ['camera', 'connect', UID, '--servers', at, '--relays', at, '--only', 'relay'];
    const { code, out, err } = await commandLine.run([...args, '--timeout', String(limitS), '--json']);
    const tookS = (performance.now() - startedAt) / 1_000;
    return { code, error: JSON.parse(out.at(-1)!).error, err, tookS, connections: connections() };
  }

  test('is an error of the network within the time limit, and the server is not flooded', async () => {
    const ways = Object.entries(MISBEHAVIOUR);
    const ended = await Promise.all(
      ways.map(async ([name, behave]) => [name, await connect(behave, TIMEOUT_S)] as const),
    );
    for (const [name, { code, error, err, tookS, connections }] of ended) {
      expect([name, code, error.code]).toEqual([name, 3, 'connect-failed']);
      expect(err).not.toMatch(/internal error|^\s+at /m);
      expect([name, tookS < TIMEOUT_S + LATE_S]).toEqual([name, true]);
      expect([name, connections >= 1 && connections < 10]).toEqual([name, true]);
    }
  });

  test.each(Object.entries(ENDLESS))(
    'is one where it sends %s without end, in bounded memory',
    async (_what, piece) => {
      const beforeMib = residentMib();
      const { code, error, err, tookS, connections } = await connect((socket) => endless(socket, piece), 1);
      expect([code, error.code]).toEqual([3, 'connect-failed']);
      expect(err).not.toMatch(/internal error|^\s+at /m);
      expect(tookS).toBeLessThan(1 + LATE_S);
      expect(connections).toBeLessThan(10);
      expect(residentMib() - beforeMib).toBeLessThan(GROWTH_MIB);
    },
  );
});

test('what was named as a server and answers UDP with something else ends a command soon', async () => {
  using commandLine = new CommandLine();
  const socket = await new NodeNetwork().bindUdp({
    address: HERE,
    onMessage: (_data, from) => socket.send(Buffer.from('HTTP/1.1 400 Bad Request'), from),
  });
  const at = `${HERE}:${socket.local.port}`;
  const args = ['camera', 'connect', UID, '--servers', at, '--only', 'p2p,relay', '--json'];
  const startedAt = performance.now();
  const { code, out } = await commandLine.run(args);
  await socket.close();
  // The time limit of the command is 90 s.
  expect(performance.now() - startedAt).toBeLessThan(20_000);
  const { error } = JSON.parse(out.at(-1)!);
  expect([code, error.code]).toEqual([3, 'connect-failed']);
  expect(error.message.split('is not PPPP')).toHaveLength(2);
  expect(error.message).toContain(`P2P and RELAY: ${at} answered with something that is not PPPP. Next: `);
}, 60_000);

function residentMib(): number {
  return process.memoryUsage.rss() / 2 ** 20;
}
