import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SystemClock, SystemRandom } from '@towpath/core';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { discoverNat, StunClient, type TransportProtocol, TurnAllocation } from '@towpath/stun';
import { StunServer, timeLimitedCredentials, TurnServer } from '@towpath/stun/server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../packages/net/test/free-port.ts';

const run = promisify(execFile);

const HERE = '127.0.0.1';
const ALICE = { username: 'alice', password: 'secret' };
const SECRET = 'north';
const CLIENTS = 100;

function has(tool: string): boolean {
  try {
    execFileSync('which', [tool]);
    return true;
  } catch {
    return false; // `which` says by its exit code that there is none
  }
}

const missing = ['turnserver', 'turnutils_uclient', 'openssl'].filter((tool) => !has(tool));
// In CI a missing tool is a failure, which the tests themselves then are.
const skip = missing.length > 0 && process.env.CI !== 'true';
const title = skip ? `coturn (skipped: ${missing.join(', ')} not installed)` : 'coturn';

const clock = new SystemClock();
const components = { network: new NodeNetwork(), clock, random: new SystemRandom() };

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill();
  await gone;
}

describe.skipIf(skip)(title, () => {
  let folder: string;
  let tls: { cert: string; key: string };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-turn-'));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', ...subject],
      { stdio: 'ignore' },
    );
    tls = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  describe('its tools against our server', () => {
    let server: TurnServer;
    let echo: ChildProcess;
    let echoPort: number;

    beforeAll(async () => {
      server = await TurnServer.listen(components, {
        realm: 'example.org',
        listeners: [
          { address: HERE, port: 0 },
          { transport: 'tcp', address: HERE, port: 0 },
          { transport: 'tls', address: HERE, port: 0, tls },
        ],
        relay: [{ address: HERE }, { address: '::1' }],
        credentials: { users: { [ALICE.username]: ALICE.password }, secrets: [SECRET] },
        peers: { allowScopes: ['loopback'], allowOwn: true },
        // Every client has the same address.
        limits: {
          allocationsPerUser: 1_000,
          requestsPerSecondPerUser: 10_000,
          unauthenticatedPerSecond: 10_000,
          unauthenticatedPerSecondTotal: 10_000,
          bindingsPerSecond: 10_000,
          connectionsPerAddress: 4_096,
        },
      });
      echoPort = await freePort();
      echo = spawn('turnutils_peer', ['-L', HERE, '-p', String(echoPort)], { stdio: 'ignore' });
      await clock.sleep(300);
    });

    afterAll(async () => {
      await stop(echo);
      await server.close();
    });

    /** Runs turnutils_uclient and returns how many messages it sent and got back. */
    async function uclient(
      transport: TransportProtocol,
      options: readonly string[],
      credentials = ['-u', ALICE.username, '-w', ALICE.password],
    ) {
      const port = server.locals[{ udp: 0, tcp: 1, tls: 2 }[transport]]!.port;
      const flags = { udp: [], tcp: ['-t'], tls: ['-t', '-S'] }[transport];
      const peer = ['-e', HERE, '-r', String(echoPort)];
      const { stdout } = await run('turnutils_uclient', [
        ...credentials,
        ...peer,
        '-p',
        String(port),
        ...flags,
        ...options,
        HERE,
      ]);
      const totals = /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)\n/.exec(stdout);
      return { sent: Number(totals?.[1]), received: Number(totals?.[2]) };
    }

    test.concurrent.each([
      ['udp', 'channels', []],
      ['udp', 'send indications', ['-s']],
      ['tcp', 'channels', []],
      ['tcp', 'send indications', ['-s']],
      ['tls', 'channels', []],
      ['tls', 'send indications', ['-s']],
    ] as const)('a hundred clients over %s with %s lose next to nothing (C3)', async (transport, _what, options) => {
      const { sent, received } = await uclient(transport, ['-m', String(CLIENTS), '-n', '10', '-c', ...options]);
      expect(sent).toBe(10 * CLIENTS);
      expect(received).toBeGreaterThanOrEqual(0.95 * sent);
    });

    test.concurrent.each([
      ['client to client', ['-y', '-m', '4', '-n', '20']],
      ['even ports and reservations', ['-m', '4', '-n', '20']],
      ['an IPv4 address asked for by name', ['-X', '-m', '4', '-n', '20', '-c']],
      ['padded channel data', ['-D', '-m', '4', '-n', '20', '-c']],
      ['many requests besides the data', ['-G', '-m', '4', '-n', '20', '-c']],
    ])('%s', async (_what, options) => {
      const { sent, received } = await uclient('udp', options);
      expect(sent).toBeGreaterThan(0);
      expect(received).toBe(sent);
    });

    test.concurrent('TCP relaying between clients (RFC 6062)', async () => {
      const port = String(server.locals[1]!.port);
      const user = ['-u', ALICE.username, '-w', ALICE.password];
      const { stdout } = await run('turnutils_uclient', [...user, '-T', '-p', port, '-m', '4', '-n', '20', HERE]);
      expect(stdout).toContain('tot_send_msgs=80, tot_recv_msgs=80');
    });

    test.concurrent('time-limited credentials of a shared secret', async () => {
      const { sent, received } = await uclient('udp', ['-m', '2', '-n', '10', '-c'], ['-W', SECRET, '-u', 'carol']);
      expect([sent, received]).toEqual([20, 20]);
    });

    test('a wrong password is refused', async () => {
      const refused = uclient('udp', ['-m', '1', '-n', '1', '-c'], ['-u', ALICE.username, '-w', 'guess']);
      await expect(refused).rejects.toMatchObject({ code: expect.any(Number) });
    });

    test('turnutils_stunclient learns its address', async () => {
      const { stdout } = await run('turnutils_stunclient', ['-p', String(server.locals[0]!.port), HERE]);
      expect(stdout).toMatch(/UDP reflexive addr: 127\.0\.0\.1:\d+/);
    });

    test('turnutils_natdiscovery and ours agree on a host without a NAT', async () => {
      const port = await freePort();
      await using stun = await StunServer.listen(components, {
        address: HERE,
        port,
        alternate: { address: '127.0.0.2', port: port + 1 },
      });
      const { stdout } = await run('turnutils_natdiscovery', ['-m', '-f', '-L', HERE, '-p', String(port), HERE]);
      expect(stdout).toContain('No NAT! (Endpoint Independent Mapping)');
      expect(stdout).toContain('NAT with Endpoint Independent Filtering!');
      const ours = await discoverNat(components, { servers: [stun.local], localAddress: HERE });
      expect(ours).toMatchObject({ mapping: 'none', filtering: 'endpoint-independent', name: 'no NAT' });
      expect(ours.elapsedMs).toBeLessThan(3_000);
    });
  });

  describe('our client against turnserver', () => {
    let turnserver: ChildProcess;
    let ports: { plain: number; tls: number };

    beforeAll(async () => {
      ports = { plain: await freePort(), tls: await freePort() };
      const configuration = join(folder, 'turnserver.conf');
      const lines = [
        `listening-ip=${HERE}`,
        `relay-ip=${HERE}`,
        `listening-port=${ports.plain}`,
        `tls-listening-port=${ports.tls}`,
        `cert=${join(folder, 'cert.pem')}`,
        `pkey=${join(folder, 'key.pem')}`,
        'realm=example.org',
        'use-auth-secret',
        `static-auth-secret=${SECRET}`,
        'stale-nonce=1',
        'allow-loopback-peers',
        'no-cli',
        'log-file=stdout',
        `pidfile=${join(folder, 'turnserver.pid')}`,
        `userdb=${join(folder, 'turndb')}`,
      ];
      writeFileSync(configuration, `${lines.join('\n')}\n`);
      turnserver = spawn('turnserver', ['-c', configuration], { stdio: 'ignore' });
      await clock.sleep(1_500);
    });

    afterAll(() => stop(turnserver));

    const server = (transport: TransportProtocol): Endpoint => ({
      address: HERE,
      port: transport === 'tls' ? ports.tls : ports.plain,
    });
    const carrier = (transport: TransportProtocol) => ({ transport, tls: { insecure: true } });
    const credentials = () => timeLimitedCredentials(SECRET, 'alice', 60_000, clock.wallTime());

    test.each(['udp', 'tcp', 'tls'] as const)('learns its address over %s', async (transport) => {
      await using client = await StunClient.open(components, { server: server(transport), ...carrier(transport) });
      expect((await client.binding()).mapped.port).toBe(client.local.port);
    });

    test.each(['udp', 'tcp', 'tls'] as const)('relays both ways over %s, across a stale nonce', async (transport) => {
      const [received, heard]: [string[], string[]] = [[], []];
      await using allocation = await TurnAllocation.connect(components, {
        server: server(transport),
        ...carrier(transport),
        credentials: credentials(),
        handlers: { onData: (data) => received.push(Buffer.from(data).toString()) },
      });
      await using peer = await components.network.bindUdp({
        address: HERE,
        onMessage(data, from) {
          heard.push(Buffer.from(data).toString());
          peer.send(Buffer.from(`echo ${Buffer.from(data)}`), from);
        },
      });
      await allocation.permit([HERE]);
      allocation.send(Buffer.from('indication'), peer.local);
      await clock.sleep(2_500);
      await allocation.bindChannel(peer.local);
      allocation.send(Buffer.from('channel'), peer.local);
      await clock.sleep(300);
      expect(heard).toEqual(['indication', 'channel']);
      expect(received).toEqual(['echo indication', 'echo channel']);
    });

    test('connects to a TCP peer through it (RFC 6062)', async () => {
      await using listener = await components.network.listenTcp({
        address: HERE,
        onConnection: (connection) => ({ onData: (data) => connection.write(data) }),
      });
      await using allocation = await TurnAllocation.connect(components, {
        server: server('tcp'),
        transport: 'tcp',
        peerTransport: 'tcp',
        credentials: credentials(),
        handlers: { onData() {} },
      });
      let text = '';
      await using connection = await allocation.connectTcp(listener.local, {
        onData: (data) => {
          text += Buffer.from(data).toString();
        },
      });
      connection.write(Buffer.from('over TCP'));
      await clock.sleep(300);
      expect(text).toBe('over TCP');
    });

    test('is refused with credentials of another secret', async () => {
      const forged = timeLimitedCredentials('south', 'alice', 60_000, clock.wallTime());
      const refused = TurnAllocation.connect(components, {
        server: server('udp'),
        credentials: forged,
        handlers: { onData() {} },
      });
      await expect(refused).rejects.toMatchObject({ code: 'stun-unauthenticated' });
    });
  });
});
