import { createHash } from 'node:crypto';
import { errorCode, SystemClock, SystemRandom } from '@towpath/core';
import { type Endpoint, NodeNetwork, type TcpConnection } from '@towpath/net';
import { natKinds, type SimulatedHost } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { TurnAllocation } from '../src/turn/client/turn-allocation.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import type { Client } from './support/turn.ts';
import { type World, world } from './support/internet.ts';
import { ALICE, BOB, bytes, client, turnServer } from './support/turn.ts';

/** A TCP peer that echoes in capitals and keeps its connections. */
async function echo(host: SimulatedHost) {
  const connections: TcpConnection[] = [];
  const listener = await host.network.listenTcp({
    address: host.address,
    port: 7000,
    onConnection(connection) {
      connections.push(connection);
      return { onData: (data) => connection.write(bytes(Buffer.from(data).toString().toUpperCase())) };
    },
  });
  return { listener, connections, at: listener.local };
}

/** Handlers that collect text and the end. */
function collect() {
  const seen = { text: '', closed: 0 };
  return {
    seen,
    handlers: {
      onData: (data: Uint8Array) => {
        seen.text += Buffer.from(data).toString();
      },
      onClose: () => {
        seen.closed++;
      },
    },
  };
}

async function tcpClient(at: World, server: Endpoint, transport: 'tcp' | 'tls' = 'tcp'): Promise<Client> {
  const host = at.internet.nat(natKinds.udpBlocked).host();
  return client(at, host, server, { transport, tls: { insecure: true }, peerTransport: 'tcp' });
}

describe('TCP through the relay (RFC 6062)', () => {
  test.each(['tcp', 'tls'] as const)('a client that only has %s connects to a peer', async (transport) => {
    const at = world();
    const listening = at.internet.host({ address: '11.0.0.100' });
    const server = await TurnServer.listen(
      { network: listening.network, clock: at.clock, random: at.random },
      {
        listeners: [{ transport, address: listening.address, tls: { cert: '', key: '' } }],
        relay: [{ address: listening.address }],
        credentials: { users: { alice: 'wonderland' } },
      },
    );
    const alice = await tcpClient(at, server.locals[0]!, transport);
    const friend = await echo(at.internet.host());
    const { seen, handlers } = collect();
    const connection = await at.clock.runUntil(alice.allocation.connectTcp(friend.at, handlers));
    expect(connection.remote).toEqual(friend.at);
    connection.write(bytes('hello '));
    connection.write(bytes('there'));
    await at.clock.advance(500);
    expect(seen.text).toBe('HELLO THERE');
    expect(friend.connections[0]!.remote.address).toBe(listening.address);
    await at.clock.runUntil(connection.close());
    await at.clock.runUntil(alice.allocation.close());
    await server.close();
    await friend.listener.close();
    await at.clock.advance(10_000);
    expect(at.internet.openSockets).toBe(0);
    expect(at.clock.pendingTimers).toBe(0);
  });

  test('a peer with a permission connects to the client, and what it sends first is not lost', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await tcpClient(at, server.locals[0]!);
    const friend = at.internet.host();
    await at.clock.runUntil(alice.allocation.permit([friend.address]));
    const theirs = collect();
    const connection = await at.clock.runUntil(
      friend.network.connectTcp(alice.allocation.relayed[0]!, theirs.handlers),
    );
    connection.write(bytes('are you there?'));
    await at.clock.advance(500);
    const [attempt] = alice.attempts;
    expect(attempt!.peer).toEqual(connection.local);
    const ours = collect();
    const taken = await at.clock.runUntil(alice.allocation.acceptTcp(attempt!.id, attempt!.peer, ours.handlers));
    taken.write(bytes('yes'));
    await at.clock.advance(500);
    expect([ours.seen.text, theirs.seen.text]).toEqual(['are you there?', 'yes']);
    connection.destroy();
    await at.clock.advance(500);
    expect(ours.seen.closed).toBe(1);
    await server.close();
  });

  test('a peer without a permission is hung up on', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await tcpClient(at, server.locals[0]!);
    const theirs = collect();
    await at.clock.runUntil(at.internet.host().network.connectTcp(alice.allocation.relayed[0]!, theirs.handlers));
    await at.clock.advance(500);
    expect([theirs.seen.closed, alice.attempts]).toEqual([1, []]);
    await server.close();
  });

  test('a peer that the client does not take over is hung up on after half a minute', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await tcpClient(at, server.locals[0]!);
    const friend = at.internet.host();
    await at.clock.runUntil(alice.allocation.permit([friend.address]));
    const theirs = collect();
    await at.clock.runUntil(friend.network.connectTcp(alice.allocation.relayed[0]!, theirs.handlers));
    await at.clock.advance(29_000);
    expect(theirs.seen.closed).toBe(0);
    await at.clock.advance(2_000);
    expect(theirs.seen.closed).toBe(1);
    const [attempt] = alice.attempts;
    const late = alice.allocation.acceptTcp(attempt!.id, attempt!.peer, collect().handlers).catch(errorCode);
    expect(await at.clock.runUntil(late)).toBe('stun-refused');
    await server.close();
  });

  test('another user cannot take over a connection', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await tcpClient(at, server.locals[0]!);
    const bob = await client(at, at.internet.host(), server.locals[0]!, {
      transport: 'tcp',
      peerTransport: 'tcp',
      credentials: BOB,
    });
    const friend = at.internet.host();
    await at.clock.runUntil(alice.allocation.permit([friend.address]));
    await at.clock.runUntil(friend.network.connectTcp(alice.allocation.relayed[0]!, collect().handlers));
    await at.clock.advance(500);
    const [attempt] = alice.attempts;
    const stolen = bob.allocation.acceptTcp(attempt!.id, attempt!.peer, collect().handlers).catch(errorCode);
    expect(await at.clock.runUntil(stolen)).toBe('stun-refused');
    const ours = await at.clock.runUntil(alice.allocation.acceptTcp(attempt!.id, attempt!.peer, collect().handlers));
    expect(ours.remote).toEqual(attempt!.peer);
    await server.close();
  });

  test.each<[string, Endpoint, number]>([
    ['a peer that does not answer', { address: '11.0.0.250', port: 7000 }, 447],
    ['a private address', { address: '192.168.1.1', port: 80 }, 403],
    ['loopback', { address: '127.0.0.1', port: 80 }, 403],
  ])('%s is reported', async (_what, to, code) => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await tcpClient(at, server.locals[0]!);
    const failed = alice.allocation
      .connectTcp(to, collect().handlers)
      .catch((error: { response: { code: number } }) => error.response.code);
    expect(await at.clock.runUntil(failed)).toBe(code);
    await server.close();
  });

  test('the server’s own services cannot be connected to, and a peer not twice at a time', async () => {
    const at = world();
    const { server, host } = await turnServer(at);
    const alice = await tcpClient(at, server.locals[0]!);
    const code = (to: Endpoint) =>
      at.clock.runUntil(
        alice.allocation.connectTcp(to, collect().handlers).then(
          () => 0,
          (error) => error.response.code,
        ),
      );
    expect(await code({ address: host.address, port: 3478 })).toBe(403);
    const friend = await echo(at.internet.host());
    expect(await code(friend.at)).toBe(0);
    expect(await code(friend.at)).toBe(446);
    await server.close();
  });

  test('a slow client gets all of a large file from a fast peer, on the real network', async () => {
    const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
    const address = '127.0.0.1';
    await using server = await TurnServer.listen(components, {
      listeners: [{ transport: 'tcp', address, port: 0 }],
      relay: [{ address }],
      credentials: { users: { alice: 'wonderland' } },
      peers: { allowScopes: ['loopback'], allowOwn: true },
    });
    const file = Buffer.alloc(12 << 20, 'trail camera ');
    await using peer = await components.network.listenTcp({
      address,
      onConnection(connection) {
        connection.write(file);
        return { onData() {} };
      },
    });
    await using allocation = await TurnAllocation.connect(components, {
      server: server.locals[0]!,
      transport: 'tcp',
      peerTransport: 'tcp',
      credentials: ALICE,
      handlers: { onData() {} },
    });
    const hash = createHash('sha256');
    let received = 0;
    await new Promise<void>((resolve, reject) => {
      let taken: TcpConnection | undefined;
      const onData = (data: Uint8Array) => {
        hash.update(data);
        received += data.length;
        taken?.setPaused(true);
        setImmediate(() => taken?.setPaused(false));
        if (received >= file.length) resolve();
      };
      const onClose = () => reject(new Error(`closed after ${received} bytes`));
      allocation.connectTcp(peer.local, { onData, onClose }).then((connection) => {
        taken = connection;
      }, reject);
    });
    expect(hash.digest('hex')).toBe(createHash('sha256').update(file).digest('hex'));
  });

  test('a stream is slowed down to the user’s bandwidth, and loses nothing', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { bytesPerSecondPerUser: 100_000 } });
    const alice = await tcpClient(at, server.locals[0]!);
    const friend = await echo(at.internet.host());
    const { seen, handlers } = collect();
    const connection = await at.clock.runUntil(alice.allocation.connectTcp(friend.at, handlers));
    const startedAt = at.clock.now();
    for (let part = 0; part < 50; part++) connection.write(bytes('x'.repeat(10_000)));
    while (seen.text.length < 500_000 && at.clock.now() - startedAt < 60_000) await at.clock.advance(100);
    expect(seen.text).toBe('X'.repeat(500_000));
    // A million bytes, both directions together, less a second of burst.
    expect(at.clock.now() - startedAt).toBeGreaterThan(7_000);
    expect(at.clock.now() - startedAt).toBeLessThan(15_000);
    await server.close();
  });

  test('everything ends with the allocation', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await tcpClient(at, server.locals[0]!);
    const friend = await echo(at.internet.host());
    const { seen, handlers } = collect();
    await at.clock.runUntil(alice.allocation.connectTcp(friend.at, handlers));
    await at.clock.runUntil(alice.allocation.close());
    await at.clock.advance(10_000);
    expect(seen.closed).toBe(1);
    expect(server.stats).toMatchObject({ allocations: 0, connections: 0 });
    await server.close();
    await friend.listener.close();
    expect(at.internet.openSockets).toBe(0);
  });
});
