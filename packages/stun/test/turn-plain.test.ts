import {
  DatagramRoutes,
  DelegatingNetwork,
  DerivedUdpSocket,
  type Endpoint,
  type Network,
  sameEndpoint,
  type UdpOptions,
  type UdpSocket,
} from '@towpath/net';
import { natKinds, type SimulatedHost } from '@towpath/net/simulated';
import type { RelayPlane } from '@towpath/splice';
import type { FakeKernel } from '@towpath/splice/testing';
import { describe, expect, test } from 'vitest';
import { LongTermAuth } from '../src/client/long-term-auth.ts';
import { requestWithAuth } from '../src/client/stun-client.ts';
import { StunTransactions } from '../src/index.ts';
import * as attr from '../src/message/attributes.ts';
import { encodeChannelData, isChannelData } from '../src/message/channel-data.ts';
import { beginsLikeStun, MessageClass, Method } from '../src/message/header.ts';
import { decodeStun, type StunMessage } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { TurnAllocation } from '../src/turn/client/turn-allocation.ts';
import type { AllocateOptions } from '../src/turn/client/turn-client.ts';
import type { PlainPath } from '../src/turn/client/plain-paths.ts';
import { timeLimitedCredentials } from '../src/turn/server/credentials.ts';
import type { TurnServerOptions } from '../src/turn/server/options.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import { type World, world } from './support/internet.ts';
import { PLANES, type Plane, relayHost } from './support/planes.ts';
import { ALICE, BOB, bytes, peer, turnServer } from './support/turn.ts';

/** The NAT's address in front of a relay; nothing in the simulated internet answers there. */
const PUBLIC = '11.200.0.1';
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

interface Relay {
  server: TurnServer;
  host: SimulatedHost;
  kernel: FakeKernel;
  plane: RelayPlane | undefined;
  /** Datagrams that did not pass through the server. */
  forwarded(): number;
  close(): Promise<void>;
}

/** A relay whose data goes through the server, or through a simulated kernel. */
async function relay(
  at: World,
  kind: Plane,
  init: Partial<TurnServerOptions> = {},
  announce?: string,
  ipv6 = false,
): Promise<Relay> {
  const { clock, random, internet } = at;
  const host = internet.host();
  const addresses = [host.address, ...(ipv6 ? [host.address6] : [])];
  const { network, kernel, plane, forwarded } = await relayHost(at, { network: host.network, addresses }, kind);
  const server = await TurnServer.listen(
    { network, clock, random, plane },
    {
      listeners: addresses.map((address) => ({ address })),
      relay: addresses.map((address) => ({ address, ...(announce === undefined ? {} : { announce }) })),
      credentials: { users: { [ALICE.username]: ALICE.password, [BOB.username]: BOB.password } },
      ...init,
    },
  );
  const close = async () => {
    await server.close();
    plane?.close();
  };
  return { server, host, kernel, plane, forwarded, close };
}

interface Client {
  socket: UdpSocket;
  allocation: TurnAllocation;
  received: { text: string; from: Endpoint }[];
  changes: boolean[];
}

async function allocateFrom(
  at: World,
  host: { network: Network; address: string },
  server: Endpoint,
  credentials = ALICE,
  family: AllocateOptions['family'] = 4,
): Promise<Client> {
  const { clock, random } = at;
  const v6 = server.address.includes(':');
  const socket = await host.network.bindUdp(
    v6 ? { family: 6, onMessage() {} } : { address: host.address, onMessage() {} },
  );
  const received: Client['received'] = [];
  const handlers = {
    onData: (data: Uint8Array, from: Endpoint) => void received.push({ text: Buffer.from(data).toString(), from }),
  };
  const asked = TurnAllocation.open(
    { clock, random, socket },
    { server, credentials, handlers, family, lifetimeMs: HOUR_MS },
  );
  return { socket, allocation: await clock.runUntil(asked), received, changes: [] };
}

async function openPlain(at: World, client: Client, to: Endpoint): Promise<PlainPath> {
  const opened = client.allocation.openPlain(to, { onChange: ({ verified }) => client.changes.push(verified) });
  const path = await at.clock.runUntil(opened);
  if (path === undefined) throw new Error('The relay offers no plain port.');
  await at.clock.advance(500);
  return path;
}

describe.each(PLANES)('plain relaying, data through the %s plane', (kind) => {
  test('carries data both ways without frames; STUN of the peer comes over the channel (A7, D2)', async () => {
    const at = world();
    const { server, forwarded, close } = await relay(at, kind);
    const alice = await allocateFrom(at, at.internet.nat(natKinds.symmetricRandom).host(), server.locals[0]!);
    const friend = await peer(at.internet.host());
    const path = await openPlain(at, alice, friend.at);
    expect(path.verified).toBe(true);
    const framed = { count: 0 };
    at.internet.intercept((packet, next) => {
      if (isChannelData(packet.payload)) framed.count++;
      next();
    });
    alice.allocation.send(bytes('plain there'), friend.at);
    await at.clock.advance(200);
    friend.socket.send(bytes('plain back'), alice.allocation.relayed[0]!);
    await at.clock.advance(200);
    expect(friend.received).toEqual([{ text: 'plain there', from: alice.allocation.relayed[0] }]);
    expect(alice.received).toEqual([{ text: 'plain back', from: friend.at }]);
    expect(framed.count).toBe(0);
    const check = binding();
    friend.socket.send(check, alice.allocation.relayed[0]!);
    alice.allocation.send(check, friend.at);
    await at.clock.advance(200);
    expect(framed.count).toBeGreaterThan(0);
    expect(alice.received.at(-1)!.text).toBe(Buffer.from(check).toString());
    expect(friend.received.at(-1)!.text).toBe(Buffer.from(check).toString());
    expect(forwarded()).toBe(kind === 'kernel' ? 2 : 0);
    const inServer = { packetsToPeers: kind === 'kernel' ? 1 : 2, packetsToClients: kind === 'kernel' ? 1 : 2 };
    expect(server.stats).toMatchObject({ plainPorts: 1, ...inServer });
    await at.clock.runUntil(alice.allocation.close());
    await alice.socket.close();
    await friend.socket.close();
    await at.clock.advance(10_000);
    expect(server.stats.plainPorts).toBe(0);
    if (kind === 'kernel') {
      expect(server.stats.kernel).toMatchObject({ sessions: 0, packetsFromA: 1, bytesFromA: 11, packetsFromB: 1 });
    }
    await close();
    await at.clock.advance(30_000);
    expect(at.internet.openSockets).toBe(0);
    expect(at.clock.pendingTimers).toBe(0);
  });

  test('a client without the attribute, and a relay without it, use channels as ever', async () => {
    const at = world();
    const { server, close } = await relay(at, kind);
    const other = await relay(at, kind, { limits: { plainPorts: 0 } });
    const friend = await peer(at.internet.host());
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
    const bob = await allocateFrom(at, at.internet.host(), other.server.locals[0]!);
    expect(await at.clock.runUntil(bob.allocation.openPlain(friend.at))).toBeUndefined();
    alice.allocation.send(bytes('a'), friend.at);
    bob.allocation.send(bytes('b'), friend.at);
    await at.clock.advance(200);
    expect(friend.received.map(({ text }) => text)).toEqual(['a', 'b']);
    expect(server.stats.plainPorts + other.server.stats.plainPorts).toBe(0);
    await Promise.all([close(), other.close()]);
  });

  test('nothing is forwarded before the address is verified, nor from or to another one', async () => {
    const at = world();
    const { server, forwarded, close } = await relay(at, kind);
    const friend = await peer(at.internet.host());
    const victim = await peer(at.internet.host());
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    // The relay's challenge never arrives, as with a forged source.
    const blocked = at.internet.intercept((packet, next) => {
      if (!beginsLikeStun(packet.payload) || packet.sourcePort === server.locals[0]!.port) next();
      else if (packet.source !== server.locals[0]!.address) next();
    });
    const opened = at.clock.runUntil(alice.allocation.openPlain(friend.at));
    const path = (await opened)!;
    await at.clock.advance(5_000);
    expect(path.verified).toBe(false);
    alice.socket.send(bytes('early'), path.remote);
    alice.allocation.send(bytes('by channel'), friend.at);
    friend.socket.send(bytes('answer'), alice.allocation.relayed[0]!);
    await at.clock.advance(500);
    expect(friend.received.map(({ text }) => text)).toEqual(['by channel']);
    expect(alice.received.map(({ text }) => text)).toEqual(['answer']);
    blocked();
    await at.clock.advance(60_000);
    expect(path.verified).toBe(true);
    victim.socket.send(bytes('not mine'), path.remote);
    alice.socket.send(bytes('mine'), path.remote);
    await at.clock.advance(500);
    expect(friend.received.map(({ text }) => text)).toEqual(['by channel', 'mine']);
    expect(victim.received).toEqual([]);
    expect(forwarded()).toBe(kind === 'kernel' ? 1 : 0);
    await close();
  });

  test('nobody gets more bytes from a plain port than he sent, before he is verified (D8)', async () => {
    const at = world();
    const { server, close } = await relay(at, kind, { realm: `${'long.'.repeat(40)}example.org` });
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    const path = await openPlain(at, alice, (await peer(at.internet.host())).at);
    const host = at.internet.host();
    const received: Uint8Array[] = [];
    const stranger = await host.network.bindUdp({
      address: host.address,
      onMessage: (data) => void received.push(Uint8Array.from(data)),
    });
    const before = server.stats.dropped.malformed;
    const answered: number[] = [];
    for (let padding = 0; padding <= 600; padding += 20) {
      const request = new StunWriter(MessageClass.Request, Method.Binding, at.random.bytes(12));
      request.add(attr.plainRelay, true);
      if (padding > 0) request.add(attr.padding, new Uint8Array(padding));
      const sent = request.finish();
      stranger.send(sent, path.remote);
      await at.clock.advance(1_000);
      for (const answer of received.splice(0)) {
        expect(answer.length).toBeLessThanOrEqual(sent.length);
        const read = decodeStun(answer);
        expect(read.ok && read.message.get(attr.errorCode)?.code).toBe(401);
        answered.push(sent.length);
      }
    }
    await stranger.close();
    expect(answered.length).toBeGreaterThan(3);
    expect(Math.min(...answered)).toBeGreaterThan(200);
    expect(server.stats.dropped.malformed - before).toBe(31 - answered.length);
    await close();
  });

  test('a verification that is replayed from elsewhere, or made by another user, changes nothing', async () => {
    const at = world();
    const { server, close } = await relay(at, kind);
    const friend = await peer(at.internet.host());
    const attacker = await peer(at.internet.host());
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    let signed: Uint8Array | undefined;
    const watching = at.internet.intercept((packet, next) => {
      const read = packet.sourcePort === alice.socket.local.port ? decodeStun(packet.payload) : undefined;
      if (read?.ok && read.message.method === Method.Binding && read.message.has(attr.messageIntegritySha256)) {
        signed = Uint8Array.from(packet.payload);
      }
      next();
    });
    const path = await openPlain(at, alice, friend.at);
    watching();
    attacker.socket.send(signed!, path.remote);
    await at.clock.advance(500);
    expect(errorOf(attacker.received.at(-1)!.text)).toBe(438);
    const bob = await verifyAs(at, path.remote, BOB);
    expect(bob).toBe(441);
    friend.socket.send(bytes('for alice'), alice.allocation.relayed[0]!);
    await at.clock.advance(500);
    expect(alice.received.map(({ text }) => text)).toEqual(['for alice']);
    await close();
  });

  test('ends with the permission, and goes on when it is renewed', async () => {
    const at = world();
    const { server, kernel, forwarded, close } = await relay(at, kind);
    const friend = await peer(at.internet.host());
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    const path = await openPlain(at, alice, friend.at);
    // Binding requests reach the plain port, nothing reaches the server: the permission is not renewed.
    const cut = at.internet.intercept((packet, next) => {
      if (packet.destinationPort !== server.locals[0]!.port) next();
    });
    await at.clock.advance(5 * MINUTE_MS - 2_000);
    alice.socket.send(bytes('in time'), path.remote);
    friend.socket.send(bytes('in time'), alice.allocation.relayed[0]!);
    await at.clock.advance(1_000);
    await at.clock.advance(2_000);
    const before = server.stats.dropped.notPermitted;
    alice.socket.send(bytes('too late'), path.remote);
    friend.socket.send(bytes('too late'), alice.allocation.relayed[0]!);
    await at.clock.advance(1_000);
    expect([friend.received, alice.received].map((all) => all.map(({ text }) => text))).toEqual([
      ['in time'],
      ['in time'],
    ]);
    expect(server.stats.dropped.notPermitted - before).toBe(2);
    if (kind === 'kernel') expect(kernel.elements('netdev', 'sessions4').size).toBe(0);
    cut();
    await at.clock.runUntil(alice.allocation.permit([friend.at.address]));
    await at.clock.runUntil(alice.allocation.openPlain(friend.at));
    await at.clock.advance(1_000);
    alice.allocation.send(bytes('again'), friend.at);
    await at.clock.advance(500);
    expect(friend.received.map(({ text }) => text)).toEqual(['in time', 'again']);
    expect(forwarded()).toBe(kind === 'kernel' ? 3 : 0);
    await close();
  });

  test('ends at the second the credentials expire, both ways, also in the kernel (A4)', async () => {
    const at = world();
    const secret = 'a secret that is long enough';
    const { server, kernel, close } = await relay(at, kind, { credentials: { secrets: [secret] } });
    const friend = await peer(at.internet.host());
    const credentials = timeLimitedCredentials(secret, 'alice', 400_000, at.clock.wallTime());
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!, credentials);
    const path = await openPlain(at, alice, friend.at);
    const arrive = async (text: string) => {
      alice.socket.send(bytes(text), path.remote);
      friend.socket.send(bytes(text), alice.allocation.relayed[0]!);
      await at.clock.advance(200);
      return [friend, alice].map(({ received }) => received.at(-1)?.text === text);
    };
    await at.clock.advance(credentials.expiresAtMs - at.clock.wallTime() - 1_000);
    expect(await arrive('a second before')).toEqual([true, true]);
    await at.clock.advance(credentials.expiresAtMs - at.clock.wallTime());
    // The kernel is told in a batch.
    await at.clock.advance(50);
    expect(server.stats.plainPorts).toBe(0);
    if (kind === 'kernel') expect(kernel.elements('netdev', 'sessions4').size).toBe(0);
    expect(await arrive('at that second')).toEqual([false, false]);
    await close();
  });

  test('lives for hours behind a NAT with short mappings, and follows a client that moves', async () => {
    const at = world();
    const { server, close } = await relay(at, kind);
    const friend = await peer(at.internet.host());
    const nat = at.internet.nat({ ...natKinds.symmetricRandom, mappingLifetimeMs: 30_000 });
    const alice = await allocateFrom(at, nat.host(), server.locals[0]!);
    const path = await openPlain(at, alice, friend.at);
    await at.clock.advance(3 * HOUR_MS);
    expect(path.verified).toBe(true);
    alice.allocation.send(bytes('hours later'), friend.at);
    friend.socket.send(bytes('hours later'), alice.allocation.relayed[0]!);
    await at.clock.advance(500);
    expect(friend.received.map(({ text }) => text)).toEqual(['hours later']);
    expect(alice.received.map(({ text }) => text)).toEqual(['hours later']);
    expect(server.stats).toMatchObject({ plainPorts: 1, allocated: 1 });
    await close();
  });

  test('the rate of a user holds for all of its data together', async () => {
    const at = world();
    const perSecond = 10_000;
    const { server, kernel, close } = await relay(at, kind, { limits: { bytesPerSecondPerUser: perSecond } });
    const friend = await peer(at.internet.host());
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    const path = await openPlain(at, alice, friend.at);
    for (let second = 0; second < 10; second++) {
      for (let count = 0; count < 50; count++) alice.socket.send(new Uint8Array(972).fill(0x45), path.remote);
      await at.clock.advance(1_000);
    }
    if (kind === 'kernel') {
      // The simulated kernel has no rates: that the user has one is seen in its table; what it used counts here too.
      expect([...kernel.elements('netdev', 'limits4').values()]).toEqual(['"l1"', '"l1"']);
      alice.socket.send(channelData(0x4000, 900), server.locals[0]!);
      await at.clock.advance(100);
      expect(server.stats.dropped.bandwidth).toBe(1);
    } else {
      expect(Math.abs(friend.received.length * 1_000 - perSecond * 10)).toBeLessThanOrEqual(0.05 * 10 * perSecond);
    }
    await close();
  });

  test('plain ports are limited, per user and in all', async () => {
    const at = world();
    const { server, close } = await relay(at, kind, { limits: { plainPorts: 3, plainPortsPerUser: 2 } });
    const peers = await Promise.all([1, 2, 3].map(() => peer(at.internet.host())));
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    const bob = await allocateFrom(at, at.internet.host(), server.locals[0]!, BOB);
    const opened = await at.clock.runUntil(
      Promise.all([alice, bob].flatMap(({ allocation }) => peers.map(({ at: to }) => allocation.openPlain(to)))),
    );
    expect(opened.filter((path) => path !== undefined)).toHaveLength(3);
    expect(server.stats.plainPorts).toBe(3);
    await at.clock.runUntil(alice.allocation.close());
    await at.clock.advance(1_000);
    expect(server.stats.plainPorts).toBeLessThanOrEqual(2);
    await close();
  });

  test('plain ports of a group are limited: many members of one party leave room for the others (A3)', async () => {
    const at = world();
    const camp = { name: 'party', groupOf: (user: string) => (user === BOB.username ? 'other' : 'camp') };
    const users = Object.fromEntries(Array.from({ length: 4 }, (_, each) => [`member${each}`, 'secret']));
    const { server, close } = await relay(at, kind, {
      credentials: { users: { ...users, [BOB.username]: BOB.password } },
      groups: [{ ...camp, allocations: 8, plainPorts: 3, bytesPerSecond: Number.POSITIVE_INFINITY }],
    });
    const peers = await Promise.all([1, 2].map(() => peer(at.internet.host())));
    const members = await Promise.all(
      Object.entries(users).map(([username, password]) =>
        allocateFrom(at, at.internet.host(), server.locals[0]!, { username, password }),
      ),
    );
    const bob = await allocateFrom(at, at.internet.host(), server.locals[0]!, BOB);
    const openAll = (clients: readonly Client[]) =>
      at.clock.runUntil(
        Promise.all(clients.flatMap(({ allocation }) => peers.map(({ at: to }) => allocation.openPlain(to)))),
      );
    expect((await openAll(members)).filter((path) => path !== undefined)).toHaveLength(3);
    expect((await openAll([bob])).filter((path) => path !== undefined)).toHaveLength(2);
    await at.clock.runUntil(Promise.all(members.map(({ allocation }) => allocation.close())));
    await at.clock.advance(1_000);
    const again = await allocateFrom(at, at.internet.host(), server.locals[0]!, {
      username: 'member0',
      password: 'secret',
    });
    expect((await openAll([again])).filter((path) => path !== undefined)).toHaveLength(2);
    await close();
  });

  test('no relayed port becomes the client of a plain port of processes that share them: nothing circles', async () => {
    const at = world();
    const { server, close } = await relay(at, kind, { shared: true });
    const friend = await peer(at.internet.host());
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    const path = await openPlain(at, alice, friend.at);
    const bob = await allocateFrom(at, at.internet.host(), server.locals[0]!, BOB);
    await at.clock.runUntil(bob.allocation.permit([path.remote.address]));
    const request = new StunWriter(MessageClass.Request, Method.Binding, at.random.bytes(12));
    const asked = request.add(attr.plainRelay, true).add(attr.padding, new Uint8Array(512)).finish();
    const before = server.stats.dropped.notPermitted;
    bob.allocation.send(asked, path.remote);
    await at.clock.advance(500);
    expect(bob.received).toEqual([]);
    expect(server.stats.dropped.notPermitted).toBe(before + 1);
    await close();
  });

  test('ends at once when the credentials are revoked', async () => {
    const at = world();
    const { server, kernel, close } = await relay(at, kind);
    const friend = await peer(at.internet.host());
    const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
    const path = await openPlain(at, alice, friend.at);
    server.endAllocations((username) => username === ALICE.username);
    await at.clock.advance(0);
    if (kind === 'kernel') expect(kernel.elements('netdev', 'sessions4').size).toBe(0);
    alice.socket.send(bytes('late'), path.remote);
    await at.clock.advance(500);
    expect(friend.received).toEqual([]);
    await close();
  });

  test('two clients of one relay reach each other (C3)', async () => {
    const at = world();
    const { server, forwarded, close } = await relay(at, kind);
    const alice = await allocateFrom(at, at.internet.nat().host(), server.locals[0]!);
    const bob = await allocateFrom(at, at.internet.nat().host(), server.locals[0]!, BOB);
    await openPlain(at, alice, bob.allocation.relayed[0]!);
    await openPlain(at, bob, alice.allocation.relayed[0]!);
    alice.allocation.send(bytes('ping'), bob.allocation.relayed[0]!);
    await at.clock.advance(500);
    expect(bob.received).toEqual([{ text: 'ping', from: alice.allocation.relayed[0] }]);
    // What a host sends to itself does not come in by a device.
    expect(forwarded()).toBe(0);
    await close();
  });

  test('behind a one-to-one NAT clients and peers see the announced address alone', async () => {
    const at = world();
    const { server, host, forwarded, close } = await relay(at, kind, {}, PUBLIC);
    const [one, two] = [at.internet.host(), at.internet.host()];
    const alice = await allocateFrom(at, throughNat(one, host.address), { ...server.locals[0]!, address: PUBLIC });
    const friend = await peer(throughNat(two, host.address));
    const path = await openPlain(at, alice, friend.at);
    expect(path.remote.address).toBe(PUBLIC);
    alice.allocation.send(bytes('there'), friend.at);
    await at.clock.advance(200);
    friend.socket.send(bytes('back'), alice.allocation.relayed[0]!);
    await at.clock.advance(200);
    expect(friend.received).toEqual([{ text: 'there', from: alice.allocation.relayed[0] }]);
    expect(alice.received).toEqual([{ text: 'back', from: friend.at }]);
    expect(forwarded()).toBe(kind === 'kernel' ? 2 : 0);
    await close();
  });

  test('IPv6 works alike; with ends of different families the server forwards', async () => {
    const at = world(1, { ipv6: true });
    const { server, forwarded, close } = await relay(at, kind, undefined, undefined, true);
    const client = at.internet.host();
    const alice = await allocateFrom(at, client, server.locals[0]!, ALICE, 'dual');
    const six = await allocateFrom(at, client, { ...server.locals[0]!, address: server.locals[1]!.address }, ALICE, 6);
    const host = at.internet.host();
    const friend6 = await peer({ network: host.network, address: host.address6 });
    await openPlain(at, alice, friend6.at);
    await openPlain(at, six, friend6.at);
    alice.allocation.send(bytes('4 to 6'), friend6.at);
    await at.clock.advance(200);
    expect(forwarded()).toBe(0);
    six.allocation.send(bytes('6 to 6'), friend6.at);
    await at.clock.advance(200);
    expect(friend6.received.map(({ text }) => text)).toEqual(['4 to 6', '6 to 6']);
    expect(forwarded()).toBe(kind === 'kernel' ? 1 : 0);
    await close();
  });
});

// The kernel's own forwarding lowers the TTL, which this simulated one does not have.
test('a datagram does not circle between plain ports of two relays whose clients are each other’s relayed ports', async () => {
  const at = world();
  // Of two ports, one is the relayed one: a user who may ask often guesses the other in any range.
  const [one, two] = [await relay(at, 'user'), await relay(at, 'user', { relayPorts: [50_000, 50_001] })];
  const [s, t] = [one.server, two.server];
  const inbox: { onStun?: (message: StunMessage, from: Endpoint) => void } = {};
  const open = async (server: TurnServer, onData: (data: Uint8Array, from: Endpoint) => void) => {
    const host = at.internet.host();
    const socket = await host.network.bindUdp({ address: host.address, onMessage() {} });
    const options = { server: server.locals[0]!, credentials: ALICE, handlers: { onData }, lifetimeMs: HOUR_MS };
    const asked = TurnAllocation.open({ clock: at.clock, random: at.random, socket }, options);
    return { socket, allocation: await at.clock.runUntil(asked) };
  };
  const toAllocation = (data: Uint8Array, from: Endpoint) => {
    const read = decodeStun(data);
    if (read.ok) inbox.onStun?.(read.message, from);
  };
  const [{ allocation: a }, { allocation: b, socket }] = [await open(s, toAllocation), await open(t, toAllocation)];
  const guessed = { ...b.relayed[0]!, port: b.relayed[0]!.port ^ 1 };
  const ofA = (await at.clock.runUntil(a.openPlain(guessed)))!;
  const ofB = (await at.clock.runUntil(b.openPlain(ofA.remote)))!;
  expect(ofB.remote).toEqual(guessed);
  await at.clock.advance(2_000);
  for (const [path, by] of [
    [ofA, b],
    [ofB, a],
  ] as const) {
    await at.clock.runUntil(by.permit([path.remote.address]));
    const transactions = new StunTransactions({ ...at, send: (data, to) => by.send(data, to) });
    inbox.onStun = (message, from) => void transactions.handle(message, from);
    const asked = requestWithAuth(transactions, new LongTermAuth(ALICE), path.remote, {
      method: Method.Binding,
      write: (writer) => writer.add(attr.plainRelay, true).add(attr.padding, new Uint8Array(400)),
    });
    expect(errorOfResponse(await at.clock.runUntil(asked))).toBeUndefined();
  }
  let seen = 0;
  const stop = at.internet.intercept(({ payload }, next) => {
    if (Buffer.from(payload).toString() === 'round and round') seen++;
    next();
  });
  socket.send(encodeChannelData(0x4000, bytes('round and round'), false), t.locals[0]!);
  await at.clock.advance(10_000);
  stop();
  // Without an end it would be seen 500 times.
  expect(seen).toBeGreaterThan(16);
  expect(seen).toBeLessThan(50);
  expect(s.stats.dropped.rate + t.stats.dropped.rate).toBe(1);
  await Promise.all([one.close(), two.close()]);
});

test('a client asks turnserver-like relays for a channel that they grant without the attribute', async () => {
  const at = world();
  const { server } = await turnServer(at, { limits: { plainPorts: 0 } });
  const friend = await peer(at.internet.host());
  const alice = await allocateFrom(at, at.internet.host(), server.locals[0]!);
  expect(await at.clock.runUntil(alice.allocation.openPlain(friend.at))).toBeUndefined();
  friend.socket.send(bytes('channel'), alice.allocation.relayed[0]!);
  await at.clock.advance(200);
  expect(alice.received).toEqual([{ text: 'channel', from: friend.at }]);
  await server.close();
});

function binding(): Uint8Array {
  return new StunWriter(MessageClass.Request, Method.Binding, new Uint8Array(12).fill(65)).finish();
}

function channelData(channel: number, length: number): Uint8Array {
  const data = Buffer.alloc(4 + length);
  data.writeUInt16BE(channel, 0);
  data.writeUInt16BE(length, 2);
  return data;
}

function errorOf(text: string): number | undefined {
  // The texts of this test are made of bytes below 128, apart from STUN, which is read for its error code alone.
  const match = /Stale Nonce/.exec(text);
  return match === null ? undefined : 438;
}

/** Verifies an address of one's own at a plain port. @returns the code of the error that comes back */
function errorOfResponse({ message }: { readonly message: StunMessage }): number | undefined {
  return message.get(attr.errorCode)?.code;
}

async function verifyAs(at: World, remote: Endpoint, credentials: typeof ALICE): Promise<number | undefined> {
  const { clock, random, internet } = at;
  const host = internet.host();
  let code: number | undefined;
  const socket = await host.network.bindUdp({
    address: host.address,
    onMessage: (data, from) => {
      const result = decodeStun(data);
      if (!result.ok || !sameEndpoint(from, remote)) return;
      code = (result.message as StunMessage).get(attr.errorCode)?.code;
      transactions.handle(result.message, from);
    },
  });
  const transactions = new StunTransactions({ clock, random, send: (data, to) => socket.send(data, to) });
  const asked = requestWithAuth(transactions, new LongTermAuth(credentials), remote, {
    method: Method.Binding,
    write: (writer) => writer.add(attr.plainRelay, true).add(attr.padding, new Uint8Array(400)),
  });
  await clock.runUntil(asked.catch(() => undefined));
  await socket.close();
  return code;
}

/** A host for which a one-to-one NAT stands in front of `relay`: it knows {@link PUBLIC} alone. */
function throughNat(host: SimulatedHost, relay: string): { network: Network; address: string } {
  const map = (endpoint: Endpoint, from: string, to: string) =>
    endpoint.address === from ? { address: to, port: endpoint.port } : endpoint;
  class Translated extends DelegatingNetwork {
    override async bindUdp(options: UdpOptions): Promise<UdpSocket> {
      const routes = new DatagramRoutes(options.onMessage?.bind(options));
      const onMessage = (data: Uint8Array, from: Endpoint) => routes.dispatch(data, map(from, relay, PUBLIC));
      const inner = await this.inner.bindUdp({ ...options, onMessage });
      return new DerivedUdpSocket({ inner, routes }, { send: (data, to) => inner.send(data, map(to, PUBLIC, relay)) });
    }
  }
  return { network: new Translated({ network: host.network }), address: host.address };
}
