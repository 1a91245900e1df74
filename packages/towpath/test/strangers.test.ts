import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { ControlClient, generateNodeIdentity, HttpTransport } from '@towpath/control';
import { SeededRandom } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import { TurnAllocation } from '@towpath/stun';
import { timeLimitedCredentials } from '@towpath/stun/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandLine, components } from './command-line.ts';

const PROGRAM = fileURLToPath(new URL('../bin/towpath.js', import.meta.url));
const HERE = '127.0.0.1';
const SECRET = 'a secret that is long enough';
const fixture = (name: string) => fileURLToPath(new URL(`../../control/test/fixtures/${name}`, import.meta.url));
const CA = readFileSync(fixture('loopback-cert.pem'), 'utf8');
const ROUNDS = 6;
const HELD = 300;
/** What a server may grow by while strangers hold connections, MiB. */
const GROWTH_MIB = 150;

const random = new SeededRandom(91);
const noise = (length: number) => Buffer.from(random.bytes(length));

/** The beginning of a TLS handshake: a record of 512 bytes with a ClientHello of 508. */
const HELLO = Buffer.concat([Buffer.from('160301020001', 'hex'), Buffer.from('0001fc0303', 'hex'), noise(507)]);

/** What a stranger sends, piece by piece. */
const GREETINGS: readonly (() => Buffer[])[] = [
  () => [],
  () => [noise(random.integer(1, 4_096))],
  () => [HELLO.subarray(0, random.integer(1, HELLO.length))],
  () => [HELLO, noise(900)],
  () => [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n')],
  () => [Buffer.from('GET /ready HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(400))],
  () => [Buffer.from(`GET / HTTP/1.1\r\nX: ${'x'.repeat(100_000)}`)],
  () => [Buffer.from('POST /parties HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n'), noise(65_536)],
  () => [Buffer.from('0001fffc2112a442', 'hex'), noise(12), noise(30_000)],
  () => [Buffer.from('00010000', 'hex'), ...Array.from({ length: 16 }, () => noise(1))],
  () => [Buffer.from('4000ffff', 'hex'), noise(70_000)],
];

describe('a server among strangers (T1)', { timeout: 120_000 }, () => {
  let commandLine: CommandLine;
  let child: ChildProcess;
  let err: string;
  let sockets: Set<Socket>;
  beforeEach(() => {
    commandLine = new CommandLine();
    for (const [file, content] of [
      ['key.pem', readFileSync(fixture('loopback-key.pem'))],
      ['secret', `${SECRET}\n`],
    ] as const) {
      writeFileSync(commandLine.file(file), content, { mode: 0o600 });
    }
    err = '';
    sockets = new Set();
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    commandLine[Symbol.dispose]();
  });

  /** Starts the program. @returns where it listens, by name, when `last` has been said */
  async function start(args: readonly string[], last: string): Promise<Map<string, Endpoint>> {
    const env = { ...process.env, TOWPATH_HOME: commandLine.file('config') };
    child = spawn(process.execPath, [PROGRAM, ...args, '--json'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stderr!.on('data', (data: Buffer) => {
      err += data.toString();
    });
    const found = new Map<string, Endpoint>();
    for await (const line of createInterface({ input: child.stdout! })) {
      const { what, endpoints } = JSON.parse(line) as { what?: string; endpoints?: Endpoint[] };
      if (what !== undefined && endpoints?.[0] !== undefined) found.set(what, endpoints[0]);
      if (what === last) break;
    }
    child.stdout!.resume();
    return found;
  }

  async function dial(at: Endpoint, secure: boolean): Promise<Socket> {
    const where = { host: at.address, port: at.port };
    const socket = secure ? connectTls({ ...where, rejectUnauthorized: false }) : connect(where);
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
    const opened = once(socket, secure ? 'secureConnect' : 'connect').catch(() => {});
    // A server that has enough of strangers closes at once, which may be a reset before the connection is known here.
    await Promise.race([opened, new Promise((resolve) => socket.once('close', resolve))]);
    return socket;
  }

  /** Greets a listener in every way, before and inside of TLS, then holds connections open in silence. */
  async function trouble(at: Endpoint, isTls: boolean): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      for (const greeting of GREETINGS) {
        for (const inside of isTls ? [false, true] : [false]) {
          const socket = await dial(at, inside);
          for (const piece of greeting()) socket.write(piece);
          if (round % 3 === 0) socket.end();
          else if (round % 3 === 1) socket.destroy();
        }
      }
    }
    await Promise.all(Array.from({ length: HELD }, () => dial(at, false)));
  }

  const residentMib = (pid: number = child.pid!) =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1_024;

  /** The processes that the program has started. */
  const workers = () =>
    readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ').map(Number);

  function expectUnharmed(beforeMib: number): void {
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
    expect(err).not.toMatch(/internal error|^\s+at /m);
    expect(err).not.toContain(SECRET);
    expect(residentMib() - beforeMib).toBeLessThan(GROWTH_MIB);
  }

  const tls = () => ['--tls-cert', fixture('loopback-cert.pem'), '--tls-key', commandLine.file('key.pem')];

  test('relay serve relays over TCP and TLS afterwards, and has not grown', async () => {
    const args = ['relay', 'serve', '--port', '0', '--tls-port', '0', '--secret-file', commandLine.file('secret')];
    const at = await start([...args, ...tls(), '--allow-peer', '127.0.0.0/8'], 'tls');
    const beforeMib = residentMib();
    await trouble(at.get('tcp')!, false);
    await trouble(at.get('tls')!, true);
    expectUnharmed(beforeMib);
    for (const socket of sockets) socket.destroy();
    const login = timeLimitedCredentials(SECRET, 'alice', 600_000, components.clock.wallTime());
    for (const transport of ['tcp', 'tls'] as const) {
      await using allocation = await TurnAllocation.connect(components, {
        server: at.get(transport)!,
        transport,
        tls: { ca: CA, serverName: HERE },
        credentials: login,
        handlers: { onData() {} },
      });
      expect(allocation.alive).toBe(true);
    }
    expectUnharmed(beforeMib);
  });

  test('relay serve with two processes keeps both, and new clients get in over UDP, TCP and TLS', async () => {
    const args = ['relay', 'serve', '--port', '0', '--tls-port', '0', '--secret-file', commandLine.file('secret')];
    const more = ['--workers', '2', '--metrics-port', '0', '--allow-peer', '127.0.0.0/8'];
    const at = await start([...args, ...tls(), ...more], 'metrics');
    const pids = workers();
    expect(pids).toHaveLength(2);
    const parentMib = residentMib();
    const beforeMib = pids.map((pid) => residentMib(pid));
    // Of 600 ports some lead to each process.
    for (let count = 0; count < 600; count++) {
      const socket = createSocket('udp4');
      const greeting = Buffer.concat(GREETINGS[count % GREETINGS.length]!()).subarray(0, 9_000);
      await new Promise<void>((resolve) => {
        socket.send(greeting, at.get('udp')!.port, HERE, () => socket.close(() => resolve()));
      });
    }
    await trouble(at.get('tcp')!, false);
    await trouble(at.get('tls')!, true);
    // While the silent connections are still there.
    const login = timeLimitedCredentials(SECRET, 'alice', 600_000, components.clock.wallTime());
    const connect = (transport: 'udp' | 'tcp' | 'tls') =>
      TurnAllocation.connect(components, {
        server: at.get(transport)!,
        transport,
        tls: { ca: CA, serverName: HERE },
        credentials: login,
        handlers: { onData() {} },
      });
    const clients = await Promise.all(
      (['udp', 'tcp', 'tls'] as const).flatMap((transport) => Array.from({ length: 8 }, () => connect(transport))),
    );
    const page = async () => (await fetch(`http://${formatEndpoint(at.get('metrics')!)}/metrics`)).text();
    await expect.poll(page, { interval: 200 }).toMatch(/^towpath_turn_allocations 24$/m);
    expect(await page()).toMatch(/^towpath_turn_workers 2$/m);
    expect(await page()).toMatch(/^towpath_turn_worker_restarts_total 0$/m);
    expect(workers()).toEqual(pids);
    for (const [index, pid] of pids.entries()) expect(residentMib(pid) - beforeMib[index]!).toBeLessThan(GROWTH_MIB);
    await Promise.all(clients.map((client) => client.close()));
    expectUnharmed(parentMib);
  });

  test('serve creates a party over HTTPS afterwards, and has not grown', async () => {
    const args = ['serve', '--address', HERE, '--port', '0', '--stun-port', '0', '--stun-tls-port', '0', '--open'];
    const at = await start([...args, ...tls(), '--public-name', 'localhost'], 'turn-tls');
    const beforeMib = residentMib();
    await trouble(at.get('control')!, true);
    await trouble(at.get('turn-tls')!, true);
    expectUnharmed(beforeMib);
    for (const socket of sockets) socket.destroy();
    const servers = [`https://${formatEndpoint(at.get('control')!)}`];
    await using client = await ControlClient.open({
      ...components,
      transport: new HttpTransport(components, { servers, ca: CA }),
      identity: generateNodeIdentity(components.random),
    });
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    expect(client.parties()).toHaveLength(1);
    expectUnharmed(beforeMib);
  });
});
