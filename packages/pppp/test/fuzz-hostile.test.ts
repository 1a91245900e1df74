import { type Random, SeededRandom } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { connectByLanSearch, connectDirect, searchLan, StreamCipher } from '../src/index.ts';
import { encodeMessage } from '../src/codec/index.ts';
import { streamBytes } from './channel-bytes.ts';
import { hotspot, LISTEN_PORT, listen, startDevice, UID } from './device-lan.ts';
import { CLIENT_AT, DEVICE_AT, pipe } from './session-pipe.ts';

/** Datagrams per target; TOWPATH_FUZZ multiplies it, for long runs. */
const COUNT: number = Math.round(20_000 * Number(process.env.TOWPATH_FUZZ ?? 1));

const LIMIT_MS: number = 5000 + COUNT / 5;

/** What a peer may legally say, to be mutated. CLOSE is left out: it would end the session as it should. */
const SEEDS: readonly Uint8Array[] = [
  encodeMessage({ type: 'LAN_SEARCH' }),
  encodeMessage({ type: 'PUNCH_PKT', uid: UID }),
  encodeMessage({ type: 'P2P_RDY', uid: UID }),
  encodeMessage({ type: 'P2P_RDY_ACK', uid: UID, address: { address: '192.168.43.1', port: 40_611 } }),
  encodeMessage({ type: 'DRW', channel: 0, index: 0, data: new Uint8Array(20) }),
  encodeMessage({ type: 'DRW', channel: 3, index: 1000, data: new Uint8Array(1024) }),
  encodeMessage({ type: 'DRW', channel: 7, index: 65_535, data: new Uint8Array(1) }),
  encodeMessage({ type: 'DRW_ACK', channel: 0, indices: [0, 1, 2, 3] }),
  encodeMessage({ type: 'DRW_ACK', channel: 3, indices: new Array<number>(82).fill(9) }),
  encodeMessage({ type: 'ALIVE' }),
  encodeMessage({ type: 'ALIVE_ACK' }),
  encodeMessage({ type: 'HELLO_ACK', address: { address: '192.0.2.1', port: 1 } }),
];

const CIPHER = new StreamCipher('camera');

/** A random datagram: a mutated message (perhaps cut, stretched, enciphered) or noise. Never a CLOSE in the clear. */
function hostile(random: Random): Uint8Array {
  if (random.next() < 0.1) return random.bytes(random.integer(0, 64));
  const seed = SEEDS[random.integer(0, SEEDS.length - 1)]!;
  const length = random.next() < 0.2 ? random.integer(0, seed.length + 40) : seed.length;
  const datagram = new Uint8Array(length);
  datagram.set(seed.subarray(0, length));
  for (let flips = random.integer(0, 4); flips > 0 && length > 0; flips--) {
    // Headers are where the harm can be done.
    const at = random.integer(0, Math.min(length - 1, random.next() < 0.8 ? 12 : length - 1));
    datagram[at] = random.integer(0, 255);
  }
  if (datagram[1] === 0xf0) datagram[1] = 0xd0;
  return random.next() < 0.05 ? CIPHER.encipher(datagram) : datagram;
}

describe('hostile datagrams', () => {
  for (const role of ['client', 'device'] as const) {
    test(
      `into a ${role}'s session: no throw, no end, and it still works`,
      async () => {
        const { clock, client, device } = pipe();
        const [victim, peer] = role === 'client' ? [client, device] : [device, client];
        const from: Endpoint = role === 'client' ? DEVICE_AT : CLIENT_AT;
        const random = new SeededRandom(11);
        victim.session.write(0, Buffer.from('login'));
        for (let round = 0; round < COUNT; round++) {
          victim.session.receive(hostile(random), from);
          if (round % 500 === 0) await clock.advance(3);
        }
        expect(victim.session.closed).toBeUndefined();
        expect(victim.session.stats.packetsReceived).toBeGreaterThan(COUNT / 4);
        expect(victim.session.stats.rejected).toBeGreaterThan(COUNT / 20);
        expect(clock.pendingTimers).toBeLessThan(1000);
        victim.session.write(5, streamBytes(0, 50_000));
        await clock.advance(2000);
        expect(peer.streams[5]).toMatchObject({ length: 50_000, intact: true });
        await clock.runUntil(Promise.all([client.session.close(), device.session.close()]));
        await clock.advance(1000);
        expect(clock.pendingTimers).toBe(0);
      },
      LIMIT_MS,
    );
  }

  test(
    'from a wrong source address into a session: no reaction at all',
    () => {
      const { client } = pipe();
      const random = new SeededRandom(12);
      for (let round = 0; round < COUNT; round++) client.session.receive(hostile(random), CLIENT_AT);
      expect(client.sent).toEqual([]);
      expect(client.session.stats).toMatchObject({ rejected: COUNT, packetsReceived: 0 });
      expect(client.streams.every(({ length }) => length === 0)).toBe(true);
    },
    LIMIT_MS,
  );

  test(
    'into a device from many ports: its sessions stay within the limit, and a real client is served afterwards',
    async () => {
      const spot = hotspot();
      const { clock, phone, lan, internet } = spot;
      const { device } = await startDevice(spot, { keys: ['camera'], maxSessions: 4 });
      const attacker = lan.host({ name: 'attacker' });
      const sockets = await Promise.all(Array.from({ length: 16 }, () => attacker.network.bindUdp({ onMessage() {} })));
      const random = new SeededRandom(13);
      const before = internet.openSockets;
      for (let round = 0; round < COUNT; round++) {
        const port = random.next() < 0.2 ? 32_108 : LISTEN_PORT;
        sockets[round % sockets.length]!.send(hostile(random), { address: '192.168.43.1', port });
        if (round % 200 === 0) {
          await clock.advance(2);
          expect(device.sessions.length).toBeLessThanOrEqual(4);
        }
      }
      expect(internet.openSockets).toBe(before);
      await clock.advance(10_000);
      expect(device.sessions).toEqual([]);
      const to = { address: '192.168.43.1', port: LISTEN_PORT };
      const session = await clock.runUntil(connectDirect({ network: phone.network, clock, uid: UID, to }));
      const heard = listen(session);
      await clock.advance(100);
      expect(heard.text).toBe('ACK');
      await clock.runUntil(Promise.all([session.close(), device.close(), ...sockets.map((socket) => socket.close())]));
      await clock.advance(1000);
      expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
    },
    LIMIT_MS,
  );

  test(
    'into connecting attempts and searches: no throw, no session with a stranger, nothing left',
    async () => {
      const spot = hotspot();
      const { clock, phone, camera, internet } = spot;
      const controller = new AbortController();
      const { signal } = controller;
      const common = { network: phone.network, clock, signal };
      const victims: Endpoint[] = [];
      const onSocket = (local: Endpoint) => victims.push({ address: '192.168.43.20', port: local.port });
      const wanted = 'WANTED-000009-BCDEF';
      const attempts = Promise.allSettled([
        connectDirect({ ...common, uid: wanted, to: { address: '192.168.43.1', port: 1 }, onSocket, failEarly: false }),
        connectByLanSearch({ ...common, uid: wanted, onSocket, ciphers: [undefined, CIPHER] }),
      ]);
      await clock.advance(1);
      const socket = await camera.network.bindUdp({ port: 1, onMessage() {} });
      const search = (async () => {
        for await (const { uid } of searchLan({ ...common, durationMs: 60_000 })) expect(uid).not.toBe(wanted);
      })().catch((error: unknown) => error);
      const random = new SeededRandom(14);
      for (let round = 0; round < COUNT; round++) {
        // The direct attempt rightly ends when another device's UID comes from its target.
        socket.send(hostile(random), victims[round % victims.length]!);
        if (round % 500 === 0) await clock.advance(3);
      }
      expect(internet.openSockets).toBe(4);
      controller.abort();
      const outcomes = await attempts;
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
      expect(await search).toBe(signal.reason);
      await socket.close();
      await clock.advance(100);
      expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
    },
    LIMIT_MS,
  );
});
