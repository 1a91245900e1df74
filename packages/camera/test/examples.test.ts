import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { SeededRandom, SystemClock } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { describe, expect, test } from 'vitest';

const folder = fileURLToPath(new URL('../../../examples/', import.meta.url));

async function runExample(name: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [`${folder}${name}`, ...args], {
    timeout: 60_000,
  });
  expect(stderr).toBe('');
  return stdout;
}

/** Runs a program that is expected to fail. */
async function failing(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  const run = promisify(execFile)(process.execPath, args, { timeout: 100_000 });
  return run.then(
    ({ stderr }) => ({ code: 0, stderr }),
    ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
  );
}

/** Loaded first: no socket can be bound. */
const NO_NETWORK = `data:text/javascript,${encodeURIComponent(`
  import { Socket } from 'node:dgram';
  Socket.prototype.bind = function () {
    const error = Object.assign(new Error('bind ENETUNREACH'), { code: 'ENETUNREACH', syscall: 'bind' });
    queueMicrotask(() => this.emit('error', error));
    return this;
  };
`)}`;

function everyExample(): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('support'))
    .sort();
}

/** Each example with what it prints. */
const EXAMPLES: readonly (readonly [name: string, prints: RegExp])[] = [
  ['connect-camera.ts', /^KJK230, battery \d+ %\nstate: CONNECTED\nstate: CLOSED\nclosed\n$/],
  [
    'parallel/quick-start.ts',
    /\[INFO\] \[CONNECT\] Starting parallel connection attempt[\s\S]*✓ Connected via (p2p|lan)/,
  ],
  ['parallel/default-settings.ts', /^Connected in \d\.\d\ds via (p2p|lan)ConnectThread\n$/],
  ['parallel/port-list.ts', /^Connected to port 40611\n$/],
  ['parallel/one-kind.ts', /^Connected via p2pConnectThread\nLAN thread: not_started\n$/],
  ['parallel/diagnostics.ts', /✓ SUCCESS[\s\S]*State: success[\s\S]*relayConnectThread:\n {2}State: not_started/],
  ['parallel/with-camera-client.ts', /Connected via [\s\S]*Logged in to KJK230 from port \d+/],
  [
    'parallel/debug-logging.ts',
    /\[DEBUG\] \[CONNECT\] Started thread: p2pConnectThread[\s\S]*\[P2P\] Attempt 1: local_port=/,
  ],
  ['parallel/in-background.ts', /Connected from port \d+\nConnected from port \d+\n$/],
  ['parallel/best-practices.ts', /^local: connected in [\s\S]*internet: connected in [\s\S]*debugging: connected in /],
  ['parallel/relay-server.ts', /^Connected via relayConnectThread, relay port \d+\n$/],
  ['parallel/adaptive-timeout.ts', /Round 3: [\s\S]*(p2p|lan): [1-3]\n/],
  ['parallel/mode-weights.ts', /^Connected via (p2p|lan)ConnectThread\n$/],
  ['parallel/own-sockets.ts', /local port \d+\n[\s\S]*Every running thread had its own port\n$/],
  ['parallel/checks.ts', /✓ testFirstWinPattern\n[\s\S]*✓ testWithRealCamera\n$/],
  [
    'session/heartbeat.ts',
    /^Heartbeats: 1, last sequence number 65537\nHeartbeat running: false, camera connected: true\n$/,
  ],
  ['session/heartbeat-timing.ts', /^Intervals: \d\.\d+ s\n/],
  ['session/command-numbers.ts', /^Port that is tried first: 40611\nHeartbeat: 53 bytes, f1d0/],
  ['session/device-commands.ts', /5 items on the card\nLive video started and stopped\nCommand 512: 0\n$/],
  ['session/lan-connect-time.ts', /[1-5] of 5 in less than 1 s\n$/],
  ['session/reconnect.ts', /Lost: [\s\S]*Reconnected after [\s\S]*The heartbeat continues: true\n$/],
  ['session/port-fallback.ts', /^Tried in this order: 40611, 32100[\s\S]*Connected to port 32100\n$/],
  ['reconnect/same-port.ts', /PORT REUSE TEST PASSED\n$/],
  ['reconnect/discover-device.ts', /as before: true\n/],
  [
    'reconnect/settings.ts',
    /At most 5 attempts in 90 s\n[\s\S]*Connected: false\nState: DISCONNECTED\n192\.0\.2\.1 was not reached/,
  ],
];

describe.concurrent('examples', { timeout: 120_000 }, () => {
  test.each(EXAMPLES)('%s runs as it is (D6)', async (name, prints) => {
    expect(await runExample(name)).toMatch(prints);
  });

  test('an example uses the camera whose address is given (D6)', async () => {
    const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SeededRandom(1) };
    const address = '127.94.0.7';
    await using camera = new CameraEmulator(components, { address, searchPort: false, pictures: paddedPictures() });
    await camera.start();
    expect(await runExample('parallel/default-settings.ts', address)).toContain('Connected in');
    expect(camera.counters.sessions).toBe(1);
  });

  test.each(
    EXAMPLES.map(([name]) => name).filter((name) => name.startsWith('parallel/') && !/checks|relay-server/.test(name)),
  )('%s ends with exit code 3 and one line on standard error when nothing is at the address (D6)', async (name) => {
    const { code, stderr } = await failing(['--import', NO_NETWORK, `${folder}${name}`, '127.94.0.9']);
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^[^\n]+\n$/)]);
  });

  test('connect-camera.ts takes a port (D6)', async () => {
    const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SeededRandom(1) };
    const place = { address: '127.94.0.8', listenPort: 0, searchPort: false } as const;
    await using camera = new CameraEmulator(components, { ...place, pictures: paddedPictures() });
    await camera.start();
    const printed = await runExample('connect-camera.ts', place.address, String(camera.listen.port));
    expect(printed).toMatch(/^KJK230, battery/);
    const wrong = await failing([`${folder}connect-camera.ts`, place.address, 'http']);
    expect(wrong).toEqual({ code: 2, stderr: 'PORT is a number from 1 to 65535.\n' });
  });

  test.each(everyExample())('%s with wrong arguments says so in one line, with exit code 2 (G4)', async (name) => {
    for (const args of [['--no-such-option'], ['a', 'b', 'c']]) {
      const { code, stderr } = await failing([`${folder}${name}`, ...args]);
      expect([code, stderr]).toEqual([2, expect.stringMatching(/^Expected [^\n]+\.\n$/)]);
    }
  });

  test.each(everyExample())('%s without a network ends in one line, or needs none (G3)', async (name) => {
    const { code, stderr } = await failing(['--import', NO_NETWORK, `${folder}${name}`]);
    if (code === 0) expect(stderr).toBe('');
    else expect([code, stderr]).toEqual([expect.any(Number), expect.stringMatching(/^[^\n]+\n$/)]);
    expect(stderr).not.toMatch(/\bat .*:\d+:\d+|\[object/);
  });

  test('the README and this test name every example (D6)', () => {
    const found = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.startsWith('support') && !name.startsWith('peers'))
      .sort();
    expect(EXAMPLES.map(([name]) => name).sort()).toEqual(found);
    const readme = readFileSync(`${folder}README.md`, 'utf8');
    expect(found.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
  });
});
