import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { UdpSocket } from '@towpath/net';
import { SimulatedInternet } from '@towpath/net/simulated';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Hop } from '../../src/hop/hop.ts';
import type { PeerPath } from '../../src/peer-path.ts';

const INITIATION = 1;
const RESPONSE = 2;
const DATA = 4;

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

  const path = pathTo((data) => void sent.push(data[0]!));

  async function send(type: number): Promise<void> {
    wireGuard.send(messageOf(type), hop.endpoint);
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
    hop.deliver(messageOf(INITIATION));
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

describe('handshakes while no path is verified', () => {
  let clock: VirtualClock;
  let wireGuard: UdpSocket;
  let hop: Hop;
  let arrived: number[];
  /** What was sent before there was a path, and on it. */
  let early: number[];
  let later: number[];

  beforeEach(async () => {
    clock = new VirtualClock();
    const { network } = new SimulatedInternet({ clock, random: new SeededRandom(1) }).host({ name: 'a' });
    arrived = [];
    early = [];
    later = [];
    const onMessage = (data: Uint8Array) => void arrived.push(data[0]!);
    wireGuard = await network.bindUdp({ address: '127.0.0.1', port: 51_820, onMessage });
    hop = await Hop.open({ network, clock }, { wireGuard: wireGuard.local });
  });
  afterEach(async () => {
    await hop.close();
    await wireGuard.close();
    expect(clock.pendingTimers).toBe(0);
  });

  const sendEarly = (data: Uint8Array) => void early.push(data[0]!);
  const path = (): PeerPath => pathTo((data) => void later.push(data[0]!));

  async function send(type: number): Promise<void> {
    wireGuard.send(messageOf(type), hop.endpoint);
    await clock.advance(10);
  }

  it('send the initiation that waits on four pairs at most, and again on the first path', async () => {
    hop.initiate(sendEarly);
    expect(early).toEqual([]);
    await send(DATA);
    await send(INITIATION);
    for (let pair = 0; pair < 10; pair++) hop.initiate(sendEarly);
    expect(early).toEqual(Array(4).fill(INITIATION));
    hop.setPaths(path());
    expect(later).toEqual([DATA, INITIATION]);
    hop.initiate(sendEarly);
    expect(early).toHaveLength(4);
  });

  it('do not repeat an initiation that was answered', async () => {
    await send(INITIATION);
    hop.initiate(sendEarly);
    hop.deliver(messageOf(RESPONSE));
    hop.initiate(sendEarly);
    hop.setPaths(path());
    await clock.advance(10);
    expect([early, later, arrived]).toEqual([[INITIATION], [], [RESPONSE]]);
  });

  it('send one response to where an initiation came from, and nothing else', async () => {
    await send(RESPONSE);
    hop.deliver(messageOf(INITIATION), sendEarly);
    await send(DATA);
    await send(RESPONSE);
    await send(RESPONSE);
    expect(early).toEqual([RESPONSE]);
    hop.setPaths(path());
    expect(later).toEqual([RESPONSE, DATA, RESPONSE, RESPONSE]);
  });

  it('send the response on the path once there is one', async () => {
    hop.deliver(messageOf(INITIATION), sendEarly);
    hop.setPaths(path());
    await send(RESPONSE);
    expect([early, later]).toEqual([[], [RESPONSE]]);
  });

  it('leave the initiation of the end that yields where it is, and forget it when one of the peer arrives', async () => {
    const { network } = new SimulatedInternet({ clock, random: new SeededRandom(1) }).host({ name: 'b' });
    await using other = await network.bindUdp({ address: '127.0.0.1', port: 51_820, onMessage: () => {} });
    await using yielding = await Hop.open({ network, clock }, { wireGuard: other.local, yieldsHandshake: true });
    other.send(messageOf(INITIATION), yielding.endpoint);
    await clock.advance(10);
    yielding.initiate(sendEarly);
    yielding.deliver(messageOf(INITIATION));
    yielding.setPaths(path());
    await clock.advance(5_000);
    expect([early, later]).toEqual([[], []]);
  });
});

function pathTo(send: (data: Uint8Array) => void): PeerPath {
  return {
    id: 'p',
    kind: 'p2p',
    family: 4,
    local: { address: '0.0.0.0', port: 40_000 },
    remote: { address: '203.0.113.2', port: 40_000 },
    relay: undefined,
    isPlain: true,
    send,
  };
}

function messageOf(type: number): Uint8Array {
  return Uint8Array.of(type, 0, 0, 0);
}
