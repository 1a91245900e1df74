import { silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, it } from 'vitest';
import { PeerMtu } from '../../src/connection/peer-mtu.ts';
import type { EchoOptions } from '../../src/health/echo-service.ts';
import type { PeerHealth } from '../../src/health/peer-health.ts';
import { FakeMachine } from './fakes.ts';

/** A reached peer behind a path that carries packets of so many bytes. */
function rig() {
  const clock = new VirtualClock();
  const machine = new FakeMachine(clock);
  const path = { carriesBytes: 1_420, sizes: [] as number[] };
  const ping = async (_address: string, { packetBytes = 0, signal }: EchoOptions = {}) => {
    path.sizes.push(packetBytes);
    await clock.sleep(packetBytes <= path.carriesBytes ? 20 : 60_000, signal);
    return 20;
  };
  const health = { reached: async () => {}, rttMs: 20 } as unknown as PeerHealth;
  const changes: number[] = [];
  const echo = { ...machine.echo, ping };
  const mtu = new PeerMtu({ clock, log: silentLog, machine: Object.assign(machine, { echo }) }, health, {
    virtualIp: '10.66.0.7',
    mtuChanged: () => changes.push(mtu.bytes),
  });
  return { clock, machine, path, changes, mtu };
}

describe('the largest packet to a peer (C3, C8)', () => {
  it('is found for each new path, and again every ten minutes', async () => {
    const { clock, machine, path, changes, mtu } = rig();
    await clock.runUntil(mtu.test());
    expect([mtu.bytes, changes, machine.mtus.size]).toEqual([1_420, [], 0]);
    path.carriesBytes = 1_300;
    await clock.advance(610_000);
    expect([mtu.bytes, changes, machine.mtus.get('10.66.0.7')]).toEqual([1_280, [1_280], 1_280]);
    path.carriesBytes = 1_420;
    await clock.advance(610_000);
    expect([mtu.bytes, changes, machine.mtus.size]).toEqual([1_420, [1_280, 1_420], 0]);
    mtu.end('The test ends.');
    expect(clock.pendingTimers).toBe(0);
  });

  it('is looked at every 30 s while data is carried, so that large packets are not lost for minutes', async () => {
    const { clock, machine, path, changes, mtu } = rig();
    await clock.runUntil(mtu.test());
    path.sizes.length = 0;
    for (let second = 0; second < 90; second++) {
      void mtu.inUse();
      await clock.advance(1_000);
    }
    expect(path.sizes).toEqual([1_420, 1_420]);
    path.carriesBytes = 1_300;
    for (let second = 0; second < 36; second++) {
      void mtu.inUse();
      await clock.advance(1_000);
    }
    expect([mtu.bytes, changes, machine.mtus.get('10.66.0.7')]).toEqual([1_280, [1_280], 1_280]);
    mtu.end('The test ends.');
    expect(clock.pendingTimers).toBe(0);
  });

  it('is tested again after a test that failed, as when the interface was gone', async () => {
    const { clock, machine, path, mtu } = rig();
    const setPeerMtu = machine.setPeerMtu.bind(machine);
    machine.setPeerMtu = async () => {
      throw new Error('Cannot find device');
    };
    await clock.runUntil(mtu.test());
    machine.setPeerMtu = setPeerMtu;
    path.carriesBytes = 1_300;
    await clock.advance(610_000);
    expect([mtu.bytes, machine.mtus.get('10.66.0.7')]).toEqual([1_280, 1_280]);
    mtu.end('The test ends.');
    expect(clock.pendingTimers).toBe(0);
  });

  it('stays while nothing is answered, and is not tested while a peer is idle or its path is', async () => {
    const { clock, path, changes, mtu } = rig();
    // Before the first path there is nothing to test.
    await mtu.inUse();
    await clock.runUntil(mtu.test());
    path.sizes.length = 0;
    await clock.advance(300_000);
    expect(path.sizes).toEqual([]);
    path.carriesBytes = -1;
    void mtu.inUse();
    await clock.advance(20_000);
    expect([mtu.bytes, changes]).toEqual([1_420, []]);
    mtu.end('The test ends.');
    await clock.advance(0);
    expect(clock.pendingTimers).toBe(0);
  });
});
