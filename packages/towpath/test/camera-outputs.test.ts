import { createHmac } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { components, CommandLine } from './command-line.ts';

describe('camera outputs (B13)', () => {
  let commandLine: CommandLine;
  let camera: CameraEmulator;

  beforeEach(async () => {
    commandLine = new CommandLine();
    const place = { address: '127.0.0.1', listenPort: 0, searchPort: false } as const;
    camera = new CameraEmulator(components, { ...place, itemCount: 3, pictures: paddedPictures() });
    await camera.start();
  });

  afterEach(async () => {
    commandLine[Symbol.dispose]();
    await camera.close();
  });

  const where = () => ['127.0.0.1', '--ports', String(camera.listen.port), '--only', 'p2p'];

  test('RTSP and HTTP listen on loopback with a password that is made once', async () => {
    const args = ['camera', 'outputs', ...where(), '--rtsp', '0', '--http', '0', '--json'];
    const running = commandLine.start(args);
    const said = () => running.out.map((line) => JSON.parse(line) as { output?: string; url?: string });
    await expect.poll(() => said().filter(({ output }) => output !== undefined).length, { timeout: 60_000 }).toBe(2);
    const file = commandLine.file('config/outputs-password');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const password = readFileSync(file, 'utf8').trim();
    expect(running.out.join() + running.err.join()).not.toContain(password);
    const url = said().find(({ output }) => output === 'http')?.url ?? '';
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/snapshot\.jpg$/);
    expect((await fetch(url)).status).toBe(401);
    const authorization = `Basic ${Buffer.from(`towpath:${password}`).toString('base64')}`;
    const snapshot = await fetch(url, { headers: { authorization } });
    expect([snapshot.status, snapshot.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
    expect((await snapshot.arrayBuffer()).byteLength).toBeGreaterThan(1_000);
    expect(await running.stop()).toBe(130);
  });

  test('the webhook gets each new picture, signed, and none that was there before', async () => {
    const received: { body: string; signature: string }[] = [];
    const receiver = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => {
        body += part;
      });
      request.on('end', () => {
        received.push({ body, signature: String(request.headers['x-towpath-signature']) });
        response.end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const key = commandLine.file('key');
    writeFileSync(key, 'signing key\n', { mode: 0o600 });
    const hook = ['--webhook', `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`, '--password-file', key];
    const running = commandLine.start(['camera', 'outputs', ...where(), ...hook, '--every', '1', '--json']);
    // The list has been read once, so that what comes now is new.
    await expect.poll(() => running.out.join(), { timeout: 60_000 }).toContain('"output":"webhook"');
    const commands = camera.counters.commands;
    await expect.poll(() => camera.counters.commands - commands, { timeout: 60_000 }).toBeGreaterThan(1);
    const taken = camera.takePicture();
    await expect.poll(() => received.length, { timeout: 60_000 }).toBe(1);
    const { body, signature } = received[0]!;
    expect(signature).toBe(`sha256=${createHmac('sha256', 'signing key').update(body).digest('hex')}`);
    expect(JSON.parse(body)).toMatchObject({ event_type: 'picture', mediaNum: taken.mediaNum, kind: 'photo' });
    expect(JSON.parse(body).jpeg.length).toBeGreaterThan(1_000);
    // Another one would remove what waits for this one's receivers.
    const second = await commandLine.run(['camera', 'outputs', ...where(), '--http', '0']);
    const refusal = `Another towpath process (${process.pid}) hands on what the camera ${camera.deviceId} takes. Next: end it first`;
    expect([second.code, second.err]).toEqual([5, expect.stringContaining(refusal)]);
    expect(await running.stop()).toBe(130);
    receiver.close();
  });

  test('when --for is over before the broker has accepted the connection, that is said, with the code of what was not reached', async () => {
    const sockets = new Set<Socket>();
    const broker = createTcpServer((socket) => void sockets.add(socket.on('error', () => {}).resume()));
    await new Promise<void>((resolve) => broker.listen(0, '127.0.0.1', resolve));
    const url = `mqtt://127.0.0.1:${(broker.address() as AddressInfo).port}`;
    const { code, err, out } = await commandLine.run([
      'camera',
      'outputs',
      ...where(),
      '--mqtt',
      url,
      '--for',
      '1',
      '--json',
    ]);
    const message = `Time is up: after 1.0 s (--for) the command still waited for the MQTT broker ${url} to accept the connection. Next: check that it answers, or give more time.`;
    expect([code, err]).toEqual([3, expect.stringContaining(message)]);
    expect(JSON.parse(out.at(-1)!)).toMatchObject({ type: 'error', error: { code: 'timed-out', message } });
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => broker.close(resolve));
  });

  test('when --for is over, what a webhook has not taken is said', async () => {
    const sockets = new Set<Socket>();
    const receiver = createTcpServer((socket) => void sockets.add(socket.on('error', () => {}).resume()));
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
    const args = ['camera', 'outputs', ...where(), '--webhook', `${url}/hook`, '--every', '1', '--for', '8', '--json'];
    const running = commandLine.start(args);
    // The list has been read once, so that what comes now is new.
    await expect.poll(() => running.out.join(), { timeout: 60_000 }).toContain('"output":"webhook"');
    const commands = camera.counters.commands;
    await expect.poll(() => camera.counters.commands - commands, { timeout: 60_000 }).toBeGreaterThan(1);
    camera.takePicture();
    expect(await running.code).toBe(0);
    const left = running.out.map((line) => JSON.parse(line)).filter(({ type }) => type === 'left');
    expect(left).toMatchObject([{ output: 'webhook', receiver: url, waiting: 1 }]);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => receiver.close(resolve));
  });

  test.each([
    [[], 'No output was chosen'],
    [['--mqtt', 'http://broker'], 'mqtt:// or mqtts://'],
    [['--mqtt', 'mqtt://me:secret@broker'], '--mqtt-password-file'],
    [['--mqtt', 'mqtt://broker', '--mqtt-ca', '/absent'], '--mqtt-ca is for a broker over TLS'],
    [['--webhook', 'http://x', '--mqtt-ca', '/absent'], '--mqtt-ca is for a broker over TLS'],
    [['--mqtt', 'mqtts://broker', '--mqtt-ca', '/absent'], '--mqtt-ca: /absent does not exist. Next: check the path'],
    [['--mqtt', 'mqtts://broker', '--mqtt-ca', '/proc'], '--mqtt-ca: /proc is not a file. Next: name a file'],
    [['--mqtt', 'mqtts://broker', '--mqtt-ca', '/proc/self/status'], '/proc/self/status has no certificate in PEM'],
    [['--webhook', 'ftp://x'], 'http:// or https://'],
    [['--rtsp', '99999'], 'PORT or ADDRESS:PORT'],
  ])('%j is refused with the next step', async (args, text) => {
    const { code, err } = await commandLine.run(['camera', 'outputs', ...where(), ...args]);
    expect([code, err]).toEqual([2, expect.stringContaining(text)]);
    expect(err).not.toContain('secret');
  });
});
