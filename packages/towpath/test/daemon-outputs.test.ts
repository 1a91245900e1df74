import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Camera } from '@towpath/dashboard/api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { freePort } from '../../net/test/free-port.ts';
import { type DaemonRig, daemonRig, until } from './daemon-rig.ts';

interface Told {
  id: string;
  mediaNum: number;
  jpeg: string;
}

describe('outputs of a camera of the daemon (B13)', () => {
  let rig: DaemonRig;
  let receiver: Server;
  let port: number;
  let rtspPort: number;
  const told: Told[] = [];
  const paths = new Set<string>();
  let answer = 200;

  const config = () => rig.commandLine.file('config/config.yaml');
  const feeder = () => rig.json<Camera>('/v1/cameras/feeder');
  const file = (name: string) => rig.commandLine.file(name);
  const photos = () =>
    existsSync(file('out')) ? readdirSync(file('out')).filter((name) => name.endsWith('.jpg')) : [];

  /** Changes the outputs in the file, as a person does, while the daemon runs. */
  function write(outputs: object): void {
    const document = parseDocument(readFileSync(config(), 'utf8'));
    document.setIn(['cameras', 'feeder', 'outputs'], document.createNode(outputs));
    writeFileSync(config(), document.toString());
  }

  beforeAll(async () => {
    rig = await daemonRig();
    receiver = createServer((request, response) => {
      let body = '';
      paths.add(request.url ?? '');
      request.on('data', (part) => {
        body += part;
      });
      request.on('end', () => {
        if (answer === 200) told.push(JSON.parse(body));
        response.statusCode = answer;
        response.end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    [port, rtspPort] = [await freePort(), await freePort()];
    await until(async () => (await feeder()).pictures.missing === 0);
  });

  afterAll(async () => {
    receiver?.close();
    await rig?.[Symbol.asyncDispose]();
  });

  test('are off by default, and opened when the file is changed, without a new connection to the camera', async () => {
    const { since } = await feeder();
    await expect(fetch(`http://127.0.0.1:${port}/snapshot.jpg`)).rejects.toThrow();
    writeFileSync(file('note.sh'), `#!/bin/sh\necho "$1" >> ${file('ran')}\n`);
    chmodSync(file('note.sh'), 0o755);
    write({
      http: port,
      rtsp: rtspPort,
      webhook: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
      exec: file('note.sh'),
      export: file('out'),
    });
    const password = () => readFileSync(file('config/outputs-password'), 'utf8').trim();
    const ask = async () => {
      const authorization = `Basic ${Buffer.from(`towpath:${password()}`).toString('base64')}`;
      return await fetch(`http://127.0.0.1:${port}/snapshot.jpg`, { headers: { authorization } });
    };
    await until(() =>
      ask()
        .then(({ ok }) => ok)
        .catch(() => false),
    );
    const newest = Buffer.from(await (await ask()).arrayBuffer());
    const folder = file('config/pictures/feeder');
    const here = readdirSync(folder).filter((name) => name.endsWith('.jpg'));
    expect(here.some((name) => readFileSync(join(folder, name)).equals(newest))).toBe(true);
    expect((await fetch(`http://127.0.0.1:${port}/snapshot.jpg`)).status).toBe(401);
    expect(await feeder()).toMatchObject({ since, state: 'connected', problem: null });
  });

  test('tell of each new picture once: webhook, program, copy', async () => {
    const one = rig.camera.takePicture();
    await until(() => told.length > 0 && existsSync(file('ran')) && photos().length > 0);
    const two = rig.camera.takePicture();
    await until(
      () => told.length > 1 && photos().length > 1 && readFileSync(file('ran'), 'utf8').split('\n').length > 2,
    );
    expect(told.map(({ mediaNum }) => mediaNum)).toEqual([one.mediaNum, two.mediaNum]);
    expect(told[0]?.jpeg.length).toBeGreaterThan(1_000);
    const ran = readFileSync(file('ran'), 'utf8').trim().split('\n');
    expect(ran).toHaveLength(2);
    expect(ran.every((path) => path.startsWith(file('config/pictures/feeder/')) && existsSync(path))).toBe(true);
    expect(photos()).toHaveLength(2);
  });

  test('a port that is taken is a problem of the camera, which goes on; another port mends it', async () => {
    const taken = (receiver.address() as AddressInfo).port;
    write({ http: taken });
    await until(async () => (await feeder()).problem?.code === 'address-in-use');
    expect(await feeder()).toMatchObject({ state: 'connected' });
    const before = (await feeder()).pictures.saved;
    rig.camera.takePicture();
    await until(async () => (await feeder()).pictures.saved > before);
    write({ http: port });
    await until(() =>
      fetch(`http://127.0.0.1:${port}/`)
        .then(({ status }) => status === 401)
        .catch(() => false),
    );
    expect(await feeder()).toMatchObject({ state: 'connected', problem: null });
    // What was set before is closed.
    expect(told).toHaveLength(2);
  });

  test('a receiver that fails is a problem until it takes what waited: page, health, status', async () => {
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
    answer = 503;
    // A file is where the folder should be.
    writeFileSync(file('full'), '');
    write({ webhook: `${url}/secret-path`, export: file('full'), exec: 'exit 3;' });
    const before = told.length;
    await until(async () => {
      if ((await feeder()).outputProblems.length === 3) return true;
      rig.camera.takePicture();
      return false;
    });
    const { problem, outputProblems, state } = await feeder();
    expect([problem, state]).toEqual([null, 'connected']);
    const [webhook, exec, copies] = outputProblems;
    expect(webhook).toMatchObject({ code: 'output-failed', output: 'webhook', waiting: expect.any(Number) });
    expect(webhook?.waiting).toBeGreaterThan(0);
    expect(webhook?.message).toMatch(
      new RegExp(`^feeder: webhook ${url} failed: .* status 503; .*\\. \\d+ pictures? waits?\\.$`),
    );
    expect(Date.parse(webhook?.at ?? '')).toBeLessThanOrEqual(Date.now());
    expect(exec?.message).toContain('ended with 3');
    expect(copies?.message).toContain(file('full'));
    expect(await rig.json('/health')).toEqual({ status: 'degraded', problems: ['output-failed'] });
    const { out } = await rig.commandLine.run(['status']);
    expect(out.join(' ').replaceAll(/\s+/g, ' ')).toMatch(
      /! feeder: webhook \S+ failed: .* status 503.* \(for \d+ (s|min)\)/,
    );
    expect(out).toContainEqual(expect.stringMatching(/^feeder .*output-failed/));
    answer = 200;
    rmSync(file('full'));
    await until(async () => (await feeder()).outputProblems.length === 1);
    expect(told.length).toBeGreaterThan(before);
    write({ webhook: `${url}/secret-path` });
    await until(async () => (await feeder()).outputProblems.length === 0);
    expect(await rig.json('/health')).toEqual({ status: 'ok', problems: [] });
  });

  test('what waits for a receiver that is not configured any more is removed, with the receiver and with the camera', async () => {
    const folder = file(`config/outputs/${readdirSync(file('config/outputs'))[0]}`);
    const waiting = () => readdirSync(folder).filter((name) => name !== 'announced');
    answer = 503;
    // Folders of receivers, each with what waits for it; those before are removed once the new one is opened.
    const before = waiting();
    const waitsOnlyFor = (kind: string) =>
      until(() => {
        const folders = waiting();
        const [only = ''] = folders;
        const isNew = folders.length === 1 && only.startsWith(`${kind}-`) && !before.includes(only);
        if (isNew && (kind === 'export' || readdirSync(join(folder, only)).length > 0)) return true;
        rig.camera.takePicture();
        return false;
      });
    write({ webhook: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/other` });
    await waitsOnlyFor('webhook');
    write({ export: file('out') });
    await waitsOnlyFor('export');
    expect(await rig.commandLine.run(['camera', 'remove', 'feeder'])).toMatchObject({ code: 0 });
    expect([waiting(), existsSync(join(folder, 'announced'))]).toEqual([[], true]);
  });

  test('two entries of one device: a problem names both, and the second one has outputs when the first is removed', async () => {
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
    const address = ['127.0.0.1', '--ports', String(rig.camera.listen.port), '--search-port', String(await freePort())];
    const add = async (name: string) => {
      expect(await rig.commandLine.run(['camera', 'add', name, ...address])).toMatchObject({ code: 0 });
      await until(async () => (await rig.ask(`/v1/cameras/${name}`)).ok);
      const document = parseDocument(readFileSync(config(), 'utf8'));
      document.setIn(['cameras', name, 'outputs'], document.createNode({ webhook: `${url}/${name}` }));
      writeFileSync(config(), document.toString());
    };
    const settled = (name: string) =>
      until(async () => (await rig.json<Camera>(`/v1/cameras/${name}`)).pictures.missing === 0);
    const takesOne = async () => {
      const before = told.length;
      let takenAt = Number.NEGATIVE_INFINITY;
      await until(() => {
        if (told.length > before) return true;
        // One that was taken before the outputs were open is not told of.
        if (performance.now() - takenAt < 500) return false;
        rig.camera.takePicture();
        takenAt = performance.now();
        return false;
      });
    };
    answer = 200;
    await add('feeder');
    await settled('feeder');
    await add('barn');
    const message = `feeder and barn are the same device (${rig.camera.deviceId}), and feeder had it first. Next: towpath camera remove barn (or feeder, to keep barn)`;
    const state = () => JSON.parse(readFileSync(file('config/state.json'), 'utf8'));
    const barn = () => rig.json<Camera>('/v1/cameras/barn');
    await until(async () => (await barn()).problem?.message === message);
    const { out } = await rig.commandLine.run(['status']);
    expect(out.join(' ').replaceAll(/\s+/g, ' ')).toContain(message);
    await settled('barn');
    await takesOne();
    expect((await feeder()).problem).toBe(null);
    expect(paths.has('/barn')).toBe(false);
    expect(Object.values(state().devices)).toEqual(['feeder']);
    expect(await rig.commandLine.run(['camera', 'remove', 'feeder'])).toMatchObject({ code: 0 });
    await until(async () => (await barn()).problem === null);
    // An entry that is added later under the name is not taken for this device.
    expect([Object.keys(state().cameras), Object.values(state().devices)]).toEqual([['barn'], ['barn']]);
    await takesOne();
    expect(paths.has('/barn')).toBe(true);
  });
});
