import type { UdpSocket } from '@towpath/net';
import { type NatKind, natKinds } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { ConnectivityChecks } from '../src/checks/connectivity-checks.ts';
import { StunDemultiplexer } from '../src/checks/stun-demultiplexer.ts';
import { StunServer } from '../src/server/stun-server.ts';
import { A, B, checkingPeer, secrets } from './support/checks.ts';
import { world } from './support/internet.ts';

/** Two peers on the open internet. */
async function openPair(seed = 1, options: { a?: object; b?: object } = {}) {
  const at = world(seed);
  const a = await checkingPeer(at, at.internet.host(), A, B, options.a);
  const b = await checkingPeer(at, at.internet.host(), B, A, options.b);
  return { at, a, b };
}

/** Two peers behind NATs that have learned their mapped addresses and told each other. */
async function punch(kindA: NatKind, kindB: NatKind, skewMs: number) {
  const at = world(7);
  const host = at.internet.host();
  const stun = await StunServer.listen({ network: host.network, clock: at.clock }, { address: host.address });
  const a = await checkingPeer(at, at.internet.nat(natKinds[kindA]).host(), A, B);
  const b = await checkingPeer(at, at.internet.nat(natKinds[kindB]).host(), B, A);
  const [toA, toB] = [await a.mapped(stun.local), await b.mapped(stun.local)];
  const fromA = a.checks.check(toB);
  await at.clock.advance(skewMs);
  const fromB = b.checks.check(toA);
  const results = await at.clock.runUntil(Promise.all([fromA, fromB]));
  await at.clock.advance(5_000);
  return { at, a, b, results };
}

const CONES: NatKind[] = [
  'open',
  'firewall',
  'fullCone',
  'restrictedCone',
  'portRestricted',
  'portRestrictedRandom',
  'cgnat',
];
/** Pairs with a symmetric NAT that plain checks connect: the other side lets its unknown port in. */
const MIXED: [NatKind, NatKind][] = [
  ['symmetricRandom', 'open'],
  ['symmetricRandom', 'fullCone'],
  ['symmetricRandom', 'restrictedCone'],
  ['symmetricSequential', 'restrictedCone'],
  ['cgnatSymmetric', 'fullCone'],
];
const RELAYED: [NatKind, NatKind][] = [
  ['symmetricRandom', 'portRestricted'],
  ['symmetricRandom', 'symmetricRandom'],
  ['udpBlocked', 'open'],
];

test('a check tells the peer for how long nothing was heard, once, and a peer that does not ask for it answers all the same', async () => {
  const told: (number | undefined)[] = [];
  const onHeard = (_remote: unknown, _socket: unknown, unheardMs: number | undefined) => void told.push(unheardMs);
  const { at, a, b } = await openPair(3, { b: { onHeard } });
  await at.clock.runUntil(a.checks.check(b.local));
  told.length = 0;
  for (const unheardMs of [undefined, 250.4, 1e12]) {
    expect(await at.clock.runUntil(a.checks.probe(b.local, { unheardMs }))).toBeGreaterThan(0);
  }
  expect(told).toEqual([undefined, 250, 0xffff_ffff]);
  expect(await at.clock.runUntil(b.checks.probe(a.local, { unheardMs: 300 }))).toBeGreaterThan(0);
});

describe('connectivity checks behind NATs (C3)', () => {
  test.each(CONES.flatMap((a) => CONES.map((b) => [a, b] as const)))('%s and %s connect', async (kindA, kindB) => {
    const { a, b } = await punch(kindA, kindB, 200);
    expect(a.paths).toHaveLength(1);
    expect(b.paths).toHaveLength(1);
    expect(a.paths[0]!.rttMs).toBeLessThan(100);
  });

  test.each(MIXED.flatMap(([a, b]) => [[a, b] as const, [b, a] as const]))(
    '%s and %s connect through a peer-reflexive endpoint',
    async (kindA, kindB) => {
      const { a, b } = await punch(kindA, kindB, 200);
      expect(a.paths.length).toBeGreaterThan(0);
      expect(b.paths.length).toBeGreaterThan(0);
      expect([...a.reflexive, ...b.reflexive].length).toBeGreaterThan(0);
      expect([...a.paths, ...b.paths].some(({ source }) => source === 'peer-reflexive')).toBe(true);
    },
  );

  test.each(RELAYED)('%s and %s do not connect, and stop sending', async (kindA, kindB) => {
    if (kindA === 'udpBlocked') {
      const at = world();
      const a = await checkingPeer(at, at.internet.nat(natKinds.udpBlocked).host(), A, B);
      const b = await checkingPeer(at, at.internet.host(), B, A);
      const result = await at.clock.runUntil(a.checks.check(b.local));
      expect(result).toEqual({ ok: false, remote: b.local, reason: 'timed-out' });
      return;
    }
    const { at, a, b, results } = await punch(kindA, kindB, 100);
    expect(results.map(({ ok }) => ok)).toEqual([false, false]);
    const sent = a.checks.stats.sent + b.checks.stats.sent;
    await at.clock.advance(60_000);
    expect(a.checks.stats.sent + b.checks.stats.sent).toBe(sent);
    expect(sent).toBeLessThanOrEqual(12);
  });

  test('a check that starts three seconds before the other side still connects', async () => {
    const { a, b } = await punch('portRestricted', 'portRestricted', 3_000);
    expect([a.paths.length, b.paths.length]).toEqual([1, 1]);
  });
});

describe('connectivity checks', () => {
  test('tell round trip, mapped address and source', async () => {
    const { at, a, b } = await openPair();
    const result = await at.clock.runUntil(a.checks.check(b.local));
    expect(result).toMatchObject({
      ok: true,
      path: { remote: b.local, mapped: a.local, rttMs: 40, source: 'signalled' },
    });
    await at.clock.advance(100);
    expect(b.paths).toMatchObject([{ remote: a.local, source: 'peer-reflexive' }]);
    expect(b.reflexive).toEqual([a.local]);
  });

  test('that are asked for at once share one request', async () => {
    const { at, a, b } = await openPair();
    const results = await at.clock.runUntil(Promise.all([1, 2, 3].map(() => a.checks.check(b.local))));
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect(a.checks.stats.sent).toBe(1);
  });

  test('end with the last caller that aborts', async () => {
    const { at, a } = await openPair();
    const first = new AbortController();
    const second = new AbortController();
    const nowhere = { address: '11.0.0.99', port: 9 };
    const asked = [first, second].map(({ signal }) =>
      a.checks.check(nowhere, { signal }).catch((error: unknown) => error),
    );
    first.abort(new Error('first'));
    await at.clock.advance(600);
    expect(a.checks.stats.sent).toBe(2);
    second.abort(new Error('second'));
    await at.clock.advance(5_000);
    expect(a.checks.stats.sent).toBe(2);
    expect(await Promise.all(asked)).toEqual([new Error('first'), new Error('second')]);
    expect(at.clock.pendingTimers).toBe(0);
  });

  test('nominate a pair on both sides', async () => {
    const { at, a, b } = await openPair();
    await at.clock.runUntil(a.checks.check(b.local, { useCandidate: true }));
    await at.clock.advance(200);
    expect(a.nominated).toMatchObject([{ remote: b.local }]);
    expect(b.nominated).toMatchObject([{ remote: a.local }]);
  });

  test('nominate after a check without nomination that is still under way', async () => {
    const { at, a, b } = await openPair();
    const plain = a.checks.check(b.local);
    await at.clock.runUntil(a.checks.check(b.local, { useCandidate: true }));
    await at.clock.advance(200);
    expect((await plain).ok).toBe(true);
    expect([a.nominated.length, b.nominated.length]).toEqual([1, 1]);
  });

  test('nominate another pair by a probe, and the first one again (draft-thatcher-ice-renomination)', async () => {
    const { at, a, b } = await openPair();
    const host = at.internet.host();
    const udp: UdpSocket = await host.network.bindUdp({
      address: host.address,
      onMessage: (data, from) => void second.receive(data, from),
    });
    const second = new StunDemultiplexer(udp);
    b.checks.listen(second);
    const other = udp.local;
    const remotes = [b.local, other, b.local];
    for (const remote of remotes) {
      await at.clock.runUntil(a.checks.check(remote));
      await at.clock.runUntil(a.checks.probe(remote, { useCandidate: true }));
      await at.clock.runUntil(a.checks.probe(remote, { useCandidate: true }));
    }
    await at.clock.advance(200);
    expect(a.nominated.map(({ remote }) => remote)).toEqual(remotes);
    expect(b.nominated.map(({ socket }) => socket === b.socket)).toEqual([true, false, true]);
  });

  test('tell how much the peer prefers its socket (RFC 8445 §5.1.2.1)', async () => {
    const { at, a, b } = await openPair(1, { b: { localPreference: () => 32_767 } });
    expect(a.checks.remotePreference(b.local)).toBeUndefined();
    await at.clock.runUntil(b.checks.check(a.local));
    await at.clock.advance(200);
    expect([a.checks.remotePreference(b.local), b.checks.remotePreference(a.local)]).toEqual([32_767, 65_535]);
  });

  test('from the controlled side nominate nothing', async () => {
    const { at, a, b } = await openPair();
    await at.clock.runUntil(b.checks.check(a.local, { useCandidate: true }));
    await at.clock.advance(200);
    expect([...a.nominated, ...b.nominated]).toEqual([]);
  });

  test.each(['controlling', 'controlled'] as const)('resolve a conflict of two %s peers', async (role) => {
    for (let seed = 1; seed <= 8; seed++) {
      const { at, a, b } = await openPair(seed, { a: { role }, b: { role } });
      const results = await at.clock.runUntil(Promise.all([a.checks.check(b.local), b.checks.check(a.local)]));
      expect(results.map(({ ok }) => ok)).toEqual([true, true]);
      expect(new Set([a.checks.role, b.checks.role]).size).toBe(2);
      expect(a.roles.length + b.roles.length).toBe(1);
    }
  });

  test('of many peers share one socket', async () => {
    const at = world();
    const hub = await checkingPeer(at, at.internet.host(), A, B);
    const C = { localUfrag: 'uC', localPassword: 'password of C, long enough' };
    const c = await checkingPeer(at, at.internet.host(), C, A);
    const b = await checkingPeer(at, at.internet.host(), B, A);
    const found: unknown[] = [];
    const { clock, random } = at;
    using toC = new ConnectivityChecks(
      { socket: hub.socket, clock, random },
      { ...secrets(A, C), role: 'controlling', onPath: ({ remote }) => found.push(remote) },
    );
    await clock.runUntil(Promise.all([hub.checks.check(b.local), toC.check(c.local)]));
    expect(hub.paths.map(({ remote }) => remote)).toEqual([b.local]);
    expect(found).toEqual([c.local]);
  });

  test('leave nothing behind when closed', async () => {
    const { at, a, b } = await openPair();
    const pending = a.checks.check({ address: '11.0.0.99', port: 9 });
    const probing = a.checks.probe({ address: '11.0.0.98', port: 9 });
    a.checks.keepConsent(b.local, { onExpired: () => {} });
    a.checks.close();
    b.checks.close();
    expect(await pending).toMatchObject({ ok: false, reason: 'closed' });
    expect(await probing).toBeUndefined();
    expect(await a.checks.check(b.local)).toMatchObject({ ok: false, reason: 'closed' });
    expect(at.clock.pendingTimers).toBe(0);
  });

  test('go on when an observer throws', async () => {
    const fail = () => {
      throw new Error('observer');
    };
    const { at, a, b } = await openPair(1, {
      a: { onPath: fail },
      b: { onPath: fail, onPeerReflexive: fail, onHeard: fail },
    });
    expect((await at.clock.runUntil(a.checks.check(b.local))).ok).toBe(true);
    await at.clock.advance(100);
    expect(b.checks.pathTo(a.local)).toBeDefined();
  });
});

describe('consent (RFC 7675)', () => {
  test('is asked for every 4 to 6 s and lasts as long as the peer answers', async () => {
    const { at, a, b } = await openPair();
    await at.clock.runUntil(a.checks.check(b.local));
    const rtts: number[] = [];
    a.checks.keepConsent(b.local, { onAnswer: (rttMs) => rtts.push(rttMs), onExpired: () => rtts.push(-1) });
    await at.clock.advance(60_000);
    expect(rtts.length).toBeGreaterThanOrEqual(9);
    expect(rtts.length).toBeLessThanOrEqual(15);
    expect(new Set(rtts)).toEqual(new Set([40]));
  });

  test('expires 30 s after the last answer, and the path is found again when the peer is back', async () => {
    const { at, a, b } = await openPair();
    await at.clock.runUntil(a.checks.check(b.local));
    let expiredAt = 0;
    a.checks.keepConsent(b.local, {
      onExpired: () => {
        expiredAt = at.clock.now();
      },
    });
    const stop = at.internet.intercept(() => {});
    const lostAt = at.clock.now();
    await at.clock.advance(120_000);
    expect(expiredAt - lostAt).toBeGreaterThan(24_000);
    expect(expiredAt - lostAt).toBeLessThanOrEqual(30_000);
    expect(a.checks.pathTo(b.local)).toBeUndefined();
    stop();
    expect((await at.clock.runUntil(b.checks.check(a.local))).ok).toBe(true);
    await at.clock.advance(100);
    expect(a.paths).toHaveLength(2);
  });
});
