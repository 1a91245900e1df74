import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { UdpSocket } from '@towpath/net';
import { SimulatedInternet } from '@towpath/net/simulated';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Hop } from '../../src/hop/hop.ts';
import type { PeerPath } from '../../src/peer-path.ts';

const INITIATION = 1;
const RESPONSE = 2;

describe('handshake initiations of one end of each pair', () => {
  let clock: VirtualClock;
  let wireGuard: UdpSocket;
  let hop: Hop;
  let sent: number[];

  beforeEach(async () => {
    clock = new VirtualClock();
    const { network } = new SimulatedInternet({ clock, random: new SeededRandom(1) }).host({ name: 'a' });
    wireGuard = await network.bindUdp({ address: '127.0.0.1', port: 51_820, onMessage: () => {} });
    hop = await Hop.open({ network, clock }, { wireGuard: wireGuard.local, yieldsHandshake: true });
    sent = [];
  });
  afterEach(async () => {
    await hop.close();
    await wireGuard.close();
    expect(clock.pendingTimers).toBe(0);
  });

  const path: PeerPath = {
    id: 'p',
    kind: 'p2p',
    family: 4,
    local: { address: '0.0.0.0', port: 40_000 },
    remote: { address: '203.0.113.2', port: 40_000 },
    relay: undefined,
    isPlain: true,
    send: (data) => void sent.push(data[0]!),
  };
  const message = (type: number) => Uint8Array.of(type, 0, 0, 0);

  async function send(type: number): Promise<void> {
    wireGuard.send(message(type), hop.endpoint);
    await clock.advance(10);
  }

  it('leave a moment later when the peer sends none', async () => {
    hop.setPaths(path);
    await send(INITIATION);
    expect(sent).toEqual([]);
    await clock.advance(500);
    expect(sent).toEqual([INITIATION]);
  });

  it('do not leave when one of the peer arrives meanwhile, while everything else leaves at once', async () => {
    hop.setPaths(path);
    await send(INITIATION);
    hop.deliver(message(INITIATION));
    await send(RESPONSE);
    expect(sent).toEqual([RESPONSE]);
    await clock.advance(5_000);
    expect(sent).toEqual([RESPONSE]);
  });

  it('wait for a path, only the last one', async () => {
    await send(INITIATION);
    await send(INITIATION);
    hop.setPaths(path);
    await clock.advance(500);
    expect(sent).toEqual([INITIATION]);
  });
});
