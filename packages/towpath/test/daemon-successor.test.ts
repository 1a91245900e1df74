import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { MeshError } from '@towpath/mesh';
import { expect, test } from 'vitest';
import type { Runtime } from '../src/cli/runtime.ts';
import { replaceRunning } from '../src/commands/daemon/replace.ts';
import type { MeshNodeOptions } from '../src/commands/mesh/mesh-node.ts';
import { homeOf } from '../src/commands/party/party-node.ts';
import { CONNECTED, takeProcessLock } from '../src/config/process-lock.ts';
import { apiSocketPath } from '../src/daemon/api/socket-path.ts';
import { loadConfig } from '../src/daemon/config/config-file.ts';
import { Daemon } from '../src/daemon/daemon.ts';
import { StateFolder } from '../src/daemon/state/state-folder.ts';
import { components, CommandLine } from './command-line.ts';
import { testIo } from './test-io.ts';

const OPTIONS: MeshNodeOptions = {
  splice: true,
  names: false,
  lan: false,
  offers: [],
  accept: [],
  policy: 'auto',
  redundancy: 1,
  network: '10.66.0.0/16',
  networkHere: '10.66.0.0/16',
  otherNetworks: [],
  domain: undefined,
  port: 0,
  mtuBytes: 1_420,
  birthday: true,
  portMapping: true,
  backend: 'auto',
  relay: undefined,
};

function runtimeOf(commandLine: CommandLine, clock: VirtualClock): Runtime {
  const { signal } = new AbortController();
  return { ...components, clock, io: testIo({}), log: silentLog, signal, configFolder: commandLine.file('config') };
}

/** A daemon of one party, whose interface cannot be made. */
function daemonThatFails(commandLine: CommandLine, clock: VirtualClock, isSuccessor: boolean) {
  const runtime = runtimeOf(commandLine, clock);
  const state = StateFolder.open(runtime.configFolder, { nowMs: clock.wallTime() });
  const tries: number[] = [];
  const open = async () => {
    tries.push(clock.now());
    throw new MeshError('wireguard-failed', 'wireguard-go ended while it started (no memory).');
  };
  const party = { id: 'party'.padEnd(52, 'a'), name: 'camp', servers: { addresses: ['203.0.113.10'] } };
  const parties = [{ party, options: OPTIONS, open }];
  const config = loadConfig(runtime);
  return { daemon: new Daemon(runtime, { config, state, parties, given: {}, isSuccessor }), tries };
}

test('a daemon that another has ended for tries its party again, and one that has not ends', async () => {
  using commandLine = new CommandLine();
  const clock = new VirtualClock();
  const first = daemonThatFails(commandLine, clock, false);
  await expect(clock.runUntil(first.daemon.start())).rejects.toMatchObject({ code: 'wireguard-failed' });
  await first.daemon[Symbol.asyncDispose]();

  const { daemon, tries } = daemonThatFails(commandLine, clock, true);
  await clock.runUntil(daemon.start());
  expect(tries).toHaveLength(1);
  expect(daemon.problems()).toMatchObject([{ code: 'wireguard-failed' }]);
  await clock.advance(60_000);
  expect(tries.length).toBeGreaterThan(3);
  await daemon[Symbol.asyncDispose]();
});

test('a running daemon is asked nothing when the rehearsal fails', async () => {
  using commandLine = new CommandLine();
  const runtime = runtimeOf(commandLine, new VirtualClock());
  mkdirSync(runtime.configFolder);
  using _lock = takeProcessLock(homeOf(runtime).lockPath, CONNECTED);
  let asked = 0;
  const server = createServer(() => asked++);
  await new Promise<void>((resolve) => {
    server.listen(apiSocketPath(runtime.configFolder), resolve);
  });
  const rehearse = () => Promise.reject(new MeshError('permission-denied', 'Not root.'));
  await expect(replaceRunning(runtime, rehearse)).rejects.toMatchObject({ code: 'permission-denied' });
  expect(asked).toBe(0);
  server.close();
});
