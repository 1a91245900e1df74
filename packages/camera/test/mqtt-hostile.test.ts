import { type AddressInfo, createServer, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { createLog, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { EventQueue } from '../src/outputs/events/event-queue.ts';
import { ReceiverHealth } from '../src/outputs/events/receiver-health.ts';
import { MqttOutput } from '../src/outputs/mqtt/mqtt-output.ts';
import { watchPackets } from '../src/outputs/mqtt/packet-limit.ts';

const info = { devId: 'C2:00:5E:00:53:0A' } as Parameters<typeof MqttOutput.connect>[1]['info'];
const parts = async (clock: VirtualClock) => ({
  clock,
  random: new SeededRandom(1),
  queue: await EventQueue.open({ clock }, {}),
});
const stops: (() => void)[] = [];

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

const CONNECT = 1;
const PUBLISH = 3;
const PUBACK = 4;
const SUBSCRIBE = 8;

/** A broker that accepts everybody and does nothing else by itself (MQTT 3.1.1). */
async function broker(
  onPacket: (type: number, id: Buffer, body: Buffer, socket: Socket) => void = () => {},
  answerCode: () => number | undefined = () => 0,
) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    let held = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      for (let packet = cut(held); packet !== undefined; packet = cut(held)) {
        held = held.subarray(packet.end);
        const { type, body } = packet;
        const code = type === CONNECT ? answerCode() : undefined;
        if (code !== undefined) socket.write(Buffer.of(0x20, 2, 0, code));
        const idAt = type === PUBLISH ? 2 + body.readUInt16BE(0) : 0;
        onPacket(type, body.subarray(idAt, idAt + 2), body, socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

function cut(held: Buffer): { type: number; body: Buffer; end: number } | undefined {
  let length = 0;
  for (let at = 1; at < held.length && at < 5; at++) {
    length += (held[at]! & 0x7f) * 128 ** (at - 1);
    if (held[at]! & 0x80) continue;
    const end = at + 1 + length;
    return held.length < end ? undefined : { type: held[0]! >> 4, body: held.subarray(at + 1, end), end };
  }
  return undefined;
}

test('a broker that accepts a client and confirms nothing is given up in time (B13)', async () => {
  const subscribed = Promise.withResolvers<void>();
  const { url } = await broker((type) => type === SUBSCRIBE && subscribed.resolve());
  const clock = new VirtualClock();
  const connecting = MqttOutput.connect(await parts(clock), { url, info });
  connecting.catch(() => {});
  await subscribed.promise;
  await clock.advance(20_000);
  await expect(connecting).rejects.toMatchObject({ code: 'mqtt-failed', kind: 'unreachable' });
  expect(clock.pendingTimers).toBe(0);
});

test('the signal ends the wait for such a broker (B13)', async () => {
  const subscribed = Promise.withResolvers<void>();
  const { url, sockets } = await broker((type) => type === SUBSCRIBE && subscribed.resolve());
  const clock = new VirtualClock();
  const stop = new AbortController();
  const connecting = MqttOutput.connect(await parts(clock), { url, info }, stop.signal);
  connecting.catch(() => {});
  await subscribed.promise;
  stop.abort(new Error('Ctrl-C'));
  await expect(connecting).rejects.toThrow('Ctrl-C');
  await expect.poll(() => [...sockets].every((socket) => socket.destroyed)).toBe(true);
  expect(clock.pendingTimers).toBe(0);
});

test.each([false, true])(
  'a broker that never accepts is not asked again after the end (patient: %s) (B13)',
  async (patient) => {
    // The client has its own timers.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
    stops.push(() => vi.useRealTimers());
    let asked = 0;
    const { url, sockets } = await broker(
      (type) => {
        if (type === CONNECT) asked++;
      },
      () => undefined,
    );
    const clock = new VirtualClock();
    const stop = new AbortController();
    const connecting = MqttOutput.connect(await parts(clock), { url, info, patient }, stop.signal);
    connecting.catch(() => {});
    await vi.waitUntil(() => asked === 1);
    stop.abort(new Error('Ctrl-C'));
    if (patient) await (await connecting)[Symbol.asyncDispose]();
    else await expect(connecting).rejects.toThrow('Ctrl-C');
    await vi.waitUntil(() => [...sockets].every((socket) => socket.destroyed));
    await vi.advanceTimersByTimeAsync(60_000);
    expect([asked, vi.getTimerCount(), clock.pendingTimers]).toEqual([1, 0, 0]);
  },
);

test('a broker that asks for the camera without end, and confirms nothing, gets it once (B13)', async () => {
  let images = 0;
  let confirmed = 0;
  const topic = Buffer.from('homeassistant/status');
  const online = Buffer.concat([Buffer.of(0x30, 2 + topic.length + 6, 0, topic.length), topic, Buffer.from('online')]);
  const { url, sockets } = await broker((type, id, body, socket) => {
    if (type === SUBSCRIBE) socket.write(Buffer.concat([Buffer.of(0x90, 3), id, Buffer.of(1)]));
    if (type === PUBLISH && body.subarray(2).toString('latin1').startsWith('towpath/c2005e00530a/image')) images++;
    if (type === PUBACK) confirmed++;
  });
  const clock = new VirtualClock();
  const output = await MqttOutput.connect(await parts(clock), { url, info });
  const item = { fileType: 0, dirNum: 100, mediaNum: 1, durationMs: 0, mediaId: 1, mediaTime: 1_700_000_000 };
  await output.picture({ camera: info.devId, item, takenAt: undefined, jpeg: new Uint8Array(100_000) });
  await expect.poll(() => images).toBe(1);
  const [socket] = sockets;
  socket!.write(Buffer.concat(Array.from({ length: 5_000 }, () => online)));
  for (let at = 0; at < 20; at++) output.update({ connected: true, info, roundTripMs: at, lastPictureAt: undefined });
  // An answered ping says that the flood before it was read.
  socket!.write(
    Buffer.concat([Buffer.of(0x32, 4 + topic.length + 6, 0, topic.length), topic, Buffer.from('\0\x07online')]),
  );
  await expect.poll(() => confirmed).toBe(1);
  await clock.advance(60_000);
  expect(images).toBe(1);
  const closing = output[Symbol.asyncDispose]();
  await clock.advance(5_000);
  await closing;
  expect(clock.pendingTimers).toBe(0);
});

test('a broker that stays away is one warning until it was connected again (B13)', async () => {
  // The client has its own timers.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  stops.push(() => vi.useRealTimers());
  let isAway = true;
  let refused = 0;
  const SERVER_UNAVAILABLE = 3;
  const { url, sockets } = await broker(undefined, () => {
    if (isAway) refused++;
    return isAway ? SERVER_UNAVAILABLE : 0;
  });
  const seen: string[] = [];
  const log = createLog(({ level, message }) => seen.push(`${level} ${message}`));
  const warnings = () => seen.filter((line) => line.startsWith('warn')).length;
  const clock = new VirtualClock();
  const changes: boolean[] = [];
  const options = { onChanged: (failure: object | undefined) => changes.push(failure === undefined) };
  const health = new ReceiverHealth({ clock, log }, { ...options, repeated: 'debug' });
  const output = await MqttOutput.connect({ ...(await parts(clock)), log, health }, { url, info, patient: true });
  const later = async <Value>(read: () => Value) => {
    await vi.advanceTimersByTimeAsync(2_000);
    return read();
  };
  await expect.poll(() => later(() => refused)).toBeGreaterThan(3);
  expect(warnings()).toBe(1);
  expect(seen.filter((line) => /^(info|error)/.test(line))).toEqual([]);
  expect(health.failure).toEqual({ message: expect.stringContaining('Server unavailable'), sinceMs: clock.wallTime() });
  isAway = false;
  await expect.poll(() => later(() => health.failure)).toBeUndefined();
  for (const socket of sockets) socket.destroy();
  await expect.poll(warnings).toBe(2);
  expect(health.failure?.message).toBe('The MQTT broker has closed the connection.');
  expect(changes).toEqual([false, true, false]);
  await output[Symbol.asyncDispose]();
  expect(clock.pendingTimers).toBe(0);
});

test.each([
  ['the first', 1],
  ['a later', 2],
])('a packet of 256 MB from the broker on %s connection is refused when it begins (B13)', async (_name, on) => {
  let connects = 0;
  let sentBytes = 0;
  const flooded = Promise.withResolvers<void>();
  const piece = Buffer.alloc(64 * 1024);
  const { url, sockets } = await broker((type, _id, _body, socket) => {
    if (type !== CONNECT) return;
    if (++connects !== on) {
      if (on > connects) setImmediate(() => socket.destroy());
      return;
    }
    socket.on('close', () => flooded.resolve());
    socket.write(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f));
    const send = () => {
      while (!socket.destroyed && socket.write(piece)) sentBytes += piece.length;
      if (sentBytes < 64 * piece.length) socket.once('drain', send);
    };
    send();
  });
  const clock = new VirtualClock();
  const connecting = MqttOutput.connect(await parts(clock), { url, info, patient: true });
  const output = await connecting;
  stops.push(() => void output[Symbol.asyncDispose]());
  await flooded.promise;
  expect(connects).toBeGreaterThanOrEqual(on);
  expect(sentBytes).toBeLessThan(64 * piece.length);
  expect(sockets.size).toBeGreaterThan(0);
});

test.each([
  ['messages of QoS 2, which the client keeps until they are released', [0x34, 4, 0, 0, 0, 1], 1, 'QoS 2'],
  ['answers to nothing, without end', [0xd0, 0], 20_000, 'too many packets'],
  ['messages without end', [0x30, 3, 0, 1, 0x61], 20_000, 'too many packets'],
])('a broker that sends %s is disconnected, and that is said (B13)', async (_what, packet, count, why) => {
  const closed = Promise.withResolvers<void>();
  const { url } = await broker((type, _id, _body, socket) => {
    if (type !== CONNECT) return;
    socket.on('close', () => closed.resolve());
    for (let sent = 0; sent < count; sent++) socket.write(Buffer.from(packet));
  });
  const clock = new VirtualClock();
  const failures: string[] = [];
  const health = new ReceiverHealth({ clock, log: createLog((record) => void failures.push(record.message)) });
  const output = await MqttOutput.connect({ ...(await parts(clock)), health }, { url, info, patient: true });
  stops.push(() => void output[Symbol.asyncDispose]());
  await closed.promise;
  await expect.poll(() => failures.join()).toContain(why);
});

test('the size of packets is told whatever pieces they come in (B13)', () => {
  const packet = (length: number) => [
    0x30,
    (length & 0x7f) | 0x80,
    length >> 7,
    ...new Array<number>(length).fill(0xff),
  ];
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 128, max: 400 }), { minLength: 1 }),
      fc.integer({ min: 1, max: 50 }),
      (sizes, step) => {
        const found: string[] = [];
        const stream = new PassThrough();
        watchPackets(stream, { maxBytes: 300, allow: () => true }, (why) => found.push(why));
        const bytes = Buffer.from(sizes.flatMap(packet));
        for (let at = 0; at < bytes.length; at += step) stream.emit('data', bytes.subarray(at, at + step));
        const first = sizes.find((size) => size > 300);
        expect(found.length).toBe(first === undefined ? 0 : 1);
      },
    ),
  );
});
