import type { Endpoint } from '@towpath/net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeCheck } from '../src/checks/check-message.ts';
import * as attr from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { shortTermKey } from '../src/message/integrity.ts';
import { decodeStun, type StunMessage } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { A, B, checkingPeer } from './support/checks.ts';
import { world } from './support/internet.ts';

const RUNS = 150 * Number(process.env.TOWPATH_FUZZ ?? 1);

/** A peer that checks, and a stranger who sees its address and sends what he likes. */
async function attacked(options = {}) {
  const at = world(3);
  const victim = await checkingPeer(at, at.internet.host(), A, B, options);
  const received: StunMessage[] = [];
  const strangerHost = at.internet.host();
  const stranger = await strangerHost.network.bindUdp({
    address: strangerHost.address,
    onMessage: (data) => {
      const result = decodeStun(data);
      if (result.ok) received.push(result.message);
    },
  });
  const send = async (data: Uint8Array) => {
    stranger.send(data, victim.local);
    await at.clock.advance(50);
  };
  return { at, victim, stranger, received, send };
}

const id = (byte: number) => new Uint8Array(12).fill(byte);

/** A check as peer B would sign it. */
function checkOfB(password = A.localPassword, transactionId = id(1), tieBreaker = 5n): Uint8Array {
  const username = `${A.localUfrag}:${B.localUfrag}`;
  const fields = { transactionId, username, priority: 1, role: 'controlled', tieBreaker, useCandidate: false } as const;
  return encodeCheck(fields, shortTermKey(password));
}

describe('connectivity checks under attack', () => {
  test('a request under another secret gets no answer and no check', async () => {
    const { victim, received, send } = await attacked();
    await send(checkOfB('guessed'));
    expect(received).toEqual([]);
    expect(victim.reflexive).toEqual([]);
    expect(victim.checks.stats.ignored.badIntegrity).toBe(1);
  });

  test('a request for another user is counted by the socket', async () => {
    const { victim, received, send } = await attacked();
    const writer = new StunWriter(MessageClass.Request, Method.Binding, id(2)).add(attr.username, 'uA:uX');
    await send(writer.integrity(shortTermKey(A.localPassword)).fingerprint().finish());
    expect(received).toEqual([]);
    expect(victim.socket.stats.unknownUser).toBe(1);
  });

  test('a request without FINGERPRINT or without integrity is ignored', async () => {
    const { victim, received, send } = await attacked();
    const make = () => new StunWriter(MessageClass.Request, Method.Binding, id(3)).add(attr.username, 'uA:uB');
    await send(make().integrity(shortTermKey(A.localPassword)).finish());
    await send(make().fingerprint().finish());
    expect(received).toEqual([]);
    expect(victim.checks.stats.ignored).toMatchObject({ noFingerprint: 1, badIntegrity: 1 });
  });

  test('a request copied to another address makes no probe there', async () => {
    const { at, victim, stranger, received } = await attacked();
    const b = await checkingPeer(at, at.internet.host(), B, A);
    let copied = false;
    at.internet.intercept((packet, next) => {
      next();
      if (copied || packet.protocol !== 'udp' || packet.source !== b.local.address) return;
      copied = true;
      // Later than the original, as an attacker on the way would be.
      at.clock.timer(100, () => stranger.send(packet.payload, victim.local));
    });
    await at.clock.runUntil(b.checks.check(victim.local));
    await at.clock.advance(1_000);
    expect(copied).toBe(true);
    expect(received).toEqual([]);
    expect(victim.reflexive).toEqual([b.local]);
    expect(victim.checks.stats.ignored.replayed).toBe(1);
  });

  test('a repetition from the same endpoint is answered and checked once', async () => {
    const { victim, received, send } = await attacked();
    for (let count = 0; count < 4; count++) await send(checkOfB());
    expect(received.filter((message) => message.class === MessageClass.Success)).toHaveLength(4);
    expect(received.filter((message) => message.class === MessageClass.Request)).toHaveLength(1);
    expect(victim.reflexive).toHaveLength(1);
    expect(victim.paths).toEqual([]);
  });

  test('a forged answer does not make a path, the real one still does', async () => {
    const { at, victim } = await attacked();
    const b = await checkingPeer(at, at.internet.host(), B, A);
    at.internet.intercept((packet, next) => {
      const result = packet.protocol === 'udp' ? decodeStun(packet.payload) : undefined;
      if (result?.ok && result.message.class === MessageClass.Request && packet.source === victim.local.address) {
        const forged = new StunWriter(MessageClass.Success, Method.Binding, result.message.transactionId);
        forged.add(attr.xorMappedAddress, { address: '192.0.2.66', port: 6 });
        b.udp.send(forged.integrity(shortTermKey('guessed')).fingerprint().finish(), victim.local);
        const error = new StunWriter(MessageClass.Error, Method.Binding, result.message.transactionId);
        b.udp.send(error.add(attr.errorCode, { code: 487, reason: '' }).finish(), victim.local);
      }
      next();
    });
    const result = await at.clock.runUntil(victim.checks.check(b.local));
    expect(result).toMatchObject({ ok: true, path: { mapped: victim.local } });
    expect(victim.checks.stats.ignored.badIntegrity).toBeGreaterThanOrEqual(2);
    expect(victim.roles).toEqual([]);
  });

  test('a valid answer that comes from another endpoint is not a path', async () => {
    const { at, victim, stranger } = await attacked();
    const b = await checkingPeer(at, at.internet.host(), B, A);
    at.internet.intercept((packet, next) => {
      const result = packet.protocol === 'udp' ? decodeStun(packet.payload) : undefined;
      const answer = result?.ok === true && result.message.class === MessageClass.Success;
      if (answer && packet.source === b.local.address) stranger.send(packet.payload, victim.local);
      else next();
    });
    const result = await at.clock.runUntil(victim.checks.check(b.local));
    expect(result).toMatchObject({ ok: false, reason: 'timed-out' });
    expect(victim.checks.stats.ignored.asymmetric).toBeGreaterThan(0);
  });

  test('a peer that answers 487 for ever gets a bounded number of requests', async () => {
    const { at, victim, stranger } = await attacked();
    const host = at.internet.host();
    const liar = await host.network.bindUdp({
      address: host.address,
      onMessage: (data, from) => {
        const result = decodeStun(data);
        if (!result.ok || result.message.class !== MessageClass.Request) return;
        const writer = new StunWriter(MessageClass.Error, Method.Binding, result.message.transactionId);
        writer.add(attr.errorCode, { code: 487, reason: 'Role Conflict' });
        liar.send(writer.integrity(shortTermKey(B.localPassword)).fingerprint().finish(), from);
      },
    });
    await at.clock.runUntil(victim.checks.check(liar.local));
    await at.clock.advance(60_000);
    expect(victim.checks.stats.sent).toBeLessThanOrEqual(9);
    await stranger.close();
  });

  test('an endpoint that never answers gets a handful of requests, however often it is asked for', async () => {
    const { at, victim } = await attacked();
    const nobody = { address: '11.0.0.99', port: 9 };
    for (let round = 0; round < 4; round++) await at.clock.runUntil(victim.checks.check(nobody));
    // Seven at once and one more each 5 s.
    expect(victim.checks.stats.sent).toBeLessThanOrEqual(7 + 5);
    const limited = await at.clock.runUntil(
      Promise.all([1, 2].map(() => victim.checks.probe(nobody, { timeoutMs: 10 }))),
    );
    expect(limited).toEqual([undefined, undefined]);
    expect(victim.checks.stats.limited).toBeGreaterThan(0);
  });

  test('all endpoints of one address share a budget, which can be raised', async () => {
    const { at, victim } = await attacked({
      limits: { maxRemotes: 300, probesPerAddress: 20, probesPerSecond: 1_000 },
    });
    const ports = Array.from({ length: 100 }, (_, index): Endpoint => ({ address: '11.0.0.99', port: 1_000 + index }));
    const spray = () => at.clock.runUntil(Promise.all(ports.map((to) => victim.checks.probe(to, { timeoutMs: 10 }))));
    await spray();
    expect(victim.checks.stats.sent).toBe(20);
    victim.checks.grantProbes('11.0.0.99', 50);
    await spray();
    expect(victim.checks.stats.sent).toBe(70);
  });

  test('requests to all together keep a rate', async () => {
    const { at, victim } = await attacked();
    for (let host = 1; host <= 60; host++) void victim.checks.check({ address: `11.0.9.${host}`, port: 9 });
    await at.clock.advance(1_000);
    expect(victim.checks.stats.sent).toBeGreaterThanOrEqual(90);
    expect(victim.checks.stats.sent).toBeLessThanOrEqual(101);
  });

  test('a member that names endpoints without end fills a bounded table', async () => {
    const { at, victim } = await attacked({ limits: { maxRemotes: 8 } });
    for (let port = 1; port <= 500; port++) {
      victim.socket.receive(checkOfB(A.localPassword, Uint8Array.from(Buffer.from(String(port).padStart(12))), 5n), {
        address: '11.0.0.77',
        port,
      });
    }
    await at.clock.advance(30_000);
    const { stats } = victim.checks;
    expect(stats.remotes).toBeLessThanOrEqual(8);
    expect(stats.ignored.tooManyRemotes + stats.ignored.rate).toBeGreaterThan(400);
    expect(stats.sent).toBeLessThan(64);
    expect(at.clock.pendingTimers).toBe(0);
  });

  test('altered checks and answers never throw, never make a path and never change the role', async () => {
    const mutation = fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(mutation, fc.boolean(), async (mutations, answer) => {
        const { at, victim, send } = await attacked();
        let data = Buffer.from(checkOfB());
        if (answer) {
          const sent: Uint8Array[] = [];
          at.internet.intercept((packet) => void sent.push(packet.payload));
          const pending = victim.checks.check({ address: '11.0.0.99', port: 9 }, { maxSends: 1, lastWaitMs: 200 });
          await at.clock.advance(0);
          const writer = new StunWriter(MessageClass.Success, Method.Binding, sent[0]!.subarray(8, 20));
          writer.add(attr.xorMappedAddress, victim.local).integrity(shortTermKey(B.localPassword)).fingerprint();
          data = Buffer.from(writer.finish());
          mutate(data, mutations);
          victim.socket.receive(data, { address: '11.0.0.99', port: 9 });
          await at.clock.runUntil(pending);
        } else {
          mutate(data, mutations);
          await send(data);
        }
        expect(victim.paths).toEqual([]);
        expect(victim.roles).toEqual([]);
        expect(victim.reflexive).toEqual([]);
        victim.checks.close();
        expect(at.clock.pendingTimers).toBe(0);
      }),
      { numRuns: RUNS },
    );
  });

  test('bytes of any kind never throw', () => {
    return attacked().then(({ victim }) =>
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (data) => {
          expect(victim.socket.receive(data, { address: '11.0.0.5', port: 5 })).toBe(false);
        }),
        { numRuns: RUNS },
      ),
    );
  });
});

/** Changes bytes after the length field, so that the message still looks like STUN. */
function mutate(data: Buffer, mutations: [number, number][]): void {
  const original = Buffer.from(data);
  for (const [at, mask] of mutations) data[4 + (at % (data.length - 4))]! ^= mask;
  if (data.equals(original)) data[20]! ^= 1;
}
