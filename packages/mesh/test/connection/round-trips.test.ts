import type { PathPolicy } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import { type NatOptions, natKinds, type SimulatedPacket } from '@towpath/net/simulated';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConnectionManager, NATTraversal } from '../../src/index.ts';
import { encodeCandidateSignal } from '../../src/paths/candidate-signal.ts';
import { SimulatedWireGuard } from '../../src/simulated/index.ts';
import { PARTY, type PartyMember, SimulatedParty } from '../paths/party.ts';

/** Between any two hosts, and of a signal each way to the server and on. */
const RTT_MS = 20;
/** Relays are allocated and measured, as in a daemon that runs. */
const SETTLE_MS = 20_000;
const INITIATION = 1;

interface End {
  member: PartyMember;
  tunnel: SimulatedWireGuard;
  manager: ConnectionManager;
}

describe('round trips from connectToPeer to the first echo', () => {
  let party: SimulatedParty;
  let ends: End[];

  beforeEach(async () => {
    party = new SimulatedParty(1, { portMapping: false }, { link: { delayMs: RTT_MS / 4 } });
    await party.startRelay();
    ends = [];
  });
  afterEach(async () => {
    for (const { manager, tunnel } of ends) {
      await party.clock.runUntil(manager.close());
      await party.clock.runUntil(tunnel[Symbol.asyncDispose]());
    }
    await party.close();
    expect([party.clock.pendingTimers, party.internet.openSockets]).toEqual([0, 0]);
  });

  async function join(name: string, nat: NatOptions, policy: PathPolicy = 'auto'): Promise<End> {
    const member = await party.member(name, nat);
    const components = { network: member.network, clock: party.clock, random: party.random };
    const tunnel = await SimulatedWireGuard.open(components);
    const finder = new NATTraversal({ finder: member.finder });
    const end = {
      member,
      tunnel,
      manager: new ConnectionManager({ components, policy }, tunnel, finder, member.control),
    };
    ends.push(end);
    return end;
  }

  /** Round trips until each end has its first echo, both having begun at once. */
  async function connect(a: End, b: End): Promise<[number, number]> {
    const startedMs = party.clock.now();
    const one = async (from: End, to: End) => {
      await from.manager.connectToPeer(PARTY, to.member.peer.id);
      return (party.clock.now() - startedMs) / RTT_MS;
    };
    return party.clock.runUntil(Promise.all([one(a, b), one(b, a)]));
  }

  /** Handshake initiations that leave their host, by where they go to; what the hop and WireGuard exchange is none. */
  function initiations(): Map<string, number> {
    const sent = new Map<string, number>();
    party.internet.intercept((packet, next) => {
      if (packet.payload[0] === INITIATION && packet.payload.length === 148) add(sent, packet);
      next();
    });
    return sent;
  }

  it('over a relay: six at the end that begins the handshake, seven at the other (C10)', async () => {
    const [a, b] = [
      await join('a', natKinds.portRestricted, 'relay-only'),
      await join('b', natKinds.portRestricted, 'relay-only'),
    ];
    await party.clock.advance(SETTLE_MS);
    const [first, second] = await connect(a, b);
    expect(first).toBeLessThanOrEqual(6);
    expect(second).toBeLessThanOrEqual(7);
    expect((await a.manager.getConnectionStatus(b.member.peer.id))?.strategy).toBe('relay');
  });

  it('over a relay to which all requests for permissions take a round trip more: nine', async () => {
    const [a, b] = [
      await join('a', natKinds.portRestricted, 'relay-only'),
      await join('b', natKinds.portRestricted, 'relay-only'),
    ];
    await party.clock.advance(SETTLE_MS);
    const isPermission = ({ payload }: SimulatedPacket) => payload[0] === 0 && payload[1] === 8;
    party.internet.intercept((packet, next) => {
      if (isPermission(packet)) party.clock.timer(RTT_MS, next);
      else next();
    });
    const [first] = await connect(a, b);
    expect(first).toBeLessThanOrEqual(9);
  });

  it('between two cones: a handshake that begins over the relay goes on over the direct path (C10)', async () => {
    const [a, b] = [await join('a', natKinds.portRestricted), await join('b', natKinds.portRestricted)];
    await party.clock.advance(SETTLE_MS);
    const [first, second] = await connect(a, b);
    expect(first).toBeLessThanOrEqual(4);
    expect(second).toBeLessThanOrEqual(5);
    expect((await a.manager.getConnectionStatus(b.member.peer.id))?.strategy).toBe('direct');
  });

  it('no handshake goes to an address that is not verified, other than that of a relay of this node, and few go there', async () => {
    const a = await join('a', natKinds.portRestricted);
    const b = await party.member('b', natKinds.portRestricted);
    await party.clock.advance(SETTLE_MS);
    const stranger = party.internet.host({ name: 'stranger' });
    const relay = relayAddress(party);
    const sent = initiations();
    const connecting = a.manager.connectToPeer(PARTY, b.peer.id).catch((error: unknown) => error);
    await party.clock.advance(1);
    const relayed = (address: string, port: number) => ({ type: 'relayed' as const, endpoint: { address, port } });
    const candidates = [
      relayed(stranger.address, 40_000),
      { type: 'host' as const, endpoint: { address: stranger.address, port: 40_001 } },
      ...Array.from({ length: 10 }, (_, at) => relayed(relay, 50_000 + at)),
    ];
    party.deliver(
      b.peer,
      a.member.peer.id,
      encodeCandidateSignal({ session: 1, wantsAnswer: false, candidates, nat: undefined }),
    );
    await party.clock.advance(2_000);
    const outside = [...sent].filter(([to]) => !to.startsWith('127.'));
    expect(outside.filter(([to]) => to.startsWith(`${stranger.address}:`))).toEqual([]);
    expect(outside.reduce((sum, [, count]) => sum + count, 0)).toBe(4);
    await party.clock.runUntil(a.manager.disconnectFromPeer(b.peer.id));
    await party.clock.runUntil(connecting);
  });
});

function add(sent: Map<string, number>, { destination, destinationPort }: SimulatedPacket): void {
  const to: Endpoint = { address: destination, port: destinationPort };
  sent.set(formatEndpoint(to), (sent.get(formatEndpoint(to)) ?? 0) + 1);
}

function relayAddress(party: SimulatedParty): string {
  return /^turn:([\d.]+):/.exec(party.relays()[0]!.urls[0]!)![1]!;
}
