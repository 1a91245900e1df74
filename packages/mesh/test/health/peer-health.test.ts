import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EchoOptions } from '../../src/health/echo-service.ts';
import { findPathMtu } from '../../src/health/path-mtu.ts';
import { PeerHealth } from '../../src/health/peer-health.ts';

/** A tunnel with a round trip, or none; packets over `mtuBytes` are lost. */
class FakeTunnel {
  rttMs: number | undefined = 20;
  mtuBytes = 1_420;
  lossRatio = 0;
  sent = 0;
  readonly #clock: VirtualClock;
  readonly #random = new SeededRandom(9);
  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }
  ping(_address: string, { signal, packetBytes = 0 }: EchoOptions = {}): Promise<number> {
    this.sent++;
    const { rttMs } = this;
    const lost = rttMs === undefined || packetBytes > this.mtuBytes || this.#random.next() < this.lossRatio;
    return this.#clock.sleep(lost ? 3_600_000 : rttMs, signal).then(() => rttMs ?? 0);
  }
}

describe('PeerHealth', () => {
  let clock: VirtualClock;
  let tunnel: FakeTunnel;
  let health: PeerHealth;
  let story: string[];
  let reconnects: number[];

  beforeEach(() => {
    clock = new VirtualClock();
    tunnel = new FakeTunnel(clock);
    story = [];
    reconnects = [];
  });
  afterEach(async () => {
    await clock.runUntil(health.stop());
    await clock.advance(0);
    expect(clock.pendingTimers).toBe(0);
  });

  function start(): void {
    health = new PeerHealth(
      { clock, random: new SeededRandom(1), echo: tunnel },
      { address: '10.66.0.7', target: 'alice', onReconnect: (attempt) => reconnects.push(attempt) },
    );
    health.events.on('status', ({ status, reason }) => story.push(`${Math.round(clock.now())} ${status} ${reason}`));
  }

  it('is connected at the first answer and sends an echo every 30 s when idle (C6)', async () => {
    start();
    await clock.advance(120_000);
    expect(story).toEqual(['20 connected echo-answered']);
    const { sent } = tunnel;
    await clock.advance(300_000);
    expect(tunnel.sent - sent).toBe(10);
  });

  it('is degraded from 200 ms on, and connected again below 180 ms (C6)', async () => {
    start();
    await clock.advance(1_000);
    tunnel.rttMs = 400;
    await clock.advance(30_000);
    expect(health.status).toBe('degraded');
    tunnel.rttMs = 20;
    await clock.advance(120_000);
    expect(story.map((line) => line.split(' ').slice(1).join(' '))).toEqual([
      'connected echo-answered',
      'degraded echo-slow',
      'connected echo-answered',
    ]);
  });

  it('confirms a lost echo within a second, tries three times 5 s apart, then is failed and goes on trying (C7)', async () => {
    start();
    await clock.advance(60_000);
    tunnel.rttMs = undefined;
    const lostAtMs = clock.now();
    health.wake();
    // The first echo is missed after 500 ms, and the second confirms it.
    await clock.advance(1_100);
    expect([health.status, health.reason]).toEqual(['degraded', 'echo-lost']);
    await clock.advance(14_000);
    expect(reconnects).toEqual([1, 2, 3]);
    expect(health.status).toBe('degraded');
    await clock.advance(2_500);
    expect([health.status, health.reason]).toEqual(['failed', 'reconnect-failed']);
    expect(clock.now() - lostAtMs).toBeLessThan(18_000);
    await clock.advance(600_000);
    expect(reconnects.length).toBeGreaterThan(10);
    tunnel.rttMs = 30;
    await clock.advance(66_000);
    expect(health.status).toBe('connected');
  });

  it('tells of the first echo that is lost, so that the paths are probed', async () => {
    start();
    await clock.advance(60_000);
    let missed = 0;
    health.events.on('missed', () => missed++);
    tunnel.rttMs = undefined;
    health.wake();
    await clock.advance(499);
    expect(missed).toBe(0);
    await clock.advance(2);
    expect([missed, health.status]).toEqual([1, 'connected']);
  });

  it('is connected again as soon as it is woken by news', async () => {
    start();
    await clock.advance(1_000);
    tunnel.rttMs = undefined;
    await clock.advance(100_000);
    expect(health.status).toBe('failed');
    tunnel.rttMs = 20;
    health.wake();
    await clock.advance(25);
    expect(health.status).toBe('connected');
  });

  it('keeps a peer through 30 % loss', async () => {
    start();
    await clock.advance(1_000);
    tunnel.lossRatio = 0.3;
    for (let second = 0; second < 60; second++) {
      health.active();
      await clock.advance(1_000);
    }
    expect(health.status).toBe('connected');
    expect(reconnects).toEqual([]);
  });

  it('says that a peer has left, and finds it when it is back', async () => {
    start();
    await clock.advance(1_000);
    // It still answers while it ends; a call to look at once that came before is not taken for its return.
    health.wake();
    await clock.advance(5);
    health.left();
    await clock.advance(1_000);
    expect([health.status, health.reason]).toEqual(['failed', 'peer-left']);
    tunnel.rttMs = undefined;
    await clock.advance(20_000);
    expect([health.status, health.reason]).toEqual(['failed', 'peer-left']);
    tunnel.rttMs = 20;
    await clock.advance(61_000);
    expect(health.status).toBe('connected');
  });

  it('has one monitor and no echoes left over after 50 reconnects', async () => {
    start();
    for (let turn = 0; turn < 50; turn++) {
      tunnel.rttMs = 20;
      health.wake();
      await clock.advance(5_000);
      expect(health.status).toBe('connected');
      tunnel.rttMs = undefined;
      health.wake();
      await clock.advance(2_500);
      expect(health.status).toBe('degraded');
    }
    tunnel.rttMs = 20;
    health.wake();
    await clock.advance(60_000);
    const { sent } = tunnel;
    await clock.advance(60_000);
    expect(tunnel.sent - sent).toBeLessThanOrEqual(2);
  });
});

describe('findPathMtu', () => {
  it.each([
    [1_420, 1_420],
    [1_400, 1_400],
    [1_399, 1_360],
    [1_280, 1_280],
    [1_279, 1_200],
    [1_100, 1_200],
  ])('finds the size for packets of at most %i bytes', async (mtuBytes, found) => {
    const clock = new VirtualClock();
    const tunnel = new FakeTunnel(clock);
    tunnel.mtuBytes = mtuBytes;
    const options = { address: '10.66.0.7', rttMs: 20 };
    expect(await clock.runUntil(findPathMtu({ clock, echo: tunnel }, options))).toBe(found);
    expect(clock.pendingTimers).toBe(0);
  });

  it('claims nothing when small echoes are lost as well', async () => {
    const clock = new VirtualClock();
    const tunnel = new FakeTunnel(clock);
    tunnel.rttMs = undefined;
    const options = { address: '10.66.0.7', rttMs: 20 };
    expect(await clock.runUntil(findPathMtu({ clock, echo: tunnel }, options))).toBeUndefined();
  });
});
