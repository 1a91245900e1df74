import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { SystemClock, SystemRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StunClient } from '../src/client/stun-client.ts';
import { encodeChannelData } from '../src/message/channel-data.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { TurnAllocation } from '../src/turn/client/turn-allocation.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import { badServer, MISBEHAVIOUR } from './support/bad-server.ts';
import { certificate } from './support/certificate.ts';
import { ALICE } from './support/turn.ts';

const HERE = '127.0.0.1';
const identity = certificate('relay.test');
const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
const clientTls = { ca: identity.cert, serverName: 'relay.test' };

/** A listener's limits; its own time stands still unless the test moves it. */
async function relay(transport: 'tcp' | 'tls', limits = {}) {
  const clock = new VirtualClock(Date.now());
  const server = await TurnServer.listen(
    { ...components, clock },
    {
      listeners: [{ transport, address: HERE, port: 0, tls: identity }],
      relay: [{ address: HERE }],
      credentials: { users: { alice: ALICE.password } },
      limits,
    },
  );
  return { server, clock, at: server.locals[0]! };
}

/** A connection of a stranger, with its TLS handshake done. */
async function dial(transport: 'tcp' | 'tls', at: Endpoint, options: { localAddress?: string } = {}): Promise<Socket> {
  const where = { host: at.address, port: at.port, ...options };
  const socket =
    transport === 'tcp' ? connect(where) : connectTls({ ...where, ca: identity.cert, servername: 'relay.test' });
  await new Promise<void>((resolve, reject) => {
    socket.once(transport === 'tcp' ? 'connect' : 'secureConnect', resolve);
    socket.once('error', reject);
  });
  socket.on('error', () => {});
  socket.resume();
  return socket;
}

/** Resolves when the other side has closed. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    socket.once('close', () => resolve());
  });
}

/** Proves that a well-behaved client is served. */
async function serves(transport: 'tcp' | 'tls', at: Endpoint): Promise<void> {
  const allocation = await TurnAllocation.connect(components, {
    server: at,
    transport,
    tls: clientTls,
    credentials: ALICE,
    handlers: { onData() {} },
  });
  expect(allocation.alive).toBe(true);
  await allocation.close();
}

/** An uncaught error would end a server; here it fails the test that caused it. */
const uncaught: unknown[] = [];
const remember = (error: unknown) => void uncaught.push(error);
beforeAll(() => {
  process.on('uncaughtExceptionMonitor', remember);
});
afterAll(() => {
  process.off('uncaughtExceptionMonitor', remember);
  expect(uncaught).toEqual([]);
});

const binding = new StunWriter(MessageClass.Request, Method.Binding, new Uint8Array(12)).finish();

const FAULTS: [string, Uint8Array[]][] = [
  ['eight bytes of garbage', [new Uint8Array(8).fill(0xff)]],
  ['an HTTP request', [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')]],
  ['another HTTP request', [Buffer.from('POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd')]],
  ['a TLS greeting inside the connection', [Buffer.from('16030100c8010000c40303', 'hex'), Buffer.alloc(400, 1)]],
  ['a message with a bad length', [Uint8Array.of(0, 1, 0, 3)]],
  ['STUN without the magic cookie', [Buffer.concat([Uint8Array.of(0, 1, 0, 0), Buffer.alloc(16)])]],
  ['ChannelData before anything else', [encodeChannelData(0x4000, new Uint8Array(5), true)]],
  ['garbage after a good request', [binding, new Uint8Array(20).fill(0xee)]],
];

describe.each(['tcp', 'tls'] as const)('a relay that listens on %s (A1)', (transport) => {
  test.each(FAULTS)('closes a connection that sends %s, and serves others', async (_what, chunks) => {
    const { server, at } = await relay(transport);
    const stranger = await dial(transport, at);
    for (const chunk of chunks) stranger.write(chunk);
    await closed(stranger);
    await serves(transport, at);
    await server.close();
  });

  test('closes a connection that is silent for a minute, or stops in the middle of a message', async () => {
    const { server, clock, at } = await relay(transport);
    const silent = await dial(transport, at);
    const slow = await dial(transport, at);
    for (const socket of [silent, slow]) socket.write(binding);
    slow.write(Uint8Array.of(0, 3, 0, 8, 0x21));
    await expect.poll(() => server.stats.bindings).toBe(2);
    await clock.advance(60_000);
    await Promise.all([closed(silent), closed(slow)]);
    await serves(transport, at);
    await server.close();
  });

  test('survives connections that are reset, half closed or dropped at once', async () => {
    const { server, at } = await relay(transport);
    for (let count = 0; count < 20; count++) {
      const stranger = await dial(transport, at);
      if (count % 2 === 0) stranger.write(binding);
      if (count % 4 === 1) stranger.end();
      else if (count % 4 === 2) stranger.destroy();
      else if (transport === 'tcp') stranger.resetAndDestroy();
      else stranger.destroy();
    }
    await serves(transport, at);
    await expect.poll(() => server.stats.connections).toBe(0);
    await server.close();
  });

  test('lets a new client in while one address holds every place that it can get (A2)', async () => {
    const { server, at } = await relay(transport, { connections: 24, connectionsPerAddress: 16 });
    const attackers: Socket[] = [];
    // Sixteen of one address, eight of another: every place is taken.
    for (let count = 0; count < 24; count++) {
      attackers.push(await dial(transport, at, { localAddress: count < 16 ? '127.0.0.2' : '127.0.0.3' }));
    }
    await expect.poll(() => server.stats.connections).toBe(24);
    await serves(transport, at);
    expect(server.stats.connectionsEvicted).toBeGreaterThan(0);
    // The victim's place came from the address that had most.
    await closed(attackers[0]!);
    for (let count = 0; count < 40; count++) void dial(transport, at, { localAddress: '127.0.0.2' }).catch(() => {});
    await serves(transport, at);
    expect(server.stats.connections).toBeLessThanOrEqual(24);
    await server.close();
  });

  test('does not close a used connection to make room', async () => {
    const { server, at } = await relay(transport, { connections: 2, connectionsPerAddress: 2 });
    const lost: string[] = [];
    const allocation = await TurnAllocation.connect(components, {
      server: at,
      transport,
      tls: clientTls,
      credentials: ALICE,
      handlers: { onData() {}, onLost: ({ code }) => void lost.push(code) },
    });
    for (let count = 0; count < 6; count++) await dial(transport, at).catch(() => {});
    await allocation.permit(['127.0.0.1']);
    expect([allocation.alive, lost]).toEqual([true, []]);
    await allocation.close();
    await server.close();
  });
});

describe('a relay that listens on tls', () => {
  test('counts unfinished handshakes, and evicts them for others (A2)', async () => {
    const { server, at } = await relay('tls', { connections: 8, connectionsPerAddress: 6 });
    const stuck: Socket[] = [];
    for (let count = 0; count < 12; count++) {
      const localAddress = count < 6 ? '127.0.0.2' : '127.0.0.3';
      stuck.push(await dial('tcp', at, { localAddress }));
      // The first bytes of a greeting, and nothing more.
      stuck.at(-1)!.write(Buffer.from('16030100', 'hex'));
    }
    await expect.poll(() => server.stats.connections).toBe(8);
    expect(server.stats.connectionsUnused).toBe(8);
    await serves('tls', at);
    for (const socket of stuck) socket.destroy();
    await expect.poll(() => server.stats.connections).toBe(0);
    await server.close();
  });

  test('survives plain bytes instead of a handshake', async () => {
    const { server, at } = await relay('tls');
    for (const data of [binding, Buffer.from('GET / HTTP/1.1\r\n\r\n'), new Uint8Array(500)]) {
      const stranger = await dial('tcp', at);
      stranger.write(data);
      await closed(stranger);
    }
    await serves('tls', at);
    await server.close();
  });
});

describe.each(['tcp', 'tls'] as const)('a client over %s (A1)', (transport) => {
  test.each(MISBEHAVIOUR)('fails with a typed error when its server %s', async (_what, behave) => {
    const { at, server, sockets } = await badServer(transport, identity, behave);
    const options = { transport, tls: clientTls, reliableTimeoutMs: 500 } as const;
    const typed = { code: expect.stringMatching(/^(stun-|connection-|network-|tls-)/) };
    const beforeMib = process.memoryUsage.rss() / 2 ** 20;
    const asked = StunClient.open(components, { server: at, ...options }).then((client) =>
      client.binding().finally(() => client.close()),
    );
    const wanted = TurnAllocation.connect(components, {
      server: at,
      credentials: ALICE,
      handlers: { onData() {} },
      ...options,
    });
    await Promise.all([expect(asked).rejects.toMatchObject(typed), expect(wanted).rejects.toMatchObject(typed)]);
    expect(process.memoryUsage.rss() / 2 ** 20 - beforeMib).toBeLessThan(300);
    for (const socket of sockets) await closed(socket);
    server.close();
  });
});

describe('a server that accepts and leaves the TLS handshake unanswered (A1)', () => {
  /** Sockets that the client has opened, once it has greeted on as many. */
  async function mute(greeted: (count: number) => void) {
    let count = 0;
    return badServer('tcp', identity, (socket) => void socket.once('data', () => greeted(++count)));
  }

  test('is given up after the time limit, with nothing left open', async () => {
    const { at, server, sockets } = await mute(() => {});
    const options = { server: at, transport: 'tls', tls: clientTls, reliableTimeoutMs: 300 } as const;
    const timedOut = { code: 'stun-timed-out', message: expect.stringContaining('TLS') };
    await expect(StunClient.open(components, options)).rejects.toMatchObject(timedOut);
    const wanted = TurnAllocation.connect(components, { ...options, credentials: ALICE, handlers: { onData() {} } });
    await expect(wanted).rejects.toMatchObject(timedOut);
    for (const socket of sockets) await closed(socket);
    expect(sockets.length).toBe(2);
    server.close();
  });

  test('is given up when the signal aborts', async () => {
    const abort = new AbortController();
    const { at, server, sockets } = await mute(() => abort.abort(new Error('enough')));
    const wanted = TurnAllocation.connect(components, {
      server: at,
      transport: 'tls',
      tls: clientTls,
      credentials: ALICE,
      handlers: { onData() {} },
      signal: abort.signal,
    });
    await expect(wanted).rejects.toThrow('enough');
    for (const socket of sockets) await closed(socket);
    server.close();
  });

  test('the signal of the request does not end the allocation', async () => {
    const { server, at } = await relay('tls');
    const abort = new AbortController();
    const allocation = await TurnAllocation.connect(components, {
      server: at,
      transport: 'tls',
      tls: clientTls,
      credentials: ALICE,
      handlers: { onData() {} },
      signal: abort.signal,
    });
    abort.abort();
    await allocation.permit([HERE]);
    expect(allocation.alive).toBe(true);
    await allocation.close();
    await server.close();
  });
});

describe.each(['tcp', 'tls'] as const)('a relay that listens on %s', (transport) => {
  test('closes a connection whose requests are over the limit, so that its client does not wait for answers', async () => {
    const { server, at } = await relay(transport, { bindingsPerSecond: 2 });
    const stranger = await dial(transport, at);
    for (let count = 0; count < 10; count++) stranger.write(binding);
    await closed(stranger);
    expect(server.stats).toMatchObject({ bindings: 4 });
    await serves(transport, at);
    await server.close();
  });
});
