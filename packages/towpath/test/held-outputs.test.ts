import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { createServer, getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { DeviceInfo } from '@towpath/camera';
import { createLog, SeededRandom, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import type { PictureEvent } from '@towpath/camera/outputs';
import { type DeviceHolders, HeldDevices } from '../src/daemon/cameras/held-devices.ts';
import { HeldOutputs, type HeldOutputsComponents } from '../src/daemon/cameras/held-outputs.ts';
import { CameraOutputs, type OutputsComponents } from '../src/outputs/camera-outputs.ts';
import { dropWaiting, lockOutputs, outputsFolder } from '../src/outputs/outputs-folder.ts';
import { CommandLine, components } from './command-line.ts';

test('outputs that could not be opened are tried again after 1 s, then less often, and opened when it is possible (B13)', async () => {
  using commandLine = new CommandLine();
  const clock = new VirtualClock();
  const keyFile = commandLine.file('key');
  let tries = 0;
  const runtime = {
    ...components,
    clock,
    random: new SeededRandom(1),
    log: silentLog,
    configFolder: commandLine.file('config'),
  };
  const changed = () => {
    tries++;
  };
  const devices = new HeldDevices();
  const parts = { runtime, live: {}, catalog: {}, devices, name: 'feeder', timeZone: undefined, changed };
  const config = { webhook: { url: 'http://127.0.0.1:9/', keyFile } };
  const outputs = new HeldOutputs(parts as unknown as HeldOutputsComponents, config);
  await outputs.identify({ devId: 'C2:00:5E:00:53:0A' } as DeviceInfo);
  expect([outputs.problem?.code, tries]).toEqual(['file-unreadable', 1]);
  await clock.advance(1_200);
  await expect.poll(() => tries).toBe(2);
  await clock.advance(2_400);
  await expect.poll(() => tries).toBe(3);
  for (let minute = 1; minute <= 20; minute++) {
    const before = tries;
    await clock.advance(70_000);
    await expect.poll(() => tries).toBeGreaterThan(before);
  }
  const before = tries;
  await clock.advance(50_000);
  expect(tries).toBe(before);
  writeFileSync(keyFile, 'key', { mode: 0o600 });
  await clock.advance(20_000);
  await expect.poll(() => outputs.problem).toBeUndefined();
  await outputs[Symbol.asyncDispose]();
  expect(clock.pendingTimers).toBe(0);
});

test('closed while pictures are announced, they write nothing more, and what waited can be dropped (B13)', async () => {
  using commandLine = new CommandLine();
  const runtime = {
    ...components,
    clock: new VirtualClock(),
    log: silentLog,
    configFolder: commandLine.file('config'),
  };
  const to = commandLine.file('absent/copies');
  const info = { devId: 'C2:00:5E:00:53:0A' } as DeviceInfo;
  const parts = { runtime, live: {}, newest: {}, info, timeZone: undefined, patient: true };
  const events = { onOpened: () => {}, onReceiver: () => {} };
  const outputs = await CameraOutputs.open({ ...parts, ...events } as unknown as OutputsComponents, {
    export: { folder: to },
  });
  const items = Array.from({ length: 20 }, (_, at) => item(at));
  await outputs.begin([]);
  const announced = Promise.all(items.map((each) => outputs.announce({ ...each, camera: info.devId })));
  await outputs.announce({ ...item(20), camera: info.devId });
  void outputs.announce({ ...item(21), camera: info.devId });
  const closing = outputs[Symbol.asyncDispose]();
  const late = outputs.announce({ ...item(22), camera: info.devId });
  await closing;
  await dropWaiting(runtime, info.devId);
  await Promise.all([announced, late]);
  const folder = outputsFolder(runtime, info.devId);
  expect(readdirSync(folder)).toEqual(['announced']);
  expect([19, 20, 22].map((at) => outputs.wasAnnounced(item(at).item))).toEqual([true, true, false]);
});

test('a broker over TLS that is not to be trusted is a problem of the camera until it is, and gets no password (B13)', async () => {
  using commandLine = new CommandLine();
  const clock = new VirtualClock();
  const password = 'pw-24681357';
  const passwordFile = commandLine.file('password');
  writeFileSync(passwordFile, password, { mode: 0o600 });
  const fixture = (name: string) =>
    readFileSync(new URL(`../../control/test/fixtures/loopback-${name}.pem`, import.meta.url), 'utf8');
  const sockets = new Set<Socket>();
  let received = '';
  const broker = createServer({ cert: fixture('cert'), key: fixture('key') }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      received += data.toString('latin1');
    });
    socket.write(Buffer.of(0x20, 2, 0, 0));
  });
  await new Promise<void>((resolve) => broker.listen(0, '127.0.0.1', resolve));
  const { port } = broker.address() as AddressInfo;
  const said: string[] = [];
  const log = createLog((record) => void said.push(JSON.stringify(record)));
  const runtime = { ...components, clock, log, random: new SeededRandom(1), configFolder: commandLine.file('config') };
  let changes = 0;
  const changed = () => {
    changes++;
  };
  const devices = new HeldDevices();
  const parts = { runtime, live: {}, catalog: {}, devices, name: 'feeder', timeZone: undefined, changed };
  const mqtt = { url: `mqtts://127.0.0.1:${port}`, user: 'me', passwordFile };
  const outputs = new HeldOutputs(parts as unknown as HeldOutputsComponents, { mqtt });
  await outputs.identify({ devId: 'C2:00:5E:00:53:0A' } as DeviceInfo);
  await expect
    .poll(() => outputs.receiverProblems)
    .toMatchObject([
      {
        code: 'output-failed',
        message: expect.stringMatching(/^feeder: .*mqtts:.* failed: .*self-signed certificate/),
      },
    ]);
  expect([outputs.problem, changes]).toEqual([undefined, 1]);
  expect(received).toBe('');
  const authorities = getCACertificates('default');
  setDefaultCACertificates([...authorities, fixture('cert')]);
  await expect.poll(() => outputs.receiverProblems, { timeout: 20_000 }).toEqual([]);
  await expect.poll(() => received).toContain(password);
  setDefaultCACertificates(authorities);
  expect(said.join()).not.toContain(password);
  const closing = outputs[Symbol.asyncDispose]();
  await clock.runUntil(closing);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => broker.close(resolve));
});

test('the second entry of a device has a problem and closed outputs, and drops nothing, until the device is free (B13)', async () => {
  using commandLine = new CommandLine();
  const clock = new VirtualClock();
  const said: string[] = [];
  const log = createLog(({ message }) => void said.push(message));
  const runtime = { ...components, clock, log, random: new SeededRandom(1), configFolder: commandLine.file('config') };
  const devices = new HeldDevices();
  const entry = (name: string) => {
    const parts = { runtime, live: {}, catalog: {}, devices, name, timeZone: undefined, changed: () => {} };
    return new HeldOutputs(parts as unknown as HeldOutputsComponents, { export: { folder: commandLine.file(name) } });
  };
  const [feeder, barn] = [entry('feeder'), entry('barn')];
  const info = { devId: 'C2:00:5E:00:53:0A' } as DeviceInfo;
  const folder = outputsFolder(runtime, info.devId);
  const waiting = () => readdirSync(folder).filter((name) => name !== 'announced');
  await feeder.identify(info);
  const [feeders] = waiting();
  await barn.identify(info);
  await barn.identify(info);
  expect([feeder.problem, barn.problem]).toEqual([
    undefined,
    {
      code: 'same-device',
      message:
        'feeder and barn are the same device (C2:00:5E:00:53:0A), and feeder had it first. Next: towpath camera remove barn (or feeder, to keep barn)',
      at: expect.any(String),
    },
  ]);
  expect(said.filter((text) => text.includes('same device'))).toHaveLength(1);
  await barn.forget();
  expect(waiting()).toEqual([feeders]);
  // A camera that turns out to be another one frees the device, as one that is removed.
  await feeder.identify({ devId: 'C2:00:5E:00:53:0B' } as DeviceInfo);
  await expect.poll(() => [barn.problem, waiting().length, waiting()[0] === feeders]).toEqual([undefined, 1, false]);
  expect(existsSync(outputsFolder(runtime, 'C2:00:5E:00:53:0B'))).toBe(true);
  await feeder.identify(info);
  expect(feeder.problem?.message).toContain('barn and feeder are the same device');
  await barn[Symbol.asyncDispose]();
  await barn.forget();
  devices.keepOnly(new Set(['feeder']));
  await expect.poll(() => [feeder.problem, waiting()]).toEqual([undefined, [feeders]]);
  await feeder[Symbol.asyncDispose]();
  expect(clock.pendingTimers).toBe(0);
});

test('the entry that had a device keeps it over a restart, also when another one is connected first (B13)', async () => {
  using commandLine = new CommandLine();
  const runtime = {
    ...components,
    clock: new VirtualClock(),
    log: silentLog,
    configFolder: commandLine.file('config'),
  };
  const info = { devId: 'C2:00:5E:00:53:0A' } as DeviceInfo;
  let stored: DeviceHolders | undefined;
  /** A daemon with both entries, whose cameras are connected in this order. */
  const run = async (order: readonly string[], names: readonly string[] = ['feeder', 'barn']) => {
    const onChanged = (holders: DeviceHolders) => {
      stored = holders;
    };
    const devices = new HeldDevices({ holders: stored, onChanged });
    devices.keepOnly(new Set(names));
    const problems: Record<string, string | undefined> = {};
    const entries = order.map((name) => {
      const parts = { runtime, live: {}, catalog: {}, devices, name, timeZone: undefined, changed: () => {} };
      const config = { export: { folder: commandLine.file(name) } };
      return { name, outputs: new HeldOutputs(parts as unknown as HeldOutputsComponents, config) };
    });
    for (const { name, outputs } of entries) {
      await outputs.identify(info);
      problems[name] = outputs.problem?.code;
    }
    for (const { outputs } of entries) await outputs[Symbol.asyncDispose]();
    return problems;
  };
  expect(await run(['feeder', 'barn'])).toEqual({ feeder: undefined, barn: 'same-device' });
  expect(await run(['barn', 'feeder'])).toEqual({ feeder: undefined, barn: 'same-device' });
  // One that was removed while no daemon ran keeps nothing.
  expect(await run(['barn'], ['barn'])).toEqual({ barn: undefined });
  expect(await run(['feeder', 'barn'])).toEqual({ feeder: 'same-device', barn: undefined });
});

test('outputs that another process has open are neither opened nor changed until it ends (B13)', async () => {
  using commandLine = new CommandLine();
  const clock = new VirtualClock();
  const runtime = {
    ...components,
    clock,
    log: silentLog,
    random: new SeededRandom(1),
    configFolder: commandLine.file('config'),
  };
  const info = { devId: 'C2:00:5E:00:53:0A' } as DeviceInfo;
  const folder = outputsFolder(runtime, info.devId);
  const other = lockOutputs(runtime, info.devId);
  mkdirSync(join(folder, 'webhook-0123456789abcdef'), { recursive: true });
  const parts = { runtime, live: {}, catalog: {}, devices: new HeldDevices(), name: 'feeder', timeZone: undefined };
  const config = { export: { folder: commandLine.file('copies') } };
  const outputs = new HeldOutputs({ ...parts, changed: () => {} } as unknown as HeldOutputsComponents, config);
  await outputs.identify(info);
  expect(outputs.problem).toMatchObject({
    code: 'already-running',
    message: expect.stringMatching(
      /^Another towpath process \(\d+\) hands on what the camera C2:00:5E:00:53:0A takes\. Next: /,
    ),
  });
  await outputs.forget();
  expect(readdirSync(folder)).toEqual(['webhook-0123456789abcdef']);
  other[Symbol.dispose]();
  await clock.advance(2_000);
  await expect.poll(() => outputs.problem).toBeUndefined();
  expect(readdirSync(folder)).toEqual([expect.stringMatching(/^export-/)]);
  expect(() => lockOutputs(runtime, info.devId)).toThrow('Another towpath process');
  await outputs[Symbol.asyncDispose]();
  lockOutputs(runtime, info.devId)[Symbol.dispose]();
  expect(clock.pendingTimers).toBe(0);
});

function item(mediaNum: number): Omit<PictureEvent, 'camera'> {
  const about = { fileType: 0, dirNum: 100, mediaNum, durationMs: 0, mediaId: mediaNum, mediaTime: 1_700_000_000 };
  return { item: about, takenAt: undefined, jpeg: undefined, file: `/nowhere/${mediaNum}.jpg` };
}
