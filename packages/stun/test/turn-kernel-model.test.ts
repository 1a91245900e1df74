import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import { RelayPlane, STUN_PATTERN } from '@towpath/splice';
import { FakeKernel } from '@towpath/splice/testing';
import { expect, test } from 'vitest';
import { LongTermAuth } from '../src/client/long-term-auth.ts';
import * as attr from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { decodeStun, type StunMessage } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import type { ClientLink } from '../src/turn/server/client-link.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import { PLANES } from './support/planes.ts';
import { Wires } from './support/wires.ts';

/** `TOWPATH_RELAY_STEPS=100000` takes one to two minutes in each plane. */
const STEPS = Number(process.env.TOWPATH_RELAY_STEPS ?? 6_000);
/** In user space every combination is sent, which takes longer. */
const USER_CHECK_STEPS = 8;
const RELAY = '11.0.0.1';
const SERVER_PORT = 3_478;
const USERS = ['ann', 'ben', 'cat'];
const PEERS: readonly Endpoint[] = [1, 2, 3].map((at) => ({ address: `11.0.2.${at}`, port: 5_000 + at }));
const LIFETIME_MS = 600_000;
const PERMISSION_MS = 300_000;
const CHANNEL_MS = 600_000;
const VERIFIED_MS = 120_000;

/** What a client of the test knows: nothing of the server's state but what its answers say, and when. */
interface Client {
  readonly user: string;
  readonly auth: LongTermAuth;
  readonly link: ClientLink & { answers: Uint8Array[] };
  readonly places: readonly Endpoint[];
  allocation: { relayed: Endpoint; until: number } | undefined;
  readonly permissions: Map<string, number>;
  readonly plains: Map<
    number,
    { at: Endpoint; peer: Endpoint; channelUntil: number; verified?: { from: Endpoint; until: number } }
  >;
}

/** The relay answers requests that are not signed yet with no more bytes than they have. */
const PADDING = new Uint8Array(400);

test.each(PLANES)(
  `nothing is forwarded that is not allowed, in ${STEPS} interleavings of open, refresh, expiry, close and move, %s data plane (D2)`,
  async (kind) => {
    const clock = new VirtualClock();
    const random = new SeededRandom(2026);
    const wires = new Wires(RELAY);
    const kernel = FakeKernel.host([RELAY]);
    const plane =
      kind === 'user'
        ? undefined
        : await RelayPlane.open(
            { system: kernel, clock, random: new SeededRandom(3) },
            { form: 'netdev', addresses: [RELAY], control: [STUN_PATTERN], watchIntervalMs: 3_600_000 },
          );
    const server = await TurnServer.listen(
      { network: wires.network, clock, random: new SeededRandom(4), plane },
      {
        listeners: [{ address: RELAY, port: SERVER_PORT }],
        relay: [{ address: RELAY }],
        credentials: { users: Object.fromEntries(USERS.map((user) => [user, 'secret'])) },
        limits: {
          plainPortsPerUser: 8,
          unauthenticatedPerSecond: 1e9,
          unauthenticatedPerSecondTotal: 1e9,
          requestsPerSecondPerUser: 1e9,
        },
        nonceLifetimeMs: 1e9,
      },
    );
    const clients = USERS.flatMap((user, at) => [0, 1].map((each) => newClient(user, 10 * at + each)));
    const settle = async () => {
      for (let turn = 0; turn < 40; turn++) await Promise.resolve();
      await clock.advance(0);
    };
    const pick = <Value>(from: readonly Value[]): Value => from[random.integer(0, from.length - 1)]!;
    const seen = { forwarded: 0, moved: 0, failures: 0 };
    let disturbed = false;

    for (let step = 0; step < STEPS; step++) {
      const client = pick(clients);
      const peer = pick(PEERS);
      const chance = random.next();
      disturbed = false;
      if (client.allocation === undefined) await allocate(client);
      else if (chance < 0.3) await bindPlain(client, peer);
      else if (chance < 0.55) await verify(client, pick(client.places));
      else if (chance < 0.6) await verify(pick(clients), pick(client.places), client);
      else if (chance < 0.7) await permit(client, peer);
      else if (chance < 0.75) await refresh(client, random.next() < 0.5 ? 0 : LIFETIME_MS);
      else if (chance < 0.78 && kind === 'kernel') {
        kernel.children.at(-1)!.end('SIGKILL');
        disturbed = true;
        seen.failures++;
      } else await clock.advance(random.integer(0, 60_000));
      await settle();
      if (kind === 'kernel') check();
      else if (step % USER_CHECK_STEPS === 0) checkUserSpace();
    }
    if (kind === 'kernel') expect(seen.failures).toBeGreaterThan(STEPS / 100);
    expect(seen.forwarded).toBeGreaterThan(STEPS / (kind === 'kernel' ? 2 : 2 * USER_CHECK_STEPS));
    await server.close();
    await clock.advance(60_000);
    if (plane !== undefined) {
      expect(await plane.list()).toEqual({ complete: [], incomplete: [], unexpected: [] });
      expect(plane.stats).toMatchObject({ sessions: 0, waiting: 0 });
      plane.close();
    }
    expect([clock.pendingTimers, kernel.tables.size, wires.sockets.size]).toEqual([0, 0, 0]);

    /** Every entry of the kernel is allowed, and leads where it should; every allowed pair has its entries. */
    function check(): void {
      const allowed = new Map<string, string>();
      for (const [from, to, out, target] of allowedPairs()) allowed.set(pair(from, to), pair(out, target));
      const table = [...kernel.tables.keys()].some((id) => id.startsWith('netdev '))
        ? [...kernel.elements('netdev', 'sessions4').keys()]
        : [];
      for (const key of table) {
        const [source, sport, relay, dport] = key.split(' . ') as [string, string, string, string];
        const [from, to] = [
          { address: source, port: Number(sport) },
          { address: relay, port: Number(dport) },
        ];
        const out = kernel.forward({ from, to, bytes: 100 });
        if (out === undefined || out === 'dropped') throw new Error(`${key}: ${out}`);
        expect(pair(out.from, out.to), `${key} at ${clock.now()}`).toBe(allowed.get(pair(from, to)));
        seen.forwarded++;
      }
      if (!disturbed) expect(table.length).toBe(allowed.size);
    }

    /** Of a datagram from everybody to every relayed and plain port, those that are allowed leave, where they should. */
    function checkUserSpace(): void {
      const allowed = [...allowedPairs()].map(([from, to, out, target]) => `${pair(from, to)} as ${pair(out, target)}`);
      const sources = [...PEERS, ...clients.flatMap(({ places }) => places)];
      const left: string[] = [];
      for (const { local: to } of wires.sockets.values()) {
        if (to.port === SERVER_PORT) continue;
        for (const from of sources) {
          for (const out of wires.pass(new Uint8Array(100).fill(0x45), from, to)) {
            left.push(`${pair(from, to)} as ${pair(out.from, out.to)}`);
          }
        }
      }
      expect(left.toSorted(), `at ${clock.now()}`).toEqual(allowed.toSorted());
      seen.forwarded += left.length;
    }

    function* allowedPairs(): Generator<[Endpoint, Endpoint, Endpoint, Endpoint]> {
      const now = clock.now();
      for (const { allocation, permissions, plains } of clients) {
        if (allocation === undefined || allocation.until <= now) continue;
        for (const { at, peer, channelUntil, verified } of plains.values()) {
          const permitted = (permissions.get(peer.address) ?? 0) > now;
          if (!permitted || channelUntil <= now || verified === undefined || verified.until <= now) continue;
          yield [verified.from, at, allocation.relayed, peer];
          yield [peer, allocation.relayed, at, verified.from];
        }
      }
    }

    async function allocate(client: Client): Promise<void> {
      const answer = await ask(client, Method.Allocate, (writer) => writer.add(attr.requestedTransport, 17));
      if (answer?.class !== MessageClass.Success) return;
      client.allocation = { relayed: answer.get(attr.xorRelayedAddress)!, until: clock.now() + LIFETIME_MS };
    }

    async function bindPlain(client: Client, peer: Endpoint): Promise<void> {
      const number = 0x4000 + PEERS.indexOf(peer);
      const answer = await ask(client, Method.ChannelBind, (writer) =>
        writer.add(attr.channelNumber, number).add(attr.xorPeerAddress, peer).add(attr.plainRelay, true),
      );
      if (gone(client, answer) || answer?.class !== MessageClass.Success) return;
      const now = clock.now();
      client.permissions.set(peer.address, now + PERMISSION_MS);
      const at = answer.get(attr.xorPlainAddress);
      const known = client.plains.get(number);
      if (at === undefined) client.plains.delete(number);
      else if (known !== undefined && known.at.port === at.port) known.channelUntil = now + CHANNEL_MS;
      else client.plains.set(number, { at, peer, channelUntil: now + CHANNEL_MS });
    }

    async function permit(client: Client, peer: Endpoint): Promise<void> {
      const answer = await ask(client, Method.CreatePermission, (writer) => writer.add(attr.xorPeerAddress, peer));
      if (gone(client, answer) || answer?.class !== MessageClass.Success) return;
      client.permissions.set(peer.address, clock.now() + PERMISSION_MS);
    }

    async function refresh(client: Client, lifetimeMs: number): Promise<void> {
      const answer = await ask(client, Method.Refresh, (writer) => writer.add(attr.lifetime, lifetimeMs / 1_000));
      if (gone(client, answer) || answer?.class !== MessageClass.Success) return;
      if (lifetimeMs === 0) forget(client);
      else client.allocation!.until = clock.now() + LIFETIME_MS;
    }

    /** `signer` verifies an address at one of `owner`'s plain ports: with the owner's user it counts, with another it does not. */
    async function verify(signer: Client, from: Endpoint, owner: Client = signer): Promise<void> {
      const plain = pick([...owner.plains.values(), undefined]);
      if (plain === undefined) return;
      const auth = new LongTermAuth({ username: signer.user, password: 'secret' });
      for (let turn = 0; turn < 2; turn++) {
        const bytes = wires.deliver(
          request(auth, Method.Binding, (writer) => writer.add(attr.plainRelay, true).add(attr.padding, PADDING)),
          from,
          plain.at,
        );
        const answer = bytes && messageOf(bytes);
        if (answer?.class === MessageClass.Success && plain.channelUntil > clock.now()) {
          if (plain.verified !== undefined && formatEndpoint(plain.verified.from) !== formatEndpoint(from))
            seen.moved++;
          plain.verified = { from, until: clock.now() + VERIFIED_MS };
          expect(signer.user).toBe(owner.user);
        }
        if (answer === undefined || !auth.challenged(answer, turn === 0 ? undefined : auth.key)) return;
      }
    }

    function gone(client: Client, answer: StunMessage | undefined): boolean {
      if (answer?.get(attr.errorCode)?.code !== 437) return false;
      forget(client);
      return true;
    }

    function forget(client: Client): void {
      client.allocation = undefined;
      client.permissions.clear();
      client.plains.clear();
    }

    async function ask(
      client: Client,
      method: number,
      write: (writer: StunWriter) => void,
    ): Promise<StunMessage | undefined> {
      for (let turn = 0; turn < 2; turn++) {
        const { key } = client.auth;
        client.link.answers.length = 0;
        server.onStun(client.link, request(client.auth, method, write));
        await settle();
        const answer = client.link.answers.at(-1);
        const message = answer && messageOf(answer);
        if (message === undefined || !client.auth.challenged(message, key)) return message;
      }
      return undefined;
    }

    function request(auth: LongTermAuth, method: number, write: (writer: StunWriter) => void): Uint8Array {
      const writer = new StunWriter(MessageClass.Request, method, random.bytes(12));
      write(writer);
      auth.write(writer);
      if (auth.key !== undefined) writer.integrity(auth.key, auth.integrity);
      return writer.finish();
    }
  },
  600_000,
);

function newClient(user: string, number: number): Client {
  const answers: Uint8Array[] = [];
  const places = [0, 1, 2].map((at) => ({ address: `11.0.1.${number + 1}`, port: 6_000 + at }));
  const link = {
    transport: 'udp' as const,
    remote: { address: places[0]!.address, port: 5_999 },
    sink: undefined,
    answers,
    send: (data: Uint8Array) => answers.push(data) > 0,
    hold() {},
    release() {},
    reject() {},
  };
  const auth = new LongTermAuth({ username: user, password: 'secret' });
  return { user, auth, link, places, allocation: undefined, permissions: new Map(), plains: new Map() };
}

function messageOf(bytes: Uint8Array): StunMessage | undefined {
  const result = decodeStun(bytes);
  return result.ok ? result.message : undefined;
}

function pair(from: Endpoint, to: Endpoint): string {
  return `${formatEndpoint(from)} > ${formatEndpoint(to)}`;
}
