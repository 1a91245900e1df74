import { createLog, type LogRecord } from '@towpath/core';
import { expect, test } from 'vitest';
import * as attr from '../src/message/attributes.ts';
import { localConnection } from '../src/turn/server/local-connection.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import { world } from './support/internet.ts';
import { describeInBothPlanes } from './support/planes.ts';
import { allocateRequest, codeOf, raw } from './support/raw-client.ts';
import { ALICE, BOB, bytes, client, turnServer } from './support/turn.ts';

/** The NAT's address in front of the relay; nothing in the simulated internet answers there. */
const PUBLIC = '11.200.0.1';

describeInBothPlanes('two clients of one relay', () => {
  test('behind a one-to-one NAT without hairpinning reach each other (A5)', async () => {
    const at = world();
    const host = at.internet.host();
    const behind = await TurnServer.listen(
      { network: host.network, clock: at.clock, random: at.random },
      {
        listeners: [{ address: host.address }],
        relay: [{ address: host.address, announce: PUBLIC }],
        credentials: { users: { alice: ALICE.password, bob: BOB.password } },
      },
    );
    const alice = await client(at, at.internet.host(), behind.locals[0]!);
    const bob = await client(at, at.internet.host(), behind.locals[0]!, { credentials: BOB });
    expect(alice.allocation.relayed[0]!.address).toBe(PUBLIC);
    await at.clock.runUntil(
      Promise.all([alice.allocation.bindChannel(bob.allocation.relayed[0]!), bob.allocation.permit([PUBLIC])]),
    );
    alice.allocation.send(bytes('over the channel'), bob.allocation.relayed[0]!);
    bob.allocation.send(bytes('as indication'), alice.allocation.relayed[0]!);
    await at.clock.advance(200);
    expect(bob.received).toEqual([{ text: 'over the channel', from: alice.allocation.relayed[0]! }]);
    expect(alice.received).toEqual([{ text: 'as indication', from: bob.allocation.relayed[0]! }]);
    await behind.close();
  });

  test.each(['public', 'behind a one-to-one NAT'])('connect over TCP (RFC 6062), %s', async (place) => {
    const at = world();
    const host = at.internet.host();
    const server = await TurnServer.listen(
      { network: host.network, clock: at.clock, random: at.random },
      {
        listeners: [{ transport: 'tcp', address: host.address }],
        relay: [{ address: host.address, ...(place === 'public' ? {} : { announce: PUBLIC }) }],
        credentials: { users: { alice: ALICE.password, bob: BOB.password } },
      },
    );
    const tcp = { transport: 'tcp', peerTransport: 'tcp' } as const;
    const alice = await client(at, at.internet.host(), server.locals[0]!, tcp);
    const bob = await client(at, at.internet.host(), server.locals[0]!, { ...tcp, credentials: BOB });
    const toBob = bob.allocation.relayed[0]!;
    const heard = { alice: '', bob: '', closed: 0 };
    const collect = (who: 'alice' | 'bob') => ({
      onData: (data: Uint8Array) => {
        heard[who] += Buffer.from(data).toString();
      },
      onClose: () => void heard.closed++,
    });
    const [onAlice, onBob] = [collect('alice'), collect('bob')];

    const early = alice.allocation.connectTcp(toBob, onAlice).catch((error: unknown) => error);
    expect(codeOf(await at.clock.runUntil(early))).toBe(447);

    await at.clock.runUntil(bob.allocation.permit([alice.allocation.relayed[0]!.address]));
    const fromAlice = await at.clock.runUntil(alice.allocation.connectTcp(toBob, onAlice));
    fromAlice.write(bytes('hello bob '));
    await at.clock.advance(200);
    expect(bob.attempts).toMatchObject([{ peer: alice.allocation.relayed[0]! }]);
    const { id, peer } = bob.attempts[0]!;
    const fromBob = await at.clock.runUntil(bob.allocation.acceptTcp(id, peer, onBob));
    for (let count = 0; count < 40; count++) fromBob.write(new Uint8Array(20_000).fill(0x61));
    await at.clock.advance(5_000);
    fromAlice.write(bytes('and bye'));
    await at.clock.advance(500);
    expect([heard.bob, heard.alice.length]).toEqual(['hello bob and bye', 800_000]);
    await at.clock.runUntil(fromAlice.close());
    await at.clock.advance(500);
    expect(heard.closed).toBe(2);
    await server.close();
    await at.clock.advance(10_000);
    expect([at.internet.openSockets, at.clock.pendingTimers]).toEqual([0, 0]);
  });

  test('do not reach services of the relay’s host over TCP', async () => {
    const at = world();
    const { server, host } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[1]!, { transport: 'tcp', peerTransport: 'tcp' });
    const asked = alice.allocation
      .connectTcp({ address: host.address, port: 3478 }, { onData() {} })
      .catch((error: unknown) => error);
    expect(codeOf(await at.clock.runUntil(asked))).toBe(403);
    await server.close();
  });
});

describeInBothPlanes('a connection within the server', () => {
  const ends = () => localConnection({ address: '11.0.0.1', port: 1 }, { address: '11.0.0.1', port: 2 });

  test('hands over everything before it ends, also to a paused reader', async () => {
    const [near, far] = ends();
    const seen: string[] = [];
    far.setPaused(true);
    far.attach({ onData: (data) => seen.push(Buffer.from(data).toString()), onClose: () => seen.push('end') });
    near.attach({ onData() {}, onClose: () => seen.push('near end') });
    near.write(bytes('one'));
    await near.close();
    expect(seen).toEqual(['near end']);
    far.setPaused(false);
    expect(seen).toEqual(['near end', 'one', 'end']);
    expect(far.write(bytes('late'))).toBe(false);
    expect(near.bufferedBytes).toBe(0);
  });

  test('tells the writer to stop and to go on', () => {
    const [near, far] = ends();
    let drained = 0;
    near.attach({ onData() {}, onDrain: () => void drained++ });
    far.attach({ onData() {} });
    far.setPaused(true);
    expect([near.write(new Uint8Array(200_000)), near.write(new Uint8Array(200_000))]).toEqual([true, false]);
    far.setPaused(false);
    expect([drained, near.bufferedBytes]).toEqual([1, 0]);
  });
});

describeInBothPlanes('what one user can use up', () => {
  test('a reserved port counts as an allocation until it is claimed or its time is over', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { allocationsPerUser: 2 } });
    const reserving = allocateRequest((writer) => writer.add(attr.evenPort, true));
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const first = await one.signed(reserving);
    const token = Uint8Array.from(first.message.get(attr.reservationToken)!);
    const two = await raw(at, at.internet.host(), server.locals[0]!);
    expect(codeOf(await two.signed(allocateRequest()).catch((error: unknown) => error))).toBe(486);
    await two.signed(allocateRequest((writer) => writer.add(attr.reservationToken, token)));
    const three = await raw(at, at.internet.host(), server.locals[0]!);
    expect(codeOf(await three.signed(allocateRequest()).catch((error: unknown) => error))).toBe(486);
    await server.close();
  });

  test('reserving and releasing again and again holds no more ports than the quota', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { allocationsPerUser: 4 } });
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const before = at.internet.openSockets;
    const reserving = allocateRequest((writer) => writer.add(attr.evenPort, true));
    const codes: number[] = [];
    for (let count = 0; count < 10; count++) {
      const outcome = await one.signed(reserving).then(() => 0, codeOf);
      codes.push(outcome);
      if (outcome === 0) await one.signed({ method: 4, write: (writer) => writer.add(attr.lifetime, 0) });
    }
    expect(codes).toEqual([0, 0, 0, 486, 486, 486, 486, 486, 486, 486]);
    expect(at.internet.openSockets - before).toBe(3);
    await at.clock.advance(31_000);
    expect(at.internet.openSockets - before).toBe(0);
    await one.signed(reserving);
    await server.close();
  });

  test('log lines of one user are limited, those of others are not', async () => {
    const at = world();
    const host = at.internet.host();
    const lines: LogRecord[] = [];
    const server = await TurnServer.listen(
      { network: host.network, clock: at.clock, random: at.random, log: createLog((record) => lines.push(record)) },
      {
        listeners: [{ address: host.address }],
        relay: [{ address: host.address }],
        credentials: { users: { alice: ALICE.password, bob: BOB.password } },
      },
    );
    const alice = await raw(at, at.internet.host(), server.locals[0]!);
    await alice.signed(allocateRequest());
    for (let count = 0; count < 300; count++) {
      await alice
        .signed({ method: 8, write: (writer) => writer.add(attr.xorPeerAddress, { address: '10.0.0.1', port: 0 }) })
        .catch(() => {});
      await at.clock.advance(5);
    }
    const aliceLines = lines.length;
    expect(aliceLines).toBeLessThan(40);
    expect(lines.at(-1)?.message).toContain('--allow-peer NETWORK');
    await client(at, at.internet.host(), server.locals[0]!, { credentials: BOB });
    expect(lines.length).toBe(aliceLines + 1);
    await server.close();
  });
});
