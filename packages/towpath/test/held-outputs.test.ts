import { writeFileSync } from 'node:fs';
import type { DeviceInfo } from '@towpath/camera';
import { SeededRandom, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { HeldOutputs, type HeldOutputsComponents } from '../src/daemon/cameras/held-outputs.ts';
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
  const parts = { runtime, live: {}, catalog: {}, name: 'feeder', timeZone: undefined, changed };
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
