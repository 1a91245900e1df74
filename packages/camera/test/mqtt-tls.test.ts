import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { createLog, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { EventQueue } from '../src/outputs/events/event-queue.ts';
import { ReceiverHealth } from '../src/outputs/events/receiver-health.ts';
import { MqttOutput } from '../src/outputs/mqtt/mqtt-output.ts';

const fixture = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../control/test/fixtures/${name}`, import.meta.url)), 'utf8');
/** For 127.0.0.1, signed by itself. */
const identity = { cert: fixture('loopback-cert.pem'), key: fixture('loopback-key.pem') };
/** The same, signed by a private authority, which no system trusts. */
const own = (name: string) => readFileSync(fileURLToPath(new URL(`fixtures/${name}.pem`, import.meta.url)), 'utf8');
const signed = { cert: own('broker-cert'), key: own('broker-key') };
const HERE = '127.0.0.1';
/** An address of this host that the certificate does not name. */
const ELSEWHERE = '127.0.0.2';
const PASSWORD = 'pw-24681357';
const info = { devId: 'C2:00:5E:00:53:0A' } as Parameters<typeof MqttOutput.connect>[1]['info'];

const CONNACK = Buffer.of(0x20, 2, 0, 0);
const GARBAGE = Buffer.alloc(2_000, 0xe5);
/** The beginning of a message of 256 MB, and more. */
const LARGE = Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f, ...GARBAGE]);
const CLOSED = /^The MQTT broker has closed the connection\.$/;
const stops: (() => unknown)[] = [];
const authorities = getCACertificates('default');
const uncaught: unknown[] = [];
const remember = (error: unknown) => void uncaught.push(error);

beforeAll(() => {
  process.on('uncaughtExceptionMonitor', remember);
});
afterAll(() => {
  process.off('uncaughtExceptionMonitor', remember);
  expect(uncaught).toEqual([]);
});
afterEach(async () => {
  setDefaultCACertificates(authorities);
  for (const stop of stops.splice(0)) await stop();
});

/** What a broker does with a connection, and with what comes over it. */
interface Behaviour {
  onOpen?(socket: Socket): void;
  onData?(socket: Socket): void;
}

async function listen(server: Server, address: string): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  return `mqtts://${address}:${(server.address() as AddressInfo).port}`;
}

/** A broker that speaks TLS, or one that only accepts connections. */
async function broker(kind: 'tls' | 'tcp', { onOpen, onData }: Behaviour, address = HERE, shows = identity) {
  const received: Buffer[] = [];
  const sockets = new Set<Socket>();
  const onSocket = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (data: Buffer) => {
      received.push(data);
      onData?.(socket);
    });
    onOpen?.(socket);
  };
  const server = kind === 'tls' ? createTlsServer(shows, onSocket) : createServer(onSocket);
  server.on('tlsClientError', () => {});
  const url = await listen(server, address);
  stops.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url, sockets, received: () => Buffer.concat(received).toString('latin1') };
}

/** Connects as a daemon does: it begins although the broker is not there. */
async function connected(url: string, authorities?: string) {
  const clock = new VirtualClock();
  const said: string[] = [];
  const log = createLog((record) => void said.push(JSON.stringify(record)));
  const health = new ReceiverHealth({ clock, log }, { repeated: 'debug' });
  const queue = await EventQueue.open({ clock }, {});
  const output = await MqttOutput.connect(
    { clock, random: new SeededRandom(1), queue, log, health },
    { url, username: 'me', password: PASSWORD, info, patient: true, authorities },
  );
  stops.push(() => {
    const closing = output[Symbol.asyncDispose]();
    return clock.runUntil(closing);
  });
  return { output, health, said: () => said.join('\n') };
}

/** Sends a piece again and again, as fast as it is taken. */
function endless(socket: Socket, piece: Uint8Array): void {
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.on('drain', more);
  more();
}

describe('a broker over TLS that must not be trusted (B13)', () => {
  test.each([
    ['a certificate that nobody signed', HERE, false, /self-signed|unable to verify/],
    ['a certificate for another host', ELSEWHERE, true, /does not match|altnames/i],
  ])('with %s never gets the password, and that is said', async (_what, address, isTrusted, why) => {
    if (isTrusted) setDefaultCACertificates([...authorities, identity.cert]);
    const { url, received } = await broker('tls', {}, address);
    const { health, said } = await connected(url);
    await expect.poll(() => health.failure?.message).toMatch(why);
    expect(received()).toBe('');
    expect(said()).not.toContain(PASSWORD);
  });

  test('with a certificate for this host is used', async () => {
    setDefaultCACertificates([...authorities, identity.cert]);
    const { url, received } = await broker('tls', { onOpen: (socket) => void socket.write(CONNACK) });
    const { health, said } = await connected(url);
    await expect.poll(received).toContain('towpath/c2005e00530a/availability');
    expect(received()).toContain(PASSWORD);
    expect(health.failure).toBeUndefined();
    expect(said()).not.toContain(PASSWORD);
  });

  test('with a certificate of a private authority is used when that authority is named', async () => {
    const onOpen = (socket: Socket) => void socket.write(CONNACK);
    const { url, received } = await broker('tls', { onOpen }, HERE, signed);
    const { health } = await connected(url, own('private-authority'));
    await expect.poll(received).toContain('towpath/c2005e00530a/availability');
    expect(received()).toContain(PASSWORD);
    expect(health.failure).toBeUndefined();
  });

  test.each([
    ['and none is named', undefined, HERE, 'Next: give the authority of its certificate', '--mqtt-ca FILE'],
    [
      'and another one is named',
      identity.cert,
      HERE,
      'that has signed its certificate; that of --mqtt-ca',
      '--mqtt-ca',
    ],
    ['and another address', own('private-authority'), ELSEWHERE, 'Next: use a name or an address that its', 'has.'],
  ])('with a certificate of a private authority %s gets nothing, and what to do is said', async (...given) => {
    const [, authority, address, why, next] = given;
    const { url, received } = await broker('tls', {}, address, signed);
    const { health } = await connected(url, authority);
    await expect.poll(() => health.failure?.message).toContain(why);
    expect(health.failure?.message).toContain(next);
    const clock = new VirtualClock();
    const parts = { clock, random: new SeededRandom(1), queue: await EventQueue.open({ clock }, {}) };
    await expect(MqttOutput.connect(parts, { url, info, authorities: authority })).rejects.toMatchObject({
      code: 'mqtt-failed',
      message: expect.stringContaining(why),
    });
    expect(received()).toBe('');
  });

  test.each<[string, 'tls' | 'tcp', Behaviour, RegExp]>([
    ['sends garbage', 'tls', { onData: (socket) => void socket.write(GARBAGE) }, /header flag bits|more than 65536/],
    ['sends garbage without end', 'tls', { onData: (socket) => endless(socket, GARBAGE) }, /flag bits|more than 65536/],
    [
      'closes in the middle of an answer',
      'tls',
      { onData: (socket) => void socket.end(CONNACK.subarray(0, 3)) },
      CLOSED,
    ],
    ['closes after the handshake', 'tls', { onOpen: (socket) => socket.destroy() }, CLOSED],
    ['closes without a handshake', 'tcp', { onData: (socket) => socket.destroy() }, /before secure TLS connection/],
    ['does not speak TLS', 'tcp', { onData: (socket) => void socket.write(GARBAGE) }, /does not answer in TLS; check/],
    ['begins a packet of 256 MB', 'tls', { onData: (socket) => endless(socket, LARGE) }, /more than 65536 bytes/],
    [
      'answers the connection without end',
      'tls',
      { onData: (socket) => endless(socket, CONNACK) },
      /duplicate CONNACK/,
    ],
  ])('that %s is a failure that is said, and the connection is closed', async (_what, kind, behaviour, why) => {
    setDefaultCACertificates([...authorities, identity.cert]);
    const beforeMib = process.memoryUsage.rss() / 2 ** 20;
    const { url, sockets } = await broker(kind, behaviour);
    const { health, said } = await connected(url);
    await expect.poll(() => health.failure?.message, { timeout: 20_000 }).toMatch(why);
    expect(said()).not.toContain(PASSWORD);
    await expect.poll(() => [...sockets][0]!.destroyed).toBe(true);
    expect(process.memoryUsage.rss() / 2 ** 20 - beforeMib).toBeLessThan(300);
  });

  test('that closes each connection is tried again, and works when it no longer does', async () => {
    setDefaultCACertificates([...authorities, identity.cert]);
    let count = 0;
    const onOpen = (socket: Socket) => (++count === 1 ? socket.destroy() : socket.write(CONNACK));
    const { url, received } = await broker('tls', { onOpen });
    const { health } = await connected(url);
    await expect.poll(() => health.failure?.message).toMatch(CLOSED);
    await expect.poll(received, { timeout: 20_000 }).toContain('towpath/c2005e00530a/availability');
    // The topic is in the first packet already, as that of the last will.
    await expect.poll(() => health.failure, { timeout: 20_000 }).toBeUndefined();
    expect(count).toBe(2);
  });

  test('that leaves the handshake unanswered is given up after 15 s, and that is said', async () => {
    // The client has its own timers.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    stops.push(() => vi.useRealTimers());
    const { url, sockets } = await broker('tcp', {});
    const { health } = await connected(url);
    await expect.poll(() => sockets.size).toBe(1);
    await vi.advanceTimersByTimeAsync(14_000);
    expect(health.failure).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1_000);
    await expect.poll(() => health.failure?.message).toContain('it has not answered within 15 s');
    await expect.poll(() => [...sockets][0]!.destroyed).toBe(true);
  });

  test('is an error without the password when the camera is to be published once', async () => {
    const { url, received } = await broker('tls', {});
    const clock = new VirtualClock();
    const parts = { clock, random: new SeededRandom(1), queue: await EventQueue.open({ clock }, {}) };
    const failure = await MqttOutput.connect(parts, { url, username: 'me', password: PASSWORD, info }).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: 'mqtt-failed', kind: 'unreachable' });
    expect(inspect(failure, { depth: 9 })).not.toContain(PASSWORD);
    expect(received()).toBe('');
    expect(clock.pendingTimers).toBe(0);
  });
});
