import { errorCode } from '@towpath/core';
import { natKinds } from '@towpath/net/simulated';
import { expect, test } from 'vitest';
import { StunError } from '../src/client/stun-error.ts';
import { isChannelData } from '../src/message/channel-data.ts';
import { TurnAllocation } from '../src/turn/client/turn-allocation.ts';
import { timeLimitedCredentials } from '../src/turn/server/credentials.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import { world } from './support/internet.ts';
import { describeInBothPlanes } from './support/planes.ts';
import { ALICE, BOB, bytes, client, peer, turnServer } from './support/turn.ts';

const HOUR_MS = 3_600_000;

describeInBothPlanes('a TURN relay', () => {
  test.each(['udp', 'tcp'] as const)(
    'carries data both ways, with and without a channel, over %s',
    async (transport) => {
      const at = world();
      const { server } = await turnServer(at);
      const alice = await client(at, at.internet.nat(natKinds.symmetricRandom).host(), server.locals[0]!, {
        transport,
      });
      const friend = await peer(at.internet.host());
      await at.clock.runUntil(alice.allocation.permit([friend.at.address]));
      alice.allocation.send(bytes('by indication'), friend.at);
      await at.clock.advance(200);
      expect(friend.received).toEqual([{ text: 'by indication', from: alice.allocation.relayed[0] }]);
      friend.socket.send(bytes('answer'), alice.allocation.relayed[0]!);
      await at.clock.advance(200);
      await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
      alice.allocation.send(bytes('by channel'), friend.at);
      friend.socket.send(bytes('odd'), alice.allocation.relayed[0]!);
      await at.clock.advance(200);
      expect(friend.received.map(({ text }) => text)).toEqual(['by indication', 'by channel']);
      expect(alice.received).toEqual([
        { text: 'answer', from: friend.at },
        { text: 'odd', from: friend.at },
      ]);
      expect(server.stats).toMatchObject({
        allocations: 1,
        users: 1,
        packetsToPeers: 2,
        packetsToClients: 2,
        bytesToPeers: 23,
      });
      await at.clock.runUntil(alice.allocation.close());
      expect(server.stats.allocations).toBe(0);
      await server.close();
      await friend.socket.close();
      await at.clock.advance(10_000);
      expect(at.internet.openSockets).toBe(0);
      expect(at.clock.pendingTimers).toBe(0);
    },
  );

  test('connects two clients behind symmetric NATs through each other (C3)', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.nat(natKinds.symmetricRandom).host(), server.locals[0]!);
    const bob = await client(at, at.internet.nat(natKinds.symmetricRandom).host(), server.locals[0]!, {
      credentials: BOB,
    });
    await at.clock.runUntil(
      Promise.all([
        alice.allocation.bindChannel(bob.allocation.relayed[0]!),
        bob.allocation.bindChannel(alice.allocation.relayed[0]!),
      ]),
    );
    alice.allocation.send(bytes('ping'), bob.allocation.relayed[0]!);
    await at.clock.advance(200);
    bob.allocation.send(bytes('pong'), alice.allocation.relayed[0]!);
    await at.clock.advance(200);
    expect(bob.received.map(({ text }) => text)).toEqual(['ping']);
    expect(alice.received.map(({ text }) => text)).toEqual(['pong']);
    await server.close();
  });

  test('lives for hours behind a NAT with short mappings: allocation, permission, channel and nonce are renewed', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const nat = at.internet.nat({ ...natKinds.symmetricRandom, mappingLifetimeMs: 30_000 });
    const alice = await client(at, nat.host(), server.locals[0]!);
    const viaChannel = await peer(at.internet.host());
    const viaPermission = await peer(at.internet.host());
    await at.clock.runUntil(alice.allocation.bindChannel(viaChannel.at));
    await at.clock.runUntil(alice.allocation.permit([viaPermission.at.address]));
    await at.clock.advance(3 * HOUR_MS);
    viaChannel.socket.send(bytes('still channel'), alice.allocation.relayed[0]!);
    viaPermission.socket.send(bytes('still permitted'), alice.allocation.relayed[0]!);
    await at.clock.advance(200);
    expect(alice.received.map(({ text }) => text)).toEqual(['still channel', 'still permitted']);
    expect(alice.lost).toEqual([]);
    expect(server.stats.allocated).toBe(1);
    await at.clock.runUntil(alice.allocation.close());
    await server.close();
  });

  test('survives a network that loses a tenth of all packets', async () => {
    const at = world(3, { link: { delayMs: 20, lossRatio: 0.1 } });
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.nat().host(), server.locals[0]!);
    await at.clock.advance(2 * HOUR_MS);
    expect(alice.allocation.alive).toBe(true);
    await server.close();
  });

  test('tells its client when the server has forgotten the allocation', async () => {
    const at = world();
    const { server, host } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    await server.close();
    const { clock, random } = at;
    const successor = await TurnServer.listen(
      { network: host.network, clock, random },
      {
        listeners: [{ address: host.address }],
        relay: [{ address: host.address }],
        credentials: { users: { [ALICE.username]: ALICE.password } },
      },
    );
    const refused = alice.allocation.permit(['11.0.0.99']).catch(errorCode);
    expect(await clock.runUntil(refused)).toBe('turn-allocation-lost');
    expect(alice.lost).toEqual(['turn-allocation-lost']);
    expect(alice.allocation.alive).toBe(false);
    await alice.allocation.close();
    await successor.close();
    expect(at.internet.openSockets).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test('tells its client when the server is gone for the whole lifetime', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    await server.close();
    await at.clock.advance(HOUR_MS);
    expect(alice.lost).toEqual(['turn-allocation-lost']);
  });

  test('tells its client at once when the TCP connection breaks', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!, { transport: 'tcp' });
    await server.close();
    await at.clock.advance(1_000);
    expect(alice.lost).toEqual(['stun-closed']);
  });

  test('ends an allocation that nobody refreshes', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const host = at.internet.host();
    await client(at, host, server.locals[0]!);
    host.unplug();
    await at.clock.advance(599_000);
    expect(server.stats.allocations).toBe(1);
    await at.clock.advance(60_000);
    expect(server.stats.allocations).toBe(0);
    await server.close();
  });

  test('ends the allocation of a TCP client that hangs up', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!, { transport: 'tcp' });
    expect(server.stats.connections).toBe(1);
    await at.clock.runUntil(alice.allocation.close());
    await at.clock.advance(1_000);
    expect(server.stats).toMatchObject({ allocations: 0, connections: 0 });
    await server.close();
  });

  test('lets permissions run out after five minutes and channels after ten', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const host = at.internet.host();
    const alice = await client(at, host, server.locals[0]!, { lifetimeMs: HOUR_MS });
    const friend = await peer(at.internet.host());
    await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
    // From here on requests do not reach the server, so nothing is renewed; data does.
    at.internet.intercept((packet, next) => {
      if (packet.source === host.address && !isChannelData(packet.payload)) return;
      next();
    });
    await at.clock.advance(299_000);
    friend.socket.send(bytes('in time'), alice.allocation.relayed[0]!);
    await at.clock.advance(2_000);
    friend.socket.send(bytes('too late'), alice.allocation.relayed[0]!);
    alice.allocation.send(bytes('channel lives'), friend.at);
    await at.clock.advance(300_000);
    alice.allocation.send(bytes('channel is over'), friend.at);
    await at.clock.advance(1_000);
    expect(alice.received.map(({ text }) => text)).toEqual(['in time']);
    expect(friend.received.map(({ text }) => text)).toEqual(['channel lives']);
    expect(server.stats.dropped.notPermitted).toBe(2);
    await server.close();
  });

  test('gives a dual allocation both families, and says so when it has only one', async () => {
    const at = world(1, { ipv6: true });
    const host = at.internet.host();
    const { clock, random } = at;
    const server = await TurnServer.listen(
      { network: host.network, clock, random },
      {
        listeners: [{ address: host.address }],
        relay: [{ address: host.address }, { address: host.address6 }],
        credentials: { users: { [ALICE.username]: ALICE.password } },
      },
    );
    const alice = await client(at, at.internet.host(), server.locals[0]!, { family: 'dual' });
    expect(alice.allocation.relayed.map(({ address }) => address)).toEqual([host.address, host.address6]);
    const friend = at.internet.host();
    const received: string[] = [];
    const socket = await friend.network.bindUdp({
      family: 6,
      address: friend.address6,
      onMessage: (data) => received.push(Buffer.from(data).toString()),
    });
    await clock.runUntil(alice.allocation.bindChannel(socket.local));
    alice.allocation.send(bytes('over IPv6'), socket.local);
    await clock.advance(200);
    socket.send(bytes('back'), alice.allocation.relayed[1]!);
    await clock.advance(200);
    expect(received).toEqual(['over IPv6']);
    expect(alice.received.map(({ text }) => text)).toEqual(['back']);
    await server.close();
    const single = await turnServer(at);
    const bob = await client(at, at.internet.host(), single.server.locals[0]!, { family: 'dual' });
    expect(bob.allocation.relayed).toHaveLength(1);
    const six = client(at, at.internet.host(), single.server.locals[0]!, { family: 6 });
    await expect(six).rejects.toMatchObject({ code: 'stun-refused', response: { code: 440 } });
    await single.server.close();
  });

  test('follows a server that sends it to another one (300)', async () => {
    const at = world();
    const full = await turnServer(at);
    const other = await turnServer(at);
    full.server.drain(other.server.locals[0]);
    const alice = await client(at, at.internet.host(), full.server.locals[0]!);
    expect(alice.allocation.server).toEqual(other.server.locals[0]);
    expect([full.server.stats.allocations, other.server.stats.allocations]).toEqual([0, 1]);
    full.server.drain(undefined);
    const bob = await client(at, at.internet.host(), full.server.locals[0]!, { credentials: BOB });
    expect(bob.allocation.server).toEqual(full.server.locals[0]);
    await Promise.all([full.server.close(), other.server.close()]);
  });

  test('gives up when two servers send it to each other', async () => {
    const at = world();
    const [a, b] = [await turnServer(at), await turnServer(at)];
    a.server.drain(b.server.locals[0]);
    b.server.drain(a.server.locals[0]);
    const failed = client(at, at.internet.host(), a.server.locals[0]!);
    await expect(failed).rejects.toMatchObject({ code: 'stun-refused', response: { code: 300 } });
    await Promise.all([a.server.close(), b.server.close()]);
    expect(at.internet.openSockets).toBe(0);
  });

  test('takes another port when the server still knows the old one (437)', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const host = at.internet.host();
    const alice = await client(at, host, server.locals[0]!, { localPort: 5000 });
    host.unplug();
    await at.clock.runUntil(alice.allocation.close());
    host.replug();
    const again = await client(at, host, server.locals[0]!, { localPort: 5000 });
    expect(again.allocation.mapped.port).not.toBe(5000);
    await server.close();
  });

  test('shares a socket with other traffic', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const other: string[] = [];
    const received: string[] = [];
    const host = at.internet.nat().host();
    const socket = await host.network.bindUdp({ onMessage: (data) => other.push(Buffer.from(data).toString()) });
    const { clock, random } = at;
    const allocation = await clock.runUntil(
      TurnAllocation.open(
        { clock, random, socket },
        {
          server: server.locals[0]!,
          credentials: ALICE,
          handlers: { onData: (data) => received.push(Buffer.from(data).toString()) },
        },
      ),
    );
    const friend = await peer(at.internet.host());
    await clock.runUntil(allocation.bindChannel(friend.at));
    friend.socket.send(bytes('relayed'), allocation.relayed[0]!);
    socket.send(bytes('direct'), friend.at);
    await clock.advance(100);
    friend.socket.send(bytes('direct too'), friend.received[0]!.from);
    await clock.advance(100);
    expect([received, other]).toEqual([['relayed'], ['direct too']]);
    await clock.runUntil(allocation.close());
    expect(at.internet.openSockets).toBeGreaterThan(0);
    await socket.close();
    await server.close();
  });

  test('accepts time-limited credentials until they expire', async () => {
    const at = world();
    const { server } = await turnServer(at, { credentials: { secrets: ['old', 'current'] } });
    const fresh = timeLimitedCredentials('current', 'alice', 60_000, at.clock.wallTime());
    const { allocation } = await client(at, at.internet.host(), server.locals[0]!, { credentials: fresh });
    expect(allocation.alive).toBe(true);
    await at.clock.advance(61_000);
    const late = client(at, at.internet.host(), server.locals[0]!, { credentials: fresh });
    await expect(late).rejects.toMatchObject({ code: 'stun-unauthenticated' });
    const forged = timeLimitedCredentials('guessed', 'alice', 60_000, at.clock.wallTime());
    await expect(client(at, at.internet.host(), server.locals[0]!, { credentials: forged })).rejects.toBeInstanceOf(
      StunError,
    );
    await server.close();
  });

  test('says what is wrong when credentials are', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const failed = client(at, at.internet.host(), server.locals[0]!, { credentials: { ...ALICE, password: 'guess' } });
    await expect(failed).rejects.toMatchObject({
      code: 'stun-unauthenticated',
      message: expect.stringContaining('password'),
    });
    expect(server.stats.allocations).toBe(0);
    await server.close();
    expect(at.internet.openSockets).toBe(0);
  });

  test('a server closes when its signal aborts', async () => {
    const at = world();
    const stop = new AbortController();
    const { server } = await turnServer(at, { signal: stop.signal });
    await client(at, at.internet.host(), server.locals[0]!);
    const before = at.internet.openSockets;
    stop.abort();
    await at.clock.advance(1_000);
    expect([before, at.internet.openSockets]).toEqual([4, 1]);
    expect(server.stats.allocations).toBe(0);
  });

  test('an aborted allocate leaves nothing behind', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const stop = new AbortController();
    const failed = client(at, at.internet.host(), server.locals[0]!, { signal: stop.signal });
    failed.catch(() => {});
    at.clock.timer(30, () => stop.abort(new Error('changed my mind')));
    await expect(failed).rejects.toThrow('changed my mind');
    await server.close();
    await at.clock.advance(1_000);
    expect(at.internet.openSockets).toBe(0);
    expect(at.clock.pendingTimers).toBe(0);
  });
});
