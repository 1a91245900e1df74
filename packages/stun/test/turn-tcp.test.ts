import { errorCode } from '@towpath/core';
import { type Endpoint, natKinds, type SimulatedHost, type TcpConnection } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import type { Client } from './support/turn.ts';
import { type World, world } from './support/internet.ts';
import { BOB, bytes, client, turnServer } from './support/turn.ts';

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
