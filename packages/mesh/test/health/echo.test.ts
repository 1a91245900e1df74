import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { carriesData, decodeEcho, encodeEcho, foreignEcho } from '../../src/health/echo-message.ts';
import { ECHO_PORT, EchoService } from '../../src/health/echo-service.ts';

describe('echo message', () => {
  it('has the layout of docs/protocol/mesh.md, "Echo"', () => {
    const bytes = encodeEcho({ type: 'request', id: 0x01020304, note: Uint8Array.of(9, 8) }, 16);
    expect(Buffer.from(bytes).toString('hex')).toBe('54504543010101020304020908000000');
  });

  it('comes back as it was, whatever the padding', () => {
    const types = fc.constantFrom('request', 'reply', 'goodbye');
    fc.assert(
      fc.property(
        types,
        fc.nat(),
        fc.uint8Array({ maxLength: 64 }),
        fc.integer({ min: 0, max: 1_500 }),
        (type, id, note, size) => {
          expect(decodeEcho(encodeEcho({ type, id, note }, size))).toEqual({ type, id, note });
        },
      ),
    );
  });

  it('is known in every version but the own one', () => {
    const echo = encodeEcho({ type: 'request', id: 1, note: new Uint8Array(0) });
    const foreign = Array.from({ length: 256 }, (_, version) => foreignEcho(echo.with(4, version)));
    expect(foreign).toEqual(foreign.map((_, version) => (version === 1 ? undefined : version)));
    expect([echo.with(0, 0), echo.subarray(0, 4), new Uint8Array(0)].map(foreignEcho)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('is no data in the tunnel, however long its note, and neither are keep-alives and handshakes', () => {
    const inTunnel = (bytes: number) => 32 + 16 * Math.ceil((28 + bytes) / 16);
    const datagram = (type: number, bytes: number) => Uint8Array.of(type, ...new Uint8Array(bytes - 1));
    const echo = encodeEcho({ type: 'reply', id: 1, note: new Uint8Array(64) });
    expect(carriesData(datagram(4, inTunnel(echo.length)))).toBe(false);
    for (const [type, bytes] of [
      [4, 32],
      [1, 148],
      [2, 92],
    ] as const) {
      expect(carriesData(datagram(type, bytes))).toBe(false);
    }
    expect(carriesData(datagram(4, inTunnel(200)))).toBe(true);
  });

  it('reads any bytes without throwing', () => {
    const near = fc.uint8Array({ maxLength: 90 }).map((tail) => Uint8Array.of(0x54, 0x50, 0x45, 0x43, 1, ...tail));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), near), (bytes) => {
        const message = decodeEcho(bytes);
        if (message) expect(message.note.length).toBeLessThanOrEqual(64);
      }),
    );
  });
});

describe('EchoService', () => {
  async function pair(isMember: (address: string) => boolean = () => true) {
    const clock = new VirtualClock();
    const random = new SeededRandom(5);
    const internet = new SimulatedInternet({ clock, random });
    const hosts = [internet.host(), internet.host(), internet.host()];
    const addresses = hosts.map(({ network }) => network.interfaces().find(({ internal }) => !internal)!.address);
    const [a, b] = await Promise.all(
      [0, 1].map((at) =>
        EchoService.open(
          { network: hosts[at]!.network, clock, random },
          { address: addresses[at]!, isMember, note: () => Uint8Array.of(at) },
        ),
      ),
    );
    return { clock, a: a!, b: b!, addresses, hosts, stranger: hosts[2]! };
  }

  it('measures the round trip and hands over the note', async () => {
    const { clock, a, b, addresses } = await pair();
    const notes: number[] = [];
    b.events.on('heard', ({ note }) => notes.push(note[0]!));
    const rttMs = await clock.runUntil(a.ping(addresses[1]!));
    expect(rttMs).toBeCloseTo(40, 0);
    expect(notes).toEqual([0]);
    expect(a.pending).toBe(0);
  });

  it('ignores addresses that are no members, and answers to echoes that it did not send', async () => {
    const { clock, a, addresses, stranger } = await pair((address) => address !== addresses[2]);
    const heard: string[] = [];
    a.events.on('heard', ({ address }) => heard.push(address));
    const answers: Uint8Array[] = [];
    const socket = await stranger.network.bindUdp({ onMessage: (data) => answers.push(data) });
    const to = { address: addresses[0]!, port: ECHO_PORT };
    for (const type of ['request', 'reply', 'goodbye'] as const) {
      socket.send(encodeEcho({ type, id: 1, note: new Uint8Array(0) }), to);
    }
    await clock.advance(1_000);
    expect([heard, answers]).toEqual([[], []]);
  });

  it('counts and tells echoes of another version, of members alone, and answers none', async () => {
    const { clock, b, addresses, hosts, stranger } = await pair((address) => address !== addresses[2]);
    const told: unknown[] = [];
    b.events.on('foreign', (event) => told.push(event));
    const foreign = encodeEcho({ type: 'request', id: 1, note: new Uint8Array(0) }).with(4, 9);
    const member = await hosts[0]!.network.bindUdp({ onMessage: (data) => told.push(data) });
    const other = await stranger.network.bindUdp({ onMessage: (data) => told.push(data) });
    for (const socket of [member, other]) socket.send(foreign, { address: addresses[1]!, port: ECHO_PORT });
    await clock.advance(1_000);
    expect([b.foreign, told]).toEqual([1, [{ address: addresses[0], version: 9 }]]);
  });

  it('answers a member that floods it at most 20 times a second, and each answer is small', async () => {
    const { clock, b, addresses, stranger } = await pair();
    const answers: number[] = [];
    const socket = await stranger.network.bindUdp({ port: ECHO_PORT, onMessage: (data) => answers.push(data.length) });
    for (let at = 0; at < 1_000; at++) {
      const request = encodeEcho({ type: 'request', id: at, note: new Uint8Array(0) }, 1_300);
      socket.send(request, { address: addresses[1]!, port: ECHO_PORT });
      await clock.advance(1);
    }
    expect(answers.length).toBeLessThanOrEqual(41);
    expect(Math.max(...answers)).toBe(12);
    await b.close();
  });

  it('forgets an echo that is aborted', async () => {
    const { clock, a } = await pair();
    const abort = new AbortController();
    const ping = a.ping('11.99.99.99', { signal: abort.signal });
    await clock.advance(5_000);
    abort.abort(new Error('enough'));
    await expect(ping).rejects.toThrow('enough');
    expect(a.pending).toBe(0);
  });
});
