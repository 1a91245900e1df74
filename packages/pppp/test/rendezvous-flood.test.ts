import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, type Message } from '../src/codec/index.ts';
import { RendezvousServer } from '../src/rendezvous/server/rendezvous-server.ts';
import { StubNetwork } from './stub-network.ts';

const UID = 'TEST-000001-BCDEF';
const PORT = 32100;
const RELAYS = [1, 2, 3].map((i) => ({ address: `198.51.100.${i}`, port: 32110 }));
const HELLO = encodeMessage({ type: 'HELLO' });

async function stub() {
  const network = new StubNetwork();
  const clock = new VirtualClock();
  const random = new SeededRandom(3);
  const server = await RendezvousServer.listen(
    { network, clock, random },
    { tcpPort: false, ports: [PORT], relays: RELAYS },
  );
  const types = (address: string) => network.take(address).map((data) => decodeMessage(data).type);
  return { network, clock, server, random, types };
}

function login(uid: string): Uint8Array {
  const local = { address: '192.168.1.50', port: 41000 };
  return encodeMessage({ type: 'DEV_LGN', uid, natType: 0, version: [4, 0, 0], local });
}

function connect(uid: string): Uint8Array {
  return encodeMessage({ type: 'P2P_REQ', uid, local: { address: '192.168.1.2', port: 5000 } });
}

describe('no amplification (A7)', () => {
  const requests: Message[] = [
    { type: 'P2P_REQ', uid: UID, local: { address: '10.0.0.1', port: 5 } },
    { type: 'P2P_REQ_DSK', uid: UID, local: { address: '10.0.0.1', port: 5 }, natType: 2, version: [4, 0, 0], dsk: '' },
    { type: 'LIST_REQ1', uid: UID },
    { type: 'LIST_REQ_DSK', uid: UID, dsk: '' },
    { type: 'DEV_ONLINE_REQ', uid: UID },
    { type: 'RLY_REQ', uid: UID, relay: RELAYS[0], magic: 7 },
    { type: 'DEV_LGN', uid: UID, natType: 0, version: [4, 0, 0], local: { address: '10.0.0.1', port: 5 } },
    { type: 'RLY_HELLO' },
    { type: 'PUNCH_PKT', uid: UID },
  ];

  test('whatever is sent under forged addresses, no more comes out than went in', async () => {
    const sources = ['192.0.2.1', '192.0.2.2', '203.0.113.3'];
    const step = fc.tuple(fc.constantFrom(...sources), fc.nat(requests.length - 1), fc.nat(800));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { network, clock, server } = await stub();
        let bytesIn = 0;
        let bytesOut = 0;
        for (const [address, request, pauseMs] of steps) {
          const data = encodeMessage(requests[request]!);
          bytesIn += data.length;
          network.deliver(PORT, { address, port: 4000 }, data);
          await clock.advance(pauseMs);
          bytesOut += network.sent.splice(0).reduce((sum, { data: { length } }) => sum + length, 0);
          expect(bytesOut).toBeLessThanOrEqual(bytesIn);
        }
        await server.close();
      }),
      { numRuns: 60 },
    );
  });

  test('a single forged request is answered with no more bytes than it had', async () => {
    for (const request of requests) {
      const { network, server } = await stub();
      network.deliver(PORT, { address: '192.0.2.9', port: 9 }, login(UID));
      network.sent.splice(0);
      const data = encodeMessage(request);
      network.deliver(PORT, { address: '203.0.113.80', port: 53 }, data);
      const back = network.take('203.0.113.80').reduce((sum, { length }) => sum + length, 0);
      expect(back).toBeLessThanOrEqual(data.length);
      await server.close();
    }
  });

  test('HELLO, whose answer is longer by nature, is answered sparingly', async () => {
    const { network, server, types } = await stub();
    for (let port = 1; port <= 1000; port++) network.deliver(PORT, { address: '203.0.113.80', port }, HELLO);
    expect(types('203.0.113.80').length).toBe(60);
    for (let i = 1; i <= 250; i++) {
      for (let port = 1; port <= 4; port++) network.deliver(PORT, { address: `198.18.5.${i}`, port }, HELLO);
    }
    expect(network.sent.length).toBe(300);
    expect(server.metrics.unpaidAnswers).toBe(360);
    await server.close();
  });

  test('one noisy socket does not use up the budget of its address', async () => {
    const { network, clock, server, types } = await stub();
    for (let i = 0; i < 200; i++) network.deliver(PORT, { address: '203.0.113.80', port: 80 }, HELLO);
    // Six granted, the others paid by the four bytes of each.
    expect(types('203.0.113.80').length).toBeLessThan(30);
    network.deliver(PORT, { address: '203.0.113.80', port: 81 }, HELLO);
    expect(types('203.0.113.80')).toEqual(['HELLO_ACK']);
    await clock.advance(1);
    await server.close();
  });

  test('a device is invited at most 20 times a second by strangers, and as often by those who are known', async () => {
    const { network, clock, server, types } = await stub();
    const deviceAt = { address: '192.0.2.9', port: 9 };
    network.deliver(PORT, { address: '192.0.2.77', port: 7 }, HELLO);
    await clock.advance(1000);
    network.deliver(PORT, deviceAt, login(UID));
    for (let port = 1; port <= 300; port++) network.deliver(PORT, { address: '203.0.113.80', port }, connect(UID));
    network.take('192.0.2.9');
    expect(server.metrics.invitations).toBe(40);
    network.deliver(PORT, deviceAt, login(UID));
    network.take('192.0.2.9');
    network.deliver(PORT, { address: '192.0.2.77', port: 7 }, connect(UID));
    expect(types('192.0.2.9')).toContain('PUNCH_TO');
    await server.close();
  });

  test('one address is one device, so that few sources cannot fill the table', async () => {
    const { network, clock, server } = await stub();
    for (let i = 0; i < 90; i++) {
      network.deliver(PORT, { address: '192.0.2.9', port: 9 }, login(`TEST-${i}-A`));
      await clock.advance(20);
    }
    // The first keeps the address as long as it is heard: a forged login of another UID changes nothing (A8).
    expect(server.metrics).toMatchObject({ devices: 1, logins: 1, loginsContested: 89 });
    await server.close();
  });
});

describe('hostile bytes', () => {
  test('in any frame, from anywhere, never throw', async () => {
    const { network, clock, server } = await stub();
    network.deliver(PORT, { address: '192.0.2.9', port: 9 }, login(UID));
    const datagram = fc
      .tuple(fc.nat(255), fc.uint8Array({ maxLength: 90 }), fc.nat(120))
      .map(([code, payload, length]) => Uint8Array.of(0xf1, code, 0, length, ...payload));
    fc.assert(
      fc.property(fc.nat(5000), datagram, (port, data) => {
        network.deliver(PORT, { address: '203.0.113.80', port: port + 1 }, data);
      }),
      { numRuns: Number(process.env.TOWPATH_FUZZ_RUNS ?? 3000) },
    );
    await clock.advance(1000);
    expect(server.metrics.datagrams).toBeGreaterThan(0);
    await server.close();
  });
});

describe('a flood of forged packets', () => {
  const seconds = Number(process.env.TOWPATH_FLOOD_SECONDS ?? 1);

  test.each(['HELLO', 'DEV_LGN', 'P2P_REQ', 'noise'])(
    'of %s at 50,000 a second costs those who are there nothing and memory stays bounded',
    async (kind) => {
      const { network, clock, server, random, types } = await stub();
      const device = { address: '192.0.2.9', port: 9 };
      const client = { address: '192.0.2.77', port: 7 };
      for (let i = 0; i < 3; i++) {
        network.deliver(PORT, device, login(UID));
        network.deliver(PORT, client, HELLO);
        await clock.advance(1000);
      }
      network.sent.splice(0);
      let asked = 0;
      let served = 0;
      for (let ms = 0; ms < seconds * 1000; ms += 5) {
        for (let i = 0; i < 250; i++) {
          const [a, b, c, d, e] = random.bytes(5);
          const data =
            kind === 'HELLO'
              ? HELLO
              : kind === 'DEV_LGN'
                ? login(`X-${random.integer(0, 2 ** 32 - 1)}-A`)
                : kind === 'P2P_REQ'
                  ? connect(`X-${random.integer(0, 2 ** 32 - 1)}-A`)
                  : random.bytes(44);
          network.deliver(PORT, { address: `${(a! % 200) + 1}.${b}.${c}.${d}`, port: 1024 + e! }, data);
        }
        if (ms % 500 === 0) network.deliver(PORT, device, login(UID));
        if (ms % 50 === 0) {
          asked++;
          network.deliver(PORT, client, connect(UID));
          const answers = types(client.address);
          if (answers.includes('P2P_REQ_ACK') && answers.includes('PUNCH_TO')) served++;
        }
        network.sent.length = 0;
        await clock.advance(5);
      }
      expect(served).toBe(asked);
      expect(server.metrics.sources).toBeLessThanOrEqual(2 * 65_536);
      expect(server.metrics.devices).toBeLessThanOrEqual(2 * 16_384 + 1);
      await server.close();
    },
    20_000,
  );

  test('does not keep a newcomer out: its second packet passes', async () => {
    const { network, clock, server, random, types } = await stub();
    const flood = () => {
      for (let i = 0; i < 30_000; i++) {
        const [a, b, c, d] = random.bytes(4);
        network.deliver(PORT, { address: `${(a! % 200) + 1}.${b}.${c}.${d}`, port: 9 }, HELLO);
      }
    };
    const newcomer = { address: '192.0.2.200', port: 20 };
    flood();
    network.deliver(PORT, newcomer, HELLO);
    expect(types(newcomer.address)).toEqual([]);
    network.sent.length = 0;
    network.deliver(PORT, newcomer, login(UID));
    expect(types(newcomer.address)).toEqual(['DEV_LGN_ACK']);
    await clock.advance(1);
    await server.close();
  });

  test('hears those who came with a crowd only when they repeat themselves soon, and all others when it is over', async () => {
    const { network, clock, server, types } = await stub();
    const crowd = async (ms: number) => {
      for (let at = 0; at < ms; at += 10) {
        for (let i = 0; i < 100; i++) {
          // Each comes again after 1,500 ms.
          const [address, port] = [`20.${i}.${(at / 10) % 150}.1`, 9];
          network.deliver(PORT, { address, port }, HELLO);
        }
        await clock.advance(10);
      }
    };
    await crowd(1_500);
    network.sent.length = 0;
    const before = server.metrics.crowdedOut;
    await crowd(1_500);
    expect(network.sent).toEqual([]);
    expect(server.metrics.crowdedOut - before).toBe(15_000);

    const slow = { address: '192.0.2.1', port: 9 };
    const newcomer = { address: '192.0.2.2', port: 9 };
    network.deliver(PORT, slow, login(UID));
    network.deliver(PORT, newcomer, login('TEST-000002-BCDEF'));
    await crowd(1_000);
    network.deliver(PORT, newcomer, login('TEST-000002-BCDEF'));
    await crowd(500);
    network.deliver(PORT, slow, login(UID));
    expect([types(slow.address), types(newcomer.address)]).toEqual([[], ['DEV_LGN_ACK']]);

    await clock.advance(2_500);
    network.deliver(PORT, { address: '192.0.2.3', port: 9 }, HELLO);
    expect(types('192.0.2.3')).toEqual(['HELLO_ACK']);
    await server.close();
  });

  test('does not take a device over, however often its packets are repeated', async () => {
    const { network, clock, server, types } = await stub();
    const device = { address: '192.0.2.9', port: 9 };
    const client = { address: '192.0.2.77', port: 7 };
    for (let i = 0; i < 4; i++) {
      network.deliver(PORT, device, login(UID));
      network.deliver(PORT, client, HELLO);
      await clock.advance(1_000);
    }
    for (let ms = 0; ms < 3_000; ms += 5) {
      for (let i = 0; i < 100; i++) {
        network.deliver(PORT, { address: `20.0.${(ms / 5) % 20}.${i}`, port: 9 }, i % 2 ? login(UID) : connect(UID));
      }
      await clock.advance(5);
    }
    network.sent.length = 0;
    // Padded to pay for everything: the flood has used up what the device's logins had paid for.
    network.deliver(PORT, client, Uint8Array.of(...connect(UID), ...new Uint8Array(100)));
    const answers = network.take(client.address).map((data) => decodeMessage(data));
    expect(answers[0]).toMatchObject({ type: 'P2P_REQ_ACK', result: 0 });
    expect(answers[1]).toEqual({ type: 'PUNCH_TO', address: device });
    expect(types(device.address)).toContain('PUNCH_TO');
    await server.close();
  });

  test('of sources that repeat themselves as well is answered only in part, and costs those who are there nothing', async () => {
    const { network, clock, server, types } = await stub();
    const client = { address: '192.0.2.77', port: 7 };
    network.deliver(PORT, client, HELLO);
    await clock.advance(4_000);
    types(client.address);
    let answered = 0;
    for (let ms = 0; ms < 2_000; ms += 5) {
      for (let i = 0; i < 250; i++) {
        network.deliver(
          PORT,
          { address: `20.0.${(ms / 5) % 20}.${i}`, port: 9 },
          encodeMessage({ type: 'LIST_REQ1', uid: UID }),
        );
      }
      if (ms % 100 === 0) network.deliver(PORT, client, encodeMessage({ type: 'DEV_ONLINE_REQ', uid: UID }));
      answered += types(client.address).length;
      await clock.advance(5);
    }
    expect(answered).toBe(20);
    // Two seconds' worth of repetitions, and what came before it was a crowd.
    expect(network.sent.length).toBeLessThan(2 * 5_000 + 2 * 2_000 + 2_000);
    await server.close();
  });
});
