import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, type Message } from '../src/codec/index.ts';
import { RelayServer } from '../src/relay/server/relay-server.ts';
import { StubNetwork } from './stub-network.ts';

const UID = 'TEST-000001-BCDEF';
const PORT = 32110;
const CLIENT = { address: '192.0.2.77', port: 7 };
const DEVICE = { address: '192.0.2.9', port: 9 };
const STRANGER = { address: '203.0.113.80', port: 53 };

async function stub() {
  const network = new StubNetwork();
  const clock = new VirtualClock();
  const random = new SeededRandom(3);
  const relay = await RelayServer.listen({ network, clock, random }, { tcpPort: false, port: PORT, sessionPorts: 4 });
  return { network, clock, random, relay };
}

type Stub = Awaited<ReturnType<typeof stub>>;

function reserve({ network }: Stub, from = CLIENT): { magic: number; port: number } | undefined {
  network.deliver(PORT, from, encodeMessage({ type: 'RLY_PORT', uid: UID }));
  const [answer] = network.take(from.address).map((data) => decodeMessage(data) as Message);
  return answer?.type === 'RLY_PORT_ACK' ? answer : undefined;
}

function connect(stubbed: Stub): number {
  const { magic, port } = reserve(stubbed)!;
  for (const [side, from] of [
    ['client', CLIENT],
    ['device', DEVICE],
  ] as const) {
    stubbed.network.deliver(port, from, encodeMessage({ type: 'RLY_PKT', magic, uid: UID, side }));
  }
  stubbed.network.sent.length = 0;
  return port;
}

describe('no amplification at the relay (A7)', () => {
  test('RLY_PORT, whose answer is longer by nature, is answered sparingly', async () => {
    const made = await stub();
    for (let port = 1; port <= 1000; port++) {
      made.network.deliver(
        PORT,
        { address: '203.0.113.80', port },
        encodeMessage({ type: 'RLY_PORT', uid: undefined }),
      );
    }
    expect(made.network.take('203.0.113.80')).toHaveLength(60);
    await made.relay.close();
  });

  test('everything else that one side alone can make it send is no longer than what it got', async () => {
    const made = await stub();
    const { magic, port } = reserve(made)!;
    const victim = { address: '203.0.113.80', port: 53 };
    const messages: [number, Message][] = [
      [PORT, { type: 'RLY_HELLO' }],
      [PORT, { type: 'RLY_PORT', uid: UID }],
      [PORT, { type: 'HELLO' }],
      [PORT, { type: 'LIST_REQ1', uid: UID }],
      [port, { type: 'RLY_PKT', magic, uid: UID, side: 'device' }],
      [port, { type: 'RLY_PKT', magic, uid: UID, side: 'device' }],
      [port, { type: 'ALIVE' }],
    ];
    for (const [at, message] of messages) {
      const data = encodeMessage(message);
      made.network.deliver(at, victim, data);
      const back = made.network.take(victim.address).reduce((sum, { length }) => sum + length, 0);
      expect(back).toBeLessThanOrEqual(data.length);
    }
    await made.relay.close();
  });
});

describe('ten thousand sessions', () => {
  test('are held at once, found by their addresses on shared ports, and all ended when they fall silent', async () => {
    const network = new StubNetwork();
    const clock = new VirtualClock();
    const relay = await RelayServer.listen(
      { network, clock, random: new SeededRandom(3) },
      { tcpPort: false, port: PORT, limits: { crowd: { perSecond: 1e6, burst: 1e6 } } },
    );
    const sessions: { at: number; client: string; device: string }[] = [];
    for (let i = 0; i < 10_000; i++) {
      const client = `20.${i >> 8}.${i & 255}.1`;
      const device = `30.${i >> 8}.${i & 255}.1`;
      const uid = `TEST-${String(i).padStart(6, '0')}-BCDEF`;
      network.deliver(PORT, { address: client, port: 7 }, encodeMessage({ type: 'RLY_PORT', uid }));
      const { magic, port } = decodeMessage(network.sent.pop()!.data) as Extract<Message, { type: 'RLY_PORT_ACK' }>;
      network.deliver(
        port,
        { address: client, port: 8 },
        encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'client' }),
      );
      network.deliver(
        port,
        { address: device, port: 9 },
        encodeMessage({ type: 'RLY_PKT', magic, uid, side: 'device' }),
      );
      network.sent.length = 0;
      sessions.push({ at: port, client, device });
    }
    expect(relay.metrics).toMatchObject({ sessions: 10_000, sessionsReady: 10_000 });
    for (const { at, client } of sessions) network.deliver(at, { address: client, port: 8 }, Uint8Array.of(1));
    expect(network.sent.map(({ to }) => to.address)).toEqual(sessions.map(({ device }) => device));
    await clock.advance(32_000);
    expect(relay.metrics).toMatchObject({ sessions: 0, endedIdle: 10_000, clients: 10_000 });
    await relay.close();
    expect([network.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });
});

describe('hostile bytes', () => {
  test('in any frame, from anywhere, at any port, never throw', async () => {
    const made = await stub();
    const { network, relay } = made;
    const port = connect(made);
    const datagram = fc
      .tuple(fc.nat(255), fc.uint8Array({ maxLength: 90 }), fc.nat(120))
      .map(([code, payload, length]) => Uint8Array.of(0xf1, code, 0, length, ...payload));
    fc.assert(
      fc.property(
        fc.constantFrom(PORT, port),
        fc.constantFrom(CLIENT, DEVICE, STRANGER),
        datagram,
        (at, from, data) => {
          network.deliver(at, from, data);
          network.sent.length = 0;
        },
      ),
      { numRuns: Number(process.env.TOWPATH_FUZZ_RUNS ?? 3000) },
    );
    expect(relay.metrics.sessions).toBe(1);
    await relay.close();
  });
});

describe('a flood of forged packets at the relay', () => {
  const seconds = Number(process.env.TOWPATH_FLOOD_SECONDS ?? 1);

  test.each(['RLY_HELLO', 'RLY_PORT', 'RLY_PKT', 'noise'])(
    'of %s at 50,000 a second costs a running session nothing and memory stays bounded',
    async (kind) => {
      const made = await stub();
      const { network, clock, random, relay } = made;
      const port = connect(made);
      const data = new Uint8Array(1032).fill(7);
      const session = [CLIENT, DEVICE] as const;
      let sent = 0;
      let passed = 0;
      for (let ms = 0; ms < seconds * 1000; ms += 5) {
        for (let i = 0; i < 250; i++) {
          const [a, b, c, d, e] = random.bytes(5);
          const from = { address: `${(a! % 190) + 1}.${b}.${c}.${d}`, port: 1024 + e! };
          if (kind === 'RLY_HELLO') network.deliver(PORT, from, encodeMessage({ type: 'RLY_HELLO' }));
          else if (kind === 'RLY_PORT')
            network.deliver(PORT, from, encodeMessage({ type: 'RLY_PORT', uid: undefined }));
          else if (kind === 'noise') network.deliver(port, from, random.bytes(44));
          else {
            const magic = random.integer(0, 2 ** 32 - 1);
            network.deliver(port, from, encodeMessage({ type: 'RLY_PKT', magic, uid: UID, side: 'device' }));
          }
        }
        for (const [i, from] of session.entries()) {
          sent++;
          network.deliver(port, from, data);
          passed += network.take(session[1 - i]!.address).filter(({ length }) => length === data.length).length;
        }
        network.sent.length = 0;
        await clock.advance(5);
      }
      expect(passed).toBe(sent);
      expect(relay.metrics.sources).toBeLessThanOrEqual(2 * 65_536);
      expect(relay.metrics.pendingReservations).toBeLessThanOrEqual(2 * 65_536);
      expect(relay.metrics.sessions).toBe(1);
      // A client that is there already can still reserve.
      expect(reserve(made, { ...CLIENT, port: CLIENT.port })).toBeDefined();
      await relay.close();
      expect(network.openSockets).toBe(0);
    },
    20_000,
  );
});
