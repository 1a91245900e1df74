import { afterEach, describe, expect, it } from 'vitest';
import { ConnectionError } from '../../src/index.ts';
import { createFakes, type Fakes, PARTY, peer } from './fakes.ts';

const ALICE = peer(7, { name: 'alice' });

describe('ConnectionManager', () => {
  let fakes: Fakes;
  afterEach(async () => {
    await fakes.clock.runUntil(fakes.manager.close());
    await fakes.clock.advance(0);
    expect(fakes.machine.peers.size).toBe(0);
    expect(fakes.finder.opened.every(({ closed }) => closed)).toBe(true);
    expect(fakes.clock.pendingTimers).toBe(0);
  });

  it('connects, says how, and disconnects (C1, C2)', async () => {
    fakes = createFakes([ALICE]);
    const { clock, machine, finder, manager } = fakes;
    machine.up.add(ALICE.virtualAddress);
    const connecting = manager.connectToPeer(PARTY, ALICE.id);
    await clock.advance(1);
    finder.opened[0]!.select('p2p');
    expect(await clock.runUntil(connecting)).toBe(true);
    const status = await manager.getConnectionStatus(ALICE.id);
    expect(status).toMatchObject({
      peerId: ALICE.id,
      virtualIp: '10.66.0.7',
      endpoint: '203.0.113.42:40001',
      strategy: 'direct',
      status: 'connected',
      reason: 'echo-answered',
      pathReason: 'first',
      dataPlane: 'hop',
    });
    expect(status?.latencyMs).toBeCloseTo(20, 0);
    expect(Date.parse(status!.connectedAt!)).toBeGreaterThan(0);
    expect([...machine.peers.values()][0]).toMatchObject({ allowedIps: ['10.66.0.7/32'] });
    await clock.runUntil(manager.disconnectFromPeer(ALICE.id));
    expect(await manager.getConnectionStatus(ALICE.id)).toBeUndefined();
    expect(machine.goodbyes).toEqual(['10.66.0.7', '10.66.0.7']);
    expect(machine.peers.size).toBe(0);
  });

  it('gives one reason for a peer that was never reached: no path, or the policy that forbids all (C13)', async () => {
    fakes = createFakes([ALICE]);
    const { clock, finder, manager } = fakes;
    await clock.runUntil(manager.maintainParty(PARTY));
    const reasons = () => manager.statuses().map(({ status, reason, pathReason }) => [status, reason, pathReason]);
    expect(reasons()).toEqual([['connecting', 'no-path', 'no-path']]);
    finder.opened[0]!.refusedBy = 'lan-only';
    expect(reasons()).toEqual([['connecting', 'policy', 'policy']]);
    finder.opened[0]!.refusedBy = undefined;
    finder.opened[0]!.select('p2p');
    expect(reasons()).toEqual([['connecting', 'path-new', 'first']]);
  });

  it('says that a peer has another version when its echoes come in one, and no longer when they do not (C3)', async () => {
    fakes = createFakes([ALICE]);
    const { clock, finder, machine, manager } = fakes;
    await clock.runUntil(manager.maintainParty(PARTY));
    finder.opened[0]!.select('p2p');
    const address = ALICE.virtualAddress;
    machine.echo.events.emit('foreign', { address, version: 9 });
    machine.echo.events.emit('foreign', { address: '10.66.0.99', version: 9 });
    expect(manager.statuses().map(({ reason }) => reason)).toEqual(['other-version']);
    await clock.advance(60_000);
    expect(manager.statuses()).toMatchObject([{ status: 'failed', reason: 'other-version' }]);
    machine.up.add(address);
    machine.echo.events.emit('heard', { address, note: new Uint8Array(0) });
    await clock.advance(20_000);
    expect(manager.statuses()).toMatchObject([{ status: 'connected', reason: 'echo-answered' }]);
  });

  it('begins a handshake anew that is not answered soon after a path was found (C7)', async () => {
    fakes = createFakes([ALICE]);
    const { clock, machine, finder, manager } = fakes;
    const maintained = manager.maintainParty(PARTY);
    await clock.runUntil(maintained);
    finder.opened[0]!.select('p2p');
    await clock.advance(1_000);
    expect(machine.restarts).toBe(0);
    await clock.advance(1_000);
    expect(machine.restarts).toBe(1);
    machine.up.add(ALICE.virtualAddress);
    await clock.advance(1_000);
    finder.opened[0]!.select('lan');
    await clock.advance(3_000);
    expect([machine.restarts, manager.statuses()[0]?.status]).toEqual([1, 'connected']);
  });

  it('says that a peer is not found', async () => {
    fakes = createFakes([ALICE, peer(8, { name: 'alice' })]);
    const { manager } = fakes;
    await expect(manager.connectToPeer(PARTY, 'invalid_peer')).rejects.toThrow(/Peer not found/);
    await expect(manager.connectToPeer(PARTY, 'alice')).rejects.toThrow(/several members of that name/);
    await expect(manager.connectToPeer('b'.repeat(32), ALICE.id)).rejects.toMatchObject({ code: 'party-not-found' });
    await expect(manager.connectToPeer(PARTY, 'x')).rejects.toBeInstanceOf(ConnectionError);
  });

  it('routes networks of peers that are connected already, and removes those routes (C14)', async () => {
    fakes = createFakes([ALICE, peer(8)]);
    const { clock, machine, manager } = fakes;
    await clock.runUntil(manager.maintainParty(PARTY));
    const alice = () => [...machine.peers.values()].find(({ allowedIps }) => allowedIps?.[0] === '10.66.0.7/32');
    const camera = { peer: 'alice', network: '192.168.43.1/32' };
    await manager.setAccepted([camera, { peer: ALICE.id, network: '192.168.44.0/24' }]);
    expect([...machine.routes]).toEqual(['192.168.43.1/32', '192.168.44.0/24']);
    expect(alice()?.allowedIps).toEqual(['10.66.0.7/32', '192.168.43.1/32', '192.168.44.0/24']);
    machine.failing = 'addPeer';
    await expect(manager.setAccepted([])).rejects.toThrow('no WireGuard');
    machine.failing = undefined;
    await manager.setAccepted([camera]);
    expect([[...machine.routes], alice()?.allowedIps]).toEqual([['192.168.43.1/32'], ['10.66.0.7/32', camera.network]]);
    // What is removed with the peer includes what was accepted later.
    await clock.runUntil(manager.close());
    expect([...machine.routes]).toEqual([]);
  });

  it('routes nothing to a member that joined later under the name of one, or under the own one (C14)', async () => {
    fakes = createFakes([
      peer(8, { name: 'alice', joinedAtSequence: 90 }),
      ALICE,
      peer(9, { name: peer(2).name, joinedAtSequence: 91 }),
    ]);
    const { clock, machine, manager } = fakes;
    await manager.setAccepted([
      { peer: 'alice', network: '192.168.43.0/24' },
      { peer: peer(2).name, network: '192.168.44.0/24' },
    ]);
    await clock.runUntil(manager.maintainParty(PARTY));
    const allowed = [...machine.peers.values()].map(({ allowedIps }) => allowedIps);
    expect(allowed).toContainEqual(['10.66.0.7/32', '192.168.43.0/24']);
    expect(allowed).toContainEqual(['10.66.0.8/32']);
    expect(allowed).toContainEqual(['10.66.0.9/32']);
    expect([...machine.routes]).toEqual(['192.168.43.0/24']);
  });

  it('undoes everything when the peer is not reached, and says why (C2)', async () => {
    fakes = createFakes([ALICE], [{ peer: 'alice', network: '192.168.43.0/24' }]);
    const { clock, machine, manager } = fakes;
    const connecting = manager.connectToPeer(PARTY, ALICE.id);
    await clock.advance(1);
    expect([machine.peers.size, [...machine.routes]]).toEqual([1, ['192.168.43.0/24']]);
    await expect(clock.runUntil(connecting)).rejects.toMatchObject({
      code: 'not-reached',
      kind: 'unreachable',
      message: expect.stringContaining('no path to it was found'),
    });
    expect([machine.peers.size, machine.routes.size, manager.connections.size]).toEqual([0, 0, 0]);
  });

  it.each(['addPeer', 'addRoute'] as const)('undoes the steps before %s when it fails (C2)', async (step) => {
    fakes = createFakes([ALICE], [{ peer: ALICE.id, network: '192.168.43.0/24' }]);
    const { clock, machine, manager } = fakes;
    machine.failing = step;
    await expect(clock.runUntil(manager.connectToPeer(PARTY, ALICE.id))).rejects.toThrow(/no (WireGuard|route)/);
    expect([machine.peers.size, manager.connections.size]).toEqual([0, 0]);
  });

  it('shares one connection between two calls, and keeps it when one of them is aborted', async () => {
    fakes = createFakes([ALICE]);
    const { clock, machine, finder, manager } = fakes;
    const abort = new AbortController();
    const first = manager.connectToPeer(PARTY, ALICE.id);
    const second = manager.connectToPeer(PARTY, ALICE.id, { signal: abort.signal });
    await clock.advance(10);
    abort.abort(new Error('enough'));
    await expect(second).rejects.toThrow('enough');
    machine.up.add(ALICE.virtualAddress);
    expect(await clock.runUntil(first)).toBe(true);
    expect(finder.opened).toHaveLength(1);
  });

  it('has one monitor, one set of paths and no more timers after 50 reconnects', async () => {
    fakes = createFakes([ALICE]);
    const { clock, machine, finder, manager } = fakes;
    machine.up.add(ALICE.virtualAddress);
    await clock.runUntil(manager.connectToPeer(PARTY, ALICE.id));
    finder.opened[0]!.select('p2p');
    await clock.advance(10_000);
    const timers = clock.pendingTimers;
    for (let turn = 0; turn < 50; turn++) {
      machine.up.delete(ALICE.virtualAddress);
      manager.refresh();
      await clock.advance(4_000);
      expect((await manager.getConnectionStatus(ALICE.id))?.status).toBe('degraded');
      machine.up.add(ALICE.virtualAddress);
      manager.refresh();
      await clock.advance(6_000);
      expect((await manager.getConnectionStatus(ALICE.id))?.status).toBe('connected');
    }
    await clock.advance(10_000);
    expect(clock.pendingTimers).toBeLessThanOrEqual(timers + 1);
    expect([finder.opened.length, machine.peers.size]).toEqual([1, 1]);
  });

  it('keeps the whole party: who joins is connected, who is removed is not, keys that change are taken over', async () => {
    fakes = createFakes([ALICE, peer(8)]);
    const { clock, machine, control, manager } = fakes;
    const changes: string[] = [];
    manager.events.on('changed', ({ what, status }) => {
      if (what === 'added' || what === 'removed') changes.push(`${what} ${status.name}`);
    });
    await clock.runUntil(manager.maintainParty(PARTY));
    expect(machine.peers.size).toBe(2);
    expect(machine.names).toEqual(['peer2', 'alice', 'peer8']);
    control.setPeers([ALICE, peer(9)]);
    await clock.advance(10);
    control.setPeers([peer(7, { name: 'alice', wireGuardKey: new Uint8Array(32).fill(99) }), peer(9)]);
    await clock.advance(10);
    expect(changes).toEqual([
      'added alice',
      'added peer8',
      'removed peer8',
      'added peer9',
      'removed alice',
      'added alice',
    ]);
    expect([...machine.peers.keys()].sort()).toEqual(['09'.repeat(32), '63'.repeat(32)]);
    expect([...machine.receivers].sort()).toEqual(['10.66.0.7', '10.66.0.9']);
  });

  it('reports a peer that leaves, and one that is back, at once', async () => {
    fakes = createFakes([ALICE]);
    const { clock, machine, control, manager } = fakes;
    machine.up.add(ALICE.virtualAddress);
    await clock.runUntil(manager.maintainParty(PARTY));
    await clock.advance(100);
    machine.up.delete(ALICE.virtualAddress);
    machine.events.emit('goodbye', { address: ALICE.virtualAddress });
    expect(await manager.getConnectionStatus(ALICE.id)).toMatchObject({ status: 'failed', reason: 'peer-left' });
    control.events.emit('presence', { party: PARTY, peer: { ...ALICE, online: false } });
    // It answers some echoes more while it ends.
    machine.events.emit('heard', { address: ALICE.virtualAddress, note: new Uint8Array(0) });
    await clock.advance(3_100);
    expect(await manager.getConnectionStatus(ALICE.id)).toMatchObject({ status: 'failed', reason: 'peer-left' });
    machine.up.add(ALICE.virtualAddress);
    control.events.emit('presence', { party: PARTY, peer: ALICE });
    await clock.advance(50);
    expect((await manager.getConnectionStatus(ALICE.id))?.status).toBe('connected');
  });

  it('tells the peers that it leaves, and nothing when another process goes on as this node', async () => {
    for (const [hasSuccessor, goodbyes] of [
      [false, [ALICE.virtualAddress, ALICE.virtualAddress]],
      [true, []],
    ] as const) {
      fakes = createFakes([ALICE]);
      const { clock, machine, manager } = fakes;
      machine.up.add(ALICE.virtualAddress);
      await clock.runUntil(manager.maintainParty(PARTY));
      await clock.advance(1_000);
      if (hasSuccessor) manager.expectSuccessor();
      const startedMs = clock.now();
      await clock.runUntil(manager.close());
      expect(machine.goodbyes).toEqual(goodbyes);
      expect(clock.now() - startedMs > 0).toBe(!hasSuccessor);
    }
  });

  it('begins a handshake anew when another path comes while the one on the path before must be lost', async () => {
    fakes = createFakes([ALICE]);
    const { clock, machine, finder, manager } = fakes;
    await clock.runUntil(manager.maintainParty(PARTY));
    await clock.advance(2_000);
    finder.opened[0]!.select('relay');
    await clock.advance(1_400);
    // The first initiation waited for the path: it is not lost.
    expect(machine.restarts).toBe(0);
    await clock.advance(1_200);
    expect(machine.restarts).toBe(1);
    finder.opened[0]!.select('p2p');
    await clock.advance(1);
    expect(machine.restarts).toBe(2);
    expect(await manager.getConnectionStatus(ALICE.id)).toMatchObject({
      strategy: 'direct',
      dataPlaneReason: 'splice-off',
    });
  });

  it('has one monitor, one set of paths and no further timer after 50 reconnects (C7)', async () => {
    fakes = createFakes([ALICE]);
    const { clock, machine, finder, manager } = fakes;
    await clock.runUntil(manager.maintainParty(PARTY));
    finder.opened[0]!.select('p2p');
    const timers: number[] = [];
    for (let turn = 0; turn < 50; turn++) {
      machine.up.add(ALICE.virtualAddress);
      await clock.advance(90_000);
      expect((await manager.getConnectionStatus(ALICE.id))?.status).toBe('connected');
      timers.push(clock.pendingTimers);
      machine.up.delete(ALICE.virtualAddress);
      await clock.advance(90_000);
      expect((await manager.getConnectionStatus(ALICE.id))?.status).toBe('failed');
    }
    expect(Math.max(...timers.slice(5))).toBeLessThanOrEqual(Math.max(...timers.slice(0, 5)));
    expect(finder.opened).toHaveLength(1);
    expect(machine.peers.size).toBe(1);
  });
});
