import type { Log } from '@towpath/core';
import type { NetworkChange } from '@towpath/net';
import { natKinds, type SimulatedPacket } from '@towpath/net/simulated';
import type { TurnServer } from '@towpath/stun/server';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerPaths } from '../../src/index.ts';
import { datagramOf, type PartyMember, SimulatedParty } from '../paths/party.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
type Passes = (packet: SimulatedPacket) => boolean;

/** A member behind a hard NAT, in a network that lets some packets pass. */
interface End {
  member: PartyMember;
  passes: Passes;
  /** When a packet over TCP passed last. */
  tcpAtMs: number;
  /** When the relay was asked for an address over UDP. */
  askedAtMs: number[];
  tell(change: NetworkChange): void;
}

describe('a pair on one relay', () => {
  let party: SimulatedParty;
  let relay: TurnServer;
  let a: End;
  let b: End;
  let toB: PeerPaths;
  let toA: PeerPaths;
  let sent: number;

  afterEach(close);

  async function close(): Promise<void> {
    await party.close();
    await party.clock.advance(60_000);
    expect(party.clock.pendingTimers).toBe(0);
  }

  async function end(name: string, passes: Passes): Promise<End> {
    const nat = party.internet.nat({ ...natKinds.symmetricRandom, subnet: `192.168.${party.members.length + 1}.0/24` });
    const host = nat.host({ name });
    const listeners = new Set<(changes: readonly NetworkChange[]) => void>();
    const subscribe = (listener: (changes: readonly NetworkChange[]) => void) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    };
    const made: Omit<End, 'member'> = {
      passes,
      tcpAtMs: Number.NEGATIVE_INFINITY,
      askedAtMs: [],
      tell: (change) => {
        for (const listener of listeners) listener([change]);
      },
    };
    party.internet.intercept((packet, next) => {
      if (packet.source === host.address && isAllocate(packet)) made.askedAtMs.push(party.clock.now());
      const isOwn = [packet.source, packet.destination].includes(host.address);
      if (isOwn && !made.passes(packet)) return;
      if (isOwn && packet.protocol === 'tcp') made.tcpAtMs = party.clock.now();
      next();
    });
    return Object.assign(made, { member: await party.memberOn(name, { ...host.network, changes: { subscribe } }) });
  }

  async function connect(
    seed: number,
    [ofA, ofB]: readonly [Passes, Passes],
    { limits, log }: { limits?: { allocationsPerUser: number }; log?: Log } = {},
  ): Promise<void> {
    party = new SimulatedParty(seed, { portMapping: false });
    party.log = log;
    relay = await party.startRelay({}, limits);
    [a, b] = [await end('a', ofA), await end('b', ofB)];
    [toB, toA] = [a.member.connect(b.member), b.member.connect(a.member)];
    sent = 0;
    await party.clock.advance(10 * SECOND_MS);
  }

  /** Each end sends 10 datagrams a second, as the hop does: on the second path, too, while there is one. */
  async function talk(ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 100) {
      for (const paths of [toB, toA]) {
        paths.current?.send(datagramOf(`${sent}`));
        paths.also?.send(datagramOf(`${sent}`));
      }
      sent++;
      await party.clock.advance(100);
    }
  }

  /** Datagrams to `a` and to `b` that have not arrived since the last call. */
  function lost(): number[] {
    const counts = [a, b].map(({ member }) => sent - new Set(member.received.splice(0)).size);
    sent = 0;
    return counts;
  }

  const isOverTcp = ({ tcpAtMs }: End) => party.clock.now() - tcpAtMs < 30 * SECOND_MS;

  // One of the ends' relayed addresses is used, whichever end's it is.
  it.each([1, 2, 3])(
    'that began over TCP is back on UDP within an interval after 10 min without, and loses nothing: seed %i',
    { timeout: 60_000 },
    async (seed) => {
      await connect(seed, [noUdp, everything]);
      await talk(10 * MINUTE_MS);
      expect([toB.current?.relay, isOverTcp(a)]).toEqual([expect.stringContaining('?transport=tcp'), true]);
      a.passes = everything;
      await talk(9 * MINUTE_MS);
      expect(lost()).toEqual([0, 0]);
      expect([isOverTcp(a), relay.stats.allocations]).toEqual([false, 2]);
      expect(toB.current?.relay).not.toContain('?transport=tcp');
    },
  );

  it.each([1, 3])(
    'goes on over TCP soon after UDP is blocked, and is back within an interval after it passes: seed %i',
    { timeout: 60_000 },
    async (seed) => {
      await connect(seed, [everything, everything]);
      a.passes = noUdp;
      await talk(20 * SECOND_MS);
      // The requests to the relay over UDP must have failed first.
      expect(Math.max(...lost())).toBeLessThan(170);
      await talk(10 * MINUTE_MS);
      expect([toB.current?.relay, isOverTcp(a)]).toEqual([expect.stringContaining('?transport=tcp'), true]);
      a.passes = everything;
      await talk(8.8 * MINUTE_MS);
      expect(lost()).toEqual([0, 0]);
      expect([isOverTcp(a), relay.stats.allocations]).toEqual([false, 2]);
      expect(toB.current?.relay).not.toContain('?transport=tcp');
    },
  );

  it('is back on UDP at once when the network changes', async () => {
    await connect(3, [everything, everything]);
    a.passes = noUdp;
    await talk(6 * MINUTE_MS);
    a.passes = everything;
    lost();
    expect(isOverTcp(a)).toBe(true);
    a.tell({ kind: 'address-added', name: 'eth0', address: '192.168.7.7', family: 4 });
    await talk(50 * SECOND_MS);
    expect([lost(), isOverTcp(a)]).toEqual([[0, 0], false]);
    // The address of before could not be released, and its time runs out.
    await talk(6 * MINUTE_MS);
    expect(relay.stats.allocations).toBe(2);
  });

  it('does not leave UDP where the network is away as a whole for a minute', async () => {
    await connect(3, [everything, everything]);
    a.passes = () => false;
    await talk(MINUTE_MS);
    a.passes = everything;
    await talk(20 * SECOND_MS);
    lost();
    await talk(31 * SECOND_MS);
    expect([lost(), isOverTcp(a)]).toEqual([[0, 0], false]);
  });

  it('goes on over TCP where UDP is blocked for both', async () => {
    await connect(3, [everything, everything]);
    a.passes = noUdp;
    b.passes = noUdp;
    await talk(20 * SECOND_MS);
    lost();
    await talk(MINUTE_MS);
    expect([lost(), [a, b].map(isOverTcp)]).toEqual([
      [0, 0],
      [true, true],
    ]);
  });

  it.each([1, 2, 3])(
    'is back on UDP where both ends were without, together or one of them: seed %i',
    async (seed) => {
      await connect(seed, [noUdp, noUdp]);
      await talk(3 * MINUTE_MS);
      expect([a, b].map(isOverTcp)).toEqual([true, true]);
      a.passes = everything;
      await talk(5 * MINUTE_MS);
      expect([a, b].map(isOverTcp)).toEqual([false, true]);
      b.passes = everything;
      await talk(9 * MINUTE_MS);
      expect([lost(), [a, b].map(isOverTcp), relay.stats.allocations]).toEqual([[0, 0], [false, false], 2]);
      await close();
      await connect(seed, [noUdp, noUdp]);
      await talk(3 * MINUTE_MS);
      a.passes = everything;
      b.passes = everything;
      await talk(5 * MINUTE_MS);
      expect([lost(), [a, b].map(isOverTcp), relay.stats.allocations]).toEqual([[0, 0], [false, false], 2]);
    },
    60_000,
  );

  it('stays on TCP where the relay grants each member one address only, and complains of nothing', async () => {
    const lines: string[] = [];
    await connect(3, [noUdp, everything], { limits: { allocationsPerUser: 1 }, log: logOf(lines) });
    await talk(MINUTE_MS);
    a.passes = everything;
    await talk(8 * MINUTE_MS);
    expect([lost(), isOverTcp(a), relay.stats.allocations]).toEqual([[0, 0], true, 2]);
    expect(toB.current?.relay).toContain('?transport=tcp');
    expect(lines).toEqual([]);
  });

  it('stays on TCP where UDP carries the requests to the relay and loses its data, and asks later and later', async () => {
    await connect(3, [noUdp, everything]);
    await talk(MINUTE_MS);
    a.passes = noRelayedUdp;
    a.askedAtMs.splice(0);
    await talk(20 * MINUTE_MS);
    expect([lost(), isOverTcp(a), relay.stats.allocations]).toEqual([[0, 0], true, 2]);
    expect(toB.current?.relay).toContain('?transport=tcp');
    const attempts = a.askedAtMs.filter((atMs, at) => atMs - (a.askedAtMs[at - 1] ?? 0) > 10 * SECOND_MS);
    const waits = attempts.slice(1).map((atMs, at) => atMs - attempts[at]!);
    expect(waits.length).toBeGreaterThanOrEqual(2);
    for (const [at, waitMs] of waits.slice(1).entries()) expect(waitMs).toBeGreaterThan(waits[at]! * 1.4);
  });
});

function everything(): boolean {
  return true;
}

function noUdp({ protocol }: SimulatedPacket): boolean {
  return protocol !== 'udp';
}

/** Neither ChannelData nor the indications that carry data (RFC 8656 §11.6, 12.4). */
function noRelayedUdp({ protocol, payload }: SimulatedPacket): boolean {
  const type = ((payload[0] ?? 0) << 8) | (payload[1] ?? 0);
  return protocol !== 'udp' || (type !== 0x0016 && type !== 0x0017 && (type < 0x4000 || type > 0x4fff));
}

function isAllocate({ protocol, payload }: SimulatedPacket): boolean {
  return protocol === 'udp' && payload[0] === 0 && payload[1] === 3;
}

/** Takes down warnings and errors. */
function logOf(lines: string[]): Log {
  const note = (text: string) => void lines.push(text);
  const log: Log = { trace: () => {}, debug: () => {}, info: () => {}, warn: note, error: note, child: () => log };
  return log;
}
