import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { SeededRandom, silentLog } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { discoverNat, StunClient, TurnAllocation } from '@towpath/stun';
import { DEFAULT_LIMITS } from '@towpath/stun/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listeningAddresses, type RelayPlan, stunPlaces } from '../src/commands/relay/plan.ts';
import { addMetrics, relayLimits } from '../src/commands/relay/relay-node.ts';
import { RelayWorkers } from '../src/commands/relay/workers.ts';
import { components, CommandLine } from './command-line.ts';
import { NO_QUOTAS } from './quotas.ts';

const HERE = '127.0.0.1';
const SERVE = ['relay', 'serve', '--port', '0', '--json', '--allow-peer', '127.0.0.0/8'];

interface Credentials {
  username: string;
  password: string;
}

/** An allocation that collects what comes. */
async function relayed(
  server: Endpoint,
  credentials: Credentials,
  options: { transport?: 'udp' | 'tcp' | 'tls'; ca?: string } = {},
): Promise<{ allocation: TurnAllocation; received: string[] }> {
  const received: string[] = [];
  const handlers = { onData: (data: Uint8Array) => void received.push(String(Buffer.from(data))), onLost: () => {} };
  const { transport = 'udp', ca } = options;
  const tls = ca === undefined ? undefined : { ca, serverName: 'relay.test' };
  return {
    allocation: await TurnAllocation.connect(components, { server, credentials, handlers, transport, tls }),
    received,
  };
}

/** False too for a process that has ended and that nobody has asked about yet. */
function isRunning(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
  } catch {
    // There is no such process any more.
    return false;
  }
}

/** Both send to each other's relayed address until both have heard the other. */
async function talk(a: Awaited<ReturnType<typeof relayed>>, b: Awaited<ReturnType<typeof relayed>>): Promise<void> {
  await Promise.all([a.allocation.permit([HERE]), b.allocation.permit([HERE])]);
  await expect
    .poll(
      () => {
        a.allocation.send(Buffer.from('from a'), b.allocation.relayed[0]!);
        b.allocation.send(Buffer.from('from b'), a.allocation.relayed[0]!);
        return [a.received[0], b.received[0]];
      },
      { interval: 20 },
    )
    .toEqual(['from b', 'from a']);
}

/** Real processes start here, which takes its time on a busy machine. */
const TIMEOUT_MS = 20_000;

describe('relay', { timeout: TIMEOUT_MS }, () => {
  let commandLine: CommandLine;
  beforeEach(() => {
    commandLine = new CommandLine();
  });
  afterEach(() => commandLine[Symbol.dispose]());

  const withSecret = () => ['--secret-file', commandLine.file('secret'), '--create-secret'];
  const credentials = async (user: string): Promise<Credentials> => {
    const { out } = await commandLine.run([
      'relay',
      'credentials',
      user,
      '--secret-file',
      commandLine.file('secret'),
      '--json',
    ]);
    return JSON.parse(out[0]!);
  };

  test('serves STUN, RFC 5780 tests and TURN on one port, over UDP and TCP (C3)', async () => {
    const running = commandLine.start([...SERVE, ...withSecret(), '--address', HERE, '127.0.0.2']);
    const [server, other] = await running.listening('udp');
    expect([server?.address, other]).toEqual([HERE, { address: '127.0.0.2', port: server?.port }]);
    expect(await running.listening('tcp')).toEqual([server, other]);
    const alternates = await running.listening('alternate');
    expect(alternates.map(({ address }) => address)).toEqual([HERE, '127.0.0.2']);
    await using alternate = await StunClient.open(components, { server: alternates[0]! });
    expect((await alternate.binding()).mapped.address).toBe(HERE);

    const nat = await discoverNat(components, { servers: [server!], localAddress: HERE });
    expect(nat).toMatchObject({ name: 'no NAT', servers: [{ canChange: true }] });

    const alice = await relayed(server!, await credentials('alice'));
    const bob = await relayed(server!, await credentials('bob'), { transport: 'tcp' });
    await talk(alice, bob);
    await alice.allocation.close();
    expect(await running.stop()).toBe(130);
    expect(running.err).toEqual([]);
    await bob.allocation.close();
  });

  test('says at start what it serves, to whom, where, within which limits, and who removes members (G)', async () => {
    const file = commandLine.file('secret');
    const here = ['relay', 'serve', '--port', '0', '--for', '0.2', '--data-plane', 'user'];
    const limits = ['--max-allocations', '100', '--user-allocations', '3', '--user-bandwidth', '500'];
    const { out, code } = await commandLine.run([...here, ...withSecret(), ...limits, '--relay-ports', '50000-50099']);
    expect([code, out.map((line) => line.replaceAll(/127.0.0.1:\d+/g, 'HERE'))]).toEqual([
      0,
      [
        `serves    STUN to everybody, TURN to whoever has credentials of ${file}`,
        'relays on 127.0.0.1, ports 50000-50099',
        'limits    100 allocations: 3 with 500 kB/s of one user, 1024 with 50 MB/s of one party, 2048 with 100 MB/s of one founder; 4096 connections, 256 of one address',
        'removals  not asked for: a removed member relays until its credentials expire. Next: add --control SERVER',
        'udp       listens on HERE',
        'tcp       listens on HERE',
        'data      through this process. Set by --data-plane user.',
      ],
    ]);
    const asking = await commandLine.run([...here, '--secret-file', file, '--control', HERE]);
    expect(asking.out).toContain('removals  asked of http://127.0.0.1:4100 every 5 s');
    const stun = await commandLine.run([...here, '--no-relay']);
    expect(stun.out[0]).toBe('serves    STUN only; 500 answers per second to one network');
    const told = await commandLine.run([...here, '--secret-file', file, '--json']);
    expect(JSON.parse(told.out[0]!)).toMatchObject({
      type: 'serving',
      turn: true,
      limits: { allocations: 4096, unauthenticatedPerSecondTotal: 2_000, bindingsPerSecondTotal: 20_000 },
      control: [],
    });
    const more = ['--source-requests', '5000', '--source-bindings', '30000', '--json'];
    const toOne = await commandLine.run([...here, '--secret-file', file, ...more]);
    expect(JSON.parse(toOne.out[0]!).limits).toMatchObject({
      unauthenticatedPerSecond: 5_000,
      unauthenticatedPerSecondTotal: 5_000,
      bindingsPerSecond: 30_000,
      bindingsPerSecondTotal: 30_000,
    });
  });

  test.skipIf(spawnSync('openssl', ['version']).error !== undefined)('serves TLS (needs openssl)', async () => {
    const [cert, key] = [commandLine.file('cert.pem'), commandLine.file('key.pem')];
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
        ...['-subj', '/CN=relay.test', '-addext', 'subjectAltName=DNS:relay.test', '-out', cert, '-keyout', key],
      ],
      { stdio: 'ignore' },
    );
    chmodSync(key, 0o600);
    const tls = ['--tls-cert', cert, '--tls-key', key, '--tls-port', '0', '--no-tcp'];
    const running = commandLine.start([...SERVE, ...withSecret(), ...tls]);
    const [server] = await running.listening('tls');
    const ca = readFileSync(cert, 'utf8');
    const one = await relayed(server!, await credentials('alice'), { transport: 'tls', ca });
    const two = await relayed(server!, await credentials('bob'), { transport: 'tls', ca });
    await talk(one, two);
    await Promise.all([one.allocation.close(), two.allocation.close()]);
    expect(running.out.some((line) => line.includes('"tcp"'))).toBe(false);
    await running.stop();
  });

  test('accepts a user with a fixed password; refuses a wrong password, and TURN with --no-relay', async () => {
    const args = [...SERVE, '--user', 'carol', '--user-allocations', '1'];
    const running = commandLine.start(args, { TOWPATH_RELAY_PASSWORD: 'correct horse' });
    const [server] = await running.listening('udp');
    const carol = { username: 'carol', password: 'correct horse' };
    const { allocation } = await relayed(server!, carol);
    await expect(relayed(server!, carol)).rejects.toMatchObject({ response: { code: 486 } });
    await expect(relayed(server!, { ...carol, password: 'guess' })).rejects.toMatchObject({
      code: 'stun-unauthenticated',
    });
    await allocation.close();
    await running.stop();

    const plain = commandLine.start([...SERVE, '--no-relay']);
    const [stun] = await plain.listening('udp');
    await using client = await StunClient.open(components, { server: stun! });
    expect((await client.binding()).mapped.address).toBe(HERE);
    await expect(relayed(stun!, carol)).rejects.toMatchObject({ code: 'stun-unauthenticated' });
    await plain.stop();
  });

  test('refuses private networks without --allow-peer', async () => {
    const running = commandLine.start([
      'relay',
      'serve',
      '--port',
      '0',
      '--json',
      ...withSecret(),
      '--allow-peer',
      '10.1.0.0/16',
      '--deny-peer',
      '10.1.2.3',
    ]);
    const [server] = await running.listening('udp');
    const { allocation } = await relayed(server!, await credentials('alice'));
    await allocation.permit(['10.1.0.1']);
    for (const peer of ['10.2.0.1', '10.1.2.3', '127.0.0.9', '169.254.1.1']) {
      await expect(allocation.permit([peer])).rejects.toMatchObject({ response: { code: 403 } });
    }
    await allocation.close();
    await running.stop();
  });

  test.each([
    ['--party-allocations', (at: number) => [at, 1, 1], (at: number) => [at, 2, 1]],
    ['--founder-allocations', (at: number) => [at, at, 1], (at: number) => [at, at, 2]],
  ] as const)('%s counts what the user names of a control server say (A3)', async (limit, same, another) => {
    const running = commandLine.start([...SERVE, ...withSecret(), limit, '2']);
    const [server] = await running.listening('udp');
    const idOf = (kind: number, number: number) => `${kind}${number}`.padStart(32, '0');
    const user = (ids: readonly number[]) => ids.map((number, kind) => idOf(kind, number)).join('.');
    const open = async (ids: readonly number[]) => relayed(server!, await credentials(user(ids)));
    const both = [await open(same(1)), await open(same(2))];
    await expect(open(same(3))).rejects.toMatchObject({ response: { code: 486 } });
    const others = await open(another(4));
    await Promise.all([...both, others].map(({ allocation }) => allocation.close()));
    await running.stop();
  });

  test('several processes share the port, and clients of different processes reach each other (C9)', async () => {
    const limits = ['--max-allocations', '700', '--user-allocations', '31', '--party-bandwidth', '9'];
    const running = commandLine.start([...SERVE, ...withSecret(), ...limits, '--workers', '2', '--metrics-port', '0']);
    const [server] = await running.listening('udp');
    const [metrics] = await running.listening('metrics');
    const login = await credentials('alice');
    const clients = await Promise.all(Array.from({ length: 12 }, () => relayed(server!, login)));
    // Ports are the kernel's choice, so of twelve clients some are at each process; every pair must talk.
    for (const client of clients.slice(1)) await talk(clients[0]!, client).then(() => clients[0]!.received.splice(0));
    const page = async () => (await fetch(`http://${HERE}:${metrics!.port}/metrics`)).text();
    await expect.poll(page, { interval: 200 }).toMatch(/^towpath_turn_allocations 12$/m);
    const text = await page();
    expect(text).toMatch(/^towpath_turn_workers 2$/m);
    // Those of the operator, and not the sum of what each process has.
    expect(text).toMatch(/^towpath_turn_limit_allocations 700$/m);
    expect(text).toMatch(/^towpath_turn_limit_plain_ports 700$/m);
    expect(text).toMatch(/^towpath_turn_limit_allocations_per_user 31$/m);
    expect(text).toMatch(/^towpath_turn_limit_party_bytes_per_second 9000$/m);
    expect(text).toMatch(/^towpath_turn_limit_founder_allocations 2048$/m);
    await Promise.all(clients.map(({ allocation }) => allocation.close()));
    expect(await running.stop()).toBe(130);
  });

  test('a worker that ends is restarted on the same port; the others continue', async () => {
    const plan: RelayPlan = {
      addresses: [HERE],
      port: 0,
      tcp: false,
      relay: [{ address: HERE }],
      relayPorts: [49_152, 65_535],
      realm: 'test',
      secrets: [],
      users: { alice: 'wonderland' },
      limits: {},
      quotas: NO_QUOTAS,
      allow: [],
      deny: [],
      nonceSecret: '00'.repeat(32),
      shared: true,
    };
    await using workers = await RelayWorkers.start({ ...components, log: silentLog, verbose: false }, plan, 2);
    const [server] = workers.listening[0]!.endpoints;
    const before = workers.pids;
    process.kill(before[0]!, 'SIGKILL');
    await expect.poll(() => workers.metrics.workerRestarts).toBe(1);
    await expect.poll(() => workers.metrics.allocations).toBe(0);
    expect(workers.pids[1]).toBe(before[1]);
    expect(workers.pids[0]).not.toBe(before[0]);
    for (let count = 0; count < 8; count++) {
      await using client = await StunClient.open(components, { server: server! });
      expect((await client.binding()).mapped.address).toBe(HERE);
    }
  });

  test.runIf(process.platform === 'linux')('no process stays behind when the first one is killed', async () => {
    const bin = new URL('../bin/towpath.js', import.meta.url).pathname;
    const args = ['relay', 'serve', '--no-relay', '--port', '0', '--workers', '2', '--json'];
    const first = spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let err = '';
    first.stderr.on('data', (chunk) => {
      err += chunk;
    });
    await once(first.stdout, 'data');
    const workers = readFileSync(`/proc/${first.pid}/task/${first.pid}/children`, 'utf8').trim().split(' ');
    expect(workers).toHaveLength(2);
    first.kill('SIGKILL');
    await expect.poll(() => workers.filter(isRunning)).toEqual([]);
    expect(err).toBe('');
  });

  test('reports a port in use in one line, with one process and with several', async () => {
    await using socket = await components.network.bindUdp({ address: HERE, onMessage() {} });
    for (const workers of ['1', '2']) {
      const args = ['relay', 'serve', '--no-relay', '--port', String(socket.local.port), '--workers', workers];
      const { code, err } = await commandLine.run(args);
      expect([code, err]).toEqual([5, expect.stringContaining('Another socket holds that port')]);
    }
  });
});

describe('secrets of a relay', () => {
  let commandLine: CommandLine;
  beforeEach(() => {
    commandLine = new CommandLine();
  });
  afterEach(() => commandLine[Symbol.dispose]());

  test('are created on first use with mode 0600, and kept', async () => {
    const file = commandLine.file('deep/secret');
    const args = ['relay', 'serve', '--port', '0', '--secret-file', file, '--create-secret', '--for', '0.1'];
    expect((await commandLine.run(args)).code).toBe(0);
    const secret = readFileSync(file, 'utf8');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(secret.trim().length).toBeGreaterThan(40);
    await commandLine.run(args);
    expect(readFileSync(file, 'utf8')).toBe(secret);
  });

  test('credentials contain their expiry and are refused after it', async () => {
    const file = commandLine.file('secret');
    writeFileSync(file, 'a secret of the present\na secret of the past\n', { mode: 0o600 });
    const args = ['relay', 'credentials', 'alice', '--secret-file', file];
    const earliest = Math.floor(Date.now() / 1_000) + 60;
    const { out } = await commandLine.run([...args, '--lifetime', '60', '--json']);
    const { username, expires } = JSON.parse(out[0]!);
    const seconds = Number(/^(\d+):alice$/.exec(username)?.[1]);
    expect(seconds).toBeGreaterThanOrEqual(earliest);
    expect(seconds - Date.now() / 1_000).toBeLessThanOrEqual(60);
    expect(Date.parse(expires)).toBe(seconds * 1_000);
    expect((await commandLine.run(args)).out.map((line) => line.split(/\s{2,}/)[0])).toEqual([
      'user name',
      'password',
      'expires',
    ]);
  });

  test.each([
    [['serve', '--port', '0'], 2, '--no-relay for STUN only'],
    [['serve', '--user', 'x'], 2, 'TOWPATH_RELAY_PASSWORD'],
    [['serve', '--create-secret', '--user', 'x'], 2, '--create-secret needs'],
    [
      ['serve', '--secret-file', '/does/not/exist'],
      5,
      'does not exist. Next: check the path, or make it: towpath relay',
    ],
    [['serve', '--no-relay', '--tls-cert', 'x'], 2, 'both --tls-cert and --tls-key'],
    [['serve', '--no-relay', '--address', 'localhost'], 2, 'is not an IP address'],
    [['serve', '--no-relay', '--address', '127.0.0.1', '127.0.0.2', '127.0.0.3'], 2, 'At most two'],
    [['serve', '--user', 'x', '--address', '0.0.0.0'], 2, '--relay-address'],
    [['serve', '--no-relay', '--realm', ''], 2, '--realm must have'],
    [['serve', '--user', 'x', '--public-address', 'relay.example.org'], 2, 'an IP address'],
    [['serve', '--no-relay', '--relay-ports', '9-8'], 2, 'is not a range of ports'],
    [['serve', '--no-relay', '--allow-peer', 'all'], 2, 'is not a network'],
    [['credentials', 'a:b', '--secret-file', 'x'], 2, 'without spaces and colons'],
  ])('reports the error of %j', async (args, code, text) => {
    const outcome = await commandLine.run(['relay', ...args]);
    // A message is wrapped at the width of the terminal.
    expect([outcome.code, outcome.err.replaceAll('\n', ' ')]).toEqual([code, expect.stringContaining(text)]);
  });

  test.each([
    ['a secret of fine length', 0o644, 'chmod 600'],
    ['short', 0o600, 'use a longer one'],
    ['\n', 0o600, 'is empty'],
  ])('a file with %j and mode %i is refused without printing its content', async (text, mode, expected) => {
    const file = commandLine.file('secret');
    writeFileSync(file, text);
    chmodSync(file, mode);
    const { code, err } = await commandLine.run(['relay', 'serve', '--port', '0', '--secret-file', file]);
    expect([code, err]).toEqual([2, expect.stringContaining(expected)]);
    expect(err).not.toContain('short');
  });
});

describe('the plan of a relay', () => {
  const places = (addresses: string[], alternatePort?: number) =>
    stunPlaces({ addresses: listeningAddresses(addresses), port: 3478, alternatePort });

  test.each([
    [['192.0.2.1'], undefined, [{ address: '192.0.2.1', port: 3478 }]],
    [['192.0.2.1'], 9000, [{ address: '192.0.2.1', port: 3478, alternate: { port: 9000 } }]],
    [
      ['192.0.2.1', '192.0.2.2', '2001:DB8::1'],
      undefined,
      [
        { address: '192.0.2.1', port: 3478, alternate: { address: '192.0.2.2', port: 3479 } },
        { address: '2001:db8::1', port: 3478 },
      ],
    ],
  ])('puts behaviour tests of %j, second port %s', (addresses, alternatePort, expected) => {
    expect(places(addresses, alternatePort)).toEqual(expected);
  });

  test('limits for the metrics are those that were given, and the defaults of all others', () => {
    const quotas = { party: { allocations: 7, bytesPerSecond: 8 }, founder: { allocations: 9, bytesPerSecond: 10 } };
    const { unauthenticatedPerSecondTotal, bindingsPerSecondTotal, ...rest } = DEFAULT_LIMITS;
    expect(relayLimits({ limits: { allocations: 6, connectionsPerAddress: 5 }, quotas })).toEqual({
      ...rest,
      allocations: 6,
      connectionsPerAddress: 5,
      allUnauthenticatedPerSecond: unauthenticatedPerSecondTotal,
      allBindingsPerSecond: bindingsPerSecondTotal,
      ...quotas,
    });
  });

  test('counters of several processes are added', () => {
    const random = new SeededRandom(1);
    const tree = () => ({ a: random.integer(0, 9), deep: { b: random.integer(0, 9) } });
    const [one, two] = [tree(), tree()];
    expect(addMetrics([one, two, {}])).toEqual({ a: one.a + two.a, deep: { b: one.deep.b + two.deep.b } });
  });
});
