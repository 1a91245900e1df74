import { natKinds } from '@towpath/net/simulated';
import { SimulatedWireGuard } from '@towpath/mesh/simulated';
import { afterEach, describe, expect, it } from 'vitest';
import { ConnectionManager, NATTraversal, type PeerConnection } from '../../src/index.ts';
import { PARTY, type PartyMember, SimulatedParty } from '../paths/party.ts';

interface End {
  readonly member: PartyMember;
  readonly tunnel: SimulatedWireGuard;
  readonly manager: ConnectionManager;
}

/** A WireGuard message; a STUN response also begins with 1, and is no such message. */
const isWireGuard = (payload: Uint8Array) =>
  payload[0]! >= 1 && payload[0]! <= 4 && payload[1] === 0 && payload[2] === 0 && payload[3] === 0;

describe('a direct path that passes checks and loses the data', () => {
  let party: SimulatedParty;
  let ends: End[] = [];
  /** Seen from the first member: when an echo was answered, `Clock.now`. */
  let answeredAtMs: number[] = [];

  afterEach(async () => {
    for (const { manager, tunnel } of ends) {
      await party.clock.runUntil(manager.close());
      await party.clock.runUntil(tunnel[Symbol.asyncDispose]());
    }
    await party.close();
    await party.clock.advance(60_000);
    expect(party.clock.pendingTimers).toBe(0);
  });

  async function connect(seed: number): Promise<PeerConnection> {
    party = new SimulatedParty(seed);
    await party.startRelay();
    ends = [];
    answeredAtMs = [];
    for (const name of ['a', 'b']) {
      const member = await party.member(name, natKinds.portRestricted);
      const components = { network: member.network, clock: party.clock, random: party.random };
      const tunnel = await SimulatedWireGuard.open(components);
      const nat = new NATTraversal({ finder: member.finder });
      const manager = new ConnectionManager({ components }, tunnel, nat, member.control);
      ends.push({ member, tunnel, manager });
    }
    for (const { manager } of ends) await party.clock.runUntil(manager.maintainParty(PARTY));
    return ends[0]!.manager.connections.get(ends[1]!.member.peer.id)!;
  }

  /** Twenty echoes a second from the first member, as a transfer that both ends take part in. */
  async function talk(ms: number): Promise<void> {
    const { clock } = party;
    const [{ tunnel }, { member }] = ends as [End, End];
    const ended = new AbortController();
    for (let at = 0; at < ms; at += 50) {
      tunnel.echo.ping(member.peer.virtualAddress, { signal: ended.signal }).then(
        () => answeredAtMs.push(clock.now()),
        () => {},
      );
      await clock.advance(50);
    }
    ended.abort(new Error('enough'));
  }

  function outageSince(sinceMs: number): number {
    const times = [sinceMs, ...answeredAtMs.filter((at) => at > sinceMs), party.clock.now()];
    return Math.max(...times.slice(1).map((at, index) => at - times[index]!));
  }

  /** Something between the two members drops WireGuard; relays are elsewhere. */
  function dropWireGuard(): () => void {
    const relays = new Set(party.relays().flatMap(({ urls }) => urls.map((url) => /[\d.]{7,}/.exec(url)![0])));
    return party.internet.intercept(({ source, destination, payload, protocol }, next) => {
      const isDirect = !relays.has(source) && !relays.has(destination);
      if (protocol !== 'udp' || !isDirect || source.startsWith('127.') || !isWireGuard(payload)) next();
    });
  }

  it('is left for the relay within 3 s with its own reason, not tried for a minute, and used again when it carries data', async () => {
    const connection = await connect(51);
    await party.clock.advance(10_000);
    await talk(3_000);
    expect([connection.describe().path?.kind, connection.status]).toEqual(['p2p', 'connected']);
    const pass = dropWireGuard();
    const fromMs = party.clock.now();
    await talk(20_000);
    expect(connection.describe()).toMatchObject({
      path: { kind: 'relay' },
      pathReason: 'data-lost',
      status: 'connected',
    });
    expect(outageSince(fromMs)).toBeLessThan(3_000);
    expect(connection.paths.status().map(({ kind, health }) => [kind, health])).toContainEqual(['p2p', 'good']);
    const leftAtMs = party.clock.now();
    pass();
    await talk(30_000);
    expect(connection.describe().path?.kind).toBe('relay');
    await talk(40_000);
    expect(connection.describe()).toMatchObject({ path: { kind: 'p2p' }, pathReason: 'direct', status: 'connected' });
    expect(outageSince(leftAtMs)).toBeLessThan(500);
  });

  it('is tried less and less often while it goes on to lose the data', async () => {
    const connection = await connect(52);
    await party.clock.advance(10_000);
    dropWireGuard();
    const switches = () => connection.paths.log().filter(({ what }) => what === 'switch').length;
    await talk(10_000);
    const before = switches();
    await talk(600_000);
    // After 1, 2 and 4 minutes, each time there and back.
    expect(switches() - before).toBeLessThanOrEqual(6);
    expect(connection.describe().path?.kind).toBe('relay');
  });

  it('is never used where it lost the data from the beginning', async () => {
    const connection = await connect(53);
    dropWireGuard();
    await talk(30_000);
    expect(connection.describe()).toMatchObject({ path: { kind: 'relay' }, status: 'connected' });
    expect(outageSince(party.clock.now() - 15_000)).toBeLessThan(500);
  });

  it('is not blamed for a remote WireGuard that stands still, and is in use when that goes on', async () => {
    const connection = await connect(54);
    await party.clock.advance(10_000);
    await talk(3_000);
    const switches = () => connection.paths.log().filter(({ what }) => what === 'switch').length;
    const before = switches();
    const loopback = party.internet.intercept(({ payload, protocol }, next) => {
      if (protocol !== 'udp' || !isWireGuard(payload)) next();
    });
    await talk(60_000);
    expect(connection.status).toBe('failed');
    // There and back, on the relay as on the direct path.
    expect(switches() - before).toBeLessThanOrEqual(2);
    loopback();
    await talk(70_000);
    expect(connection.describe()).toMatchObject({ path: { kind: 'p2p' }, status: 'connected' });
    expect(switches() - before).toBeLessThanOrEqual(4);
  });
});
