import { describe, expect, test } from 'vitest';
import type { PpppSession } from '../src/index.ts';
import { connectDirect } from '../src/index.ts';
import { streamBytes } from './channel-bytes.ts';
import { hotspot, LISTEN_PORT, startDevice, UID } from './device-lan.ts';
import { pipe } from './session-pipe.ts';

const PIECE = new Uint8Array(64 * 1024);

/** Megabits per second that arrive in `ms` of virtual time, the device sending all it can. */
async function rateOf(lossRatio: number, ms: number): Promise<number> {
  const { clock, client, device } = pipe({ delayMs: 10, lossRatio });
  const go = () => {
    while (device.session.write(3, PIECE));
  };
  let bytes = 0;
  client.session.attach({ onData: (_channel, data) => (bytes += data.length) });
  device.session.attach({ onData() {}, onDrain: go });
  go();
  await clock.advance(ms);
  return (bytes * 8) / 1000 / ms;
}

/** What arrives of what a link could carry (0…1) in 5 s, and how many packets were repeated per packet sent. */
async function shareOf(bytesPerSecond: number, delayMs: number): Promise<{ share: number; repeats: number }> {
  const spot = hotspot({ delayMs: 0 });
  spot.camera.link.change({ delayMs, up: { bytesPerSecond, queueBytes: 64 * 1024 } });
  let sending: PpppSession | undefined;
  const go = () => {
    while (sending?.write(3, PIECE));
  };
  await startDevice(spot, {
    onSession(session) {
      sending = session;
      session.attach({ onData() {}, onDrain: go });
      go();
    },
  });
  const { clock, phone } = spot;
  const to = { address: '192.168.43.1', port: LISTEN_PORT };
  const session = await clock.runUntil(connectDirect({ network: phone.network, clock, uid: UID, to }));
  let bytes = 0;
  session.attach({ onData: (_channel, data) => (bytes += data.length) });
  await clock.advance(5000);
  const { retransmissions, packetsSent } = sending!.stats;
  return { share: bytes / bytesPerSecond / 5, repeats: retransmissions / packetsSent };
}

describe('pace of a session', () => {
  test('fills a path of 20 ms round trip with more than 300 Mbit/s', async () => {
    expect(await rateOf(0, 1000)).toBeGreaterThan(300);
  });

  test('keeps a good part of that at 1, 5 and 20 % loss in both directions', async () => {
    expect(await rateOf(0.01, 1000)).toBeGreaterThan(120);
    expect(await rateOf(0.05, 1000)).toBeGreaterThan(80);
    expect(await rateOf(0.2, 1000)).toBeGreaterThan(50);
  });

  for (const bytesPerSecond of [30_000, 125_000]) {
    test(`fills a slow link of ${bytesPerSecond} bytes/s and repeats nothing needlessly`, async () => {
      const { share, repeats } = await shareOf(bytesPerSecond, 20);
      expect(share).toBeGreaterThan(0.85);
      expect(repeats).toBeLessThan(0.05);
    });
  }

  test('fills a link of 20 Mbit/s whose queue is short', async () => {
    const { share, repeats } = await shareOf(2_500_000, 10);
    expect(share).toBeGreaterThan(0.8);
    expect(repeats).toBeLessThan(0.25);
  });

  test('a path that becomes ten times slower is noticed, and its packets go out about once again', async () => {
    const { clock, client, device, state } = pipe({ delayMs: 10 });
    const talk = async (messages: number) => {
      const before = client.session.stats.retransmissions;
      for (let message = 0; message < messages; message++) {
        client.session.write(0, streamBytes(0, 100));
        await clock.advance(500);
      }
      return client.session.stats.retransmissions - before;
    };
    expect(await talk(20)).toBe(0);
    state.faults = { delayMs: 100 };
    await talk(20);
    expect(await talk(20)).toBeLessThanOrEqual(2);
    expect(client.session.stats.rttMs).toBeGreaterThan(150);
    expect(device.streams[0]!.length).toBe(6000);
  });

  test('small messages on another channel do not wait behind a bulk transfer', async () => {
    const { clock, client, device } = pipe({ delayMs: 1 });
    device.session.write(3, new Uint8Array(2_000_000));
    device.session.write(0, streamBytes(0, 100));
    await clock.advance(5);
    expect(client.streams[0]!.length).toBe(100);
    expect(client.streams[3]!.length).toBeLessThan(2_000_000);
  });
});
