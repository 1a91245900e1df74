import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { ControlClient, generateNodeIdentity, HttpTransport, MemoryStorage } from '@towpath/control';
import { formatEndpoint, type Network } from '@towpath/net';
import { StunClient, TurnAllocation } from '@towpath/stun';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { builtinRelay, builtinRelayPlan } from '../src/commands/serve/relays.ts';
import { takeProcessLock } from '../src/config/process-lock.ts';
import { components, CommandLine, type Running } from './command-line.ts';

const SERVE = ['serve', '--port', '0', '--stun-port', '0', '--open', '--json'];

describe('the built-in relay', () => {
  const at = (...addresses: string[]) => ({
    random: components.random,
    network: {
      ...components.network,
      interfaces: () =>
        addresses.map((address) => ({
          name: 'eth0',
          address,
          family: address.includes(':') ? (6 as const) : (4 as const),
          prefixLength: 24,
          internal: address.startsWith('127.'),
        })),
    } as unknown as Network,
  });
  const quotas = { partyAllocations: 9, partyBandwidth: 9, founderAllocations: 9, founderBandwidth: 9 };
  const options = { stunPort: 3478, stunTlsPort: 5349, relayPorts: '50000-50100', ...quotas };
  const listening = [
    { what: 'udp' as const, endpoints: [{ address: '0.0.0.0', port: 3478 }] },
    { what: 'tls' as const, endpoints: [{ address: '0.0.0.0', port: 5349 }] },
  ];

  test.each([
    [{ address: '0.0.0.0' }, [{ address: '10.0.0.5' }], 'turn:10.0.0.5:3478?transport=udp'],
    [
      { address: '0.0.0.0', publicAddress: '198.51.100.7' },
      [{ address: '10.0.0.5', announce: '198.51.100.7' }],
      'turn:198.51.100.7:3478?transport=udp',
    ],
    [
      { address: '0.0.0.0', publicAddress: '203.0.113.11' },
      [{ address: '203.0.113.11' }],
      'turn:203.0.113.11:3478?transport=udp',
    ],
    [
      { address: '10.0.0.5', publicName: 'relay.example.org' },
      [{ address: '10.0.0.5' }],
      'turn:relay.example.org:3478?transport=udp',
    ],
    [{ address: '::' }, [{ address: '2001:db8::5' }], 'turn:[2001:db8::5]:3478?transport=udp'],
  ])('with %j relays on an address of the machine and is named as the world reaches it', (more, relay, url) => {
    const machine = at('127.0.0.1', '169.254.1.1', 'fe80::1', '10.0.0.5', '203.0.113.11', '2001:db8::5');
    const plan = builtinRelayPlan(machine, { ...options, ...more }, ['secret'], undefined);
    expect(plan).toMatchObject({ relay, relayPorts: [50_000, 50_100], alternatePort: 3479 });
    const told = builtinRelay(plan, { ...options, ...more }, listening, 1.5);
    expect(told.urls).toEqual([
      url,
      url.replace('turn:', 'turns:').replace(':3478?transport=udp', ':5349?transport=tcp'),
    ]);
    expect([told.load, /^[A-Za-z0-9_-]{1,64}$/.test(told.id)]).toEqual([1, true]);
  });

  test('is refused on a machine that has only loopback, with the next step', () => {
    expect(() => builtinRelayPlan(at('127.0.0.1'), { ...options, address: '0.0.0.0' }, [], undefined)).toThrow(
      /no IPv4 address for the relay. Next: connect it to its network, or name an address/,
    );
  });
});

describe('serve', () => {
  let commandLine: CommandLine;
  beforeEach(() => {
    commandLine = new CommandLine();
  });
  afterEach(() => commandLine[Symbol.dispose]());

  const urlOf = async (running: Running) => `http://${formatEndpoint((await running.listening('control'))[0]!)}`;
  const clientOf = (server: string, init: { storage?: MemoryStorage; identity?: ReturnType<typeof identity> } = {}) =>
    ControlClient.open({
      ...components,
      transport: new HttpTransport(components, { servers: [server] }),
      identity: init.identity ?? identity(),
      live: false,
      ...(init.storage === undefined ? {} : { storage: init.storage }),
    });
  const identity = () => generateNodeIdentity(components.random);

  test('runs control plane, STUN and TURN without options; the relay accepts the credentials of members (C12)', async () => {
    const running = commandLine.start([...SERVE, '--metrics-port', '0']);
    const server = await urlOf(running);
    const [turn] = await running.listening('turn-udp');
    for (const path of ['health', 'ready']) expect((await fetch(`${server}/${path}`)).status).toBe(200);
    await using client = await clientOf(server);
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    const credentials = await client.turnCredentials();
    const where = formatEndpoint(turn!);
    expect(credentials.urls).toEqual([`turn:${where}?transport=udp`, `turn:${where}?transport=tcp`]);
    const allocation = await TurnAllocation.connect(components, {
      server: turn!,
      credentials: { username: credentials.username, password: credentials.credential },
      handlers: { onData: () => {}, onLost: () => {} },
    });
    expect(allocation.relayed[0]!.address).toBe('127.0.0.1');
    await using stun = await StunClient.open(components, { server: turn! });
    expect((await stun.binding()).mapped.address).toBe('127.0.0.1');

    const [metrics] = await running.listening('metrics');
    const page = await (await fetch(`http://${formatEndpoint(metrics!)}/metrics`)).text();
    expect(page).toMatch(/^towpath_turn_allocations 1$/m);
    expect(page).toMatch(/^towpath_control_statements_total 1$/m);
    expect(page).toContain('# TYPE towpath_turn_allocated_total counter');
    expect(page).toContain('# TYPE towpath_turn_allocations gauge');
    expect(page).toMatch(/^towpath_turn_quota_reached_party_total 0$/m);
    expect(page).toMatch(/^towpath_turn_limit_party_allocations 1024$/m);
    expect(page).toMatch(/^towpath_turn_limit_bytes_per_second_per_user \+Inf$/m);
    expect(page).toContain('# TYPE towpath_turn_limit_allocations gauge');
    expect(page).toMatch(/^towpath_control_limit\{limit="codesPerFounder"\} 256$/m);
    await allocation.close();
    expect(await running.stop()).toBe(130);
  });

  test('a removed member loses its relayed addresses at once, and parties have quotas (A3)', async () => {
    const running = commandLine.start([...SERVE, '--party-allocations', '2', '--metrics-port', '0']);
    const server = await urlOf(running);
    const [turn] = await running.listening('turn-udp');
    await using founder = await clientOf(server);
    const { id } = await founder.createParty({ name: 'camp', memberName: 'Ann' });
    await using member = await clientOf(server);
    await member.join(await founder.invite(id), { memberName: 'Ben' });
    const allocateFor = async (client: ControlClient) => {
      const { username, credential } = await client.turnCredentials();
      return TurnAllocation.connect(components, {
        server: turn!,
        credentials: { username, password: credential },
        handlers: { onData: () => {}, onLost: () => {} },
      });
    };
    const bens = await allocateFor(member);
    const anns = await allocateFor(founder);
    await expect(allocateFor(founder)).rejects.toMatchObject({ response: { code: 486 } });
    await founder.refresh(id);
    await founder.remove(id, member.party(id)!.self.id);
    // Its place is free before its client notices.
    const second = await allocateFor(founder);
    const [metrics] = await running.listening('metrics');
    const page = await (await fetch(`http://${formatEndpoint(metrics!)}/metrics`)).text();
    expect(page).toMatch(/^towpath_turn_quota_reached_party_total 1$/m);
    await Promise.all([anns.close(), second.close(), bens.close()]);
    await running.stop();
  });

  test('metrics are refused to web pages and under foreign names (A9)', async () => {
    const running = commandLine.start([...SERVE, '--metrics-port', '0', '--public-name', 'towpath.example.org']);
    const [metrics] = await running.listening('metrics');
    const status = (headers: Record<string, string>) =>
      new Promise<number>((resolve, reject) => {
        const { address, port } = metrics!;
        get({ host: address, port, path: '/metrics', headers }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        }).on('error', reject);
      });
    const accepted = ['127.0.0.1:9', 'localhost', '[::1]:9464', 'towpath.example.org:9464', 'prometheus-target'];
    for (const host of accepted) expect([host, await status({ host })]).toEqual([host, 200]);
    for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:80', 'a b', '[evil]']) {
      expect([host, await status({ host })]).toEqual([host, 403]);
    }
    expect(await status({ origin: 'http://127.0.0.1' })).toBe(403);
    expect(await status({ origin: 'null' })).toBe(403);
    await running.stop();
  });

  test('stores secrets for the owner only, and keeps all data over a restart (C12)', async () => {
    const init = { storage: new MemoryStorage(), identity: identity() };
    const first = commandLine.start(SERVE);
    {
      await using client = await clientOf(await urlOf(first), init);
      await client.createParty({ name: 'camp', memberName: 'Ann' });
    }
    await first.stop();
    const mode = (name: string) => statSync(commandLine.file(`config/serve${name}`)).mode & 0o777;
    expect([mode(''), mode('/control.db'), mode('/turn.secret')]).toEqual([0o700, 0o600, 0o600]);
    expect(existsSync(commandLine.file('config/serve/serve.lock'))).toBe(false);

    const again = commandLine.start(SERVE);
    await using client = await clientOf(await urlOf(again), init);
    const [party] = client.parties();
    const suspicions: string[] = [];
    client.events.on('suspicion', ({ message }) => suspicions.push(message));
    expect((await client.refresh(party!.id)).head).toEqual(party!.head);
    expect(suspicions).toEqual([]);
    await again.stop();
  });

  test('lists additional relays by region, all with one secret (A10)', async () => {
    writeFileSync(commandLine.file('secret'), 'a secret that is long enough\n', { mode: 0o600 });
    const urls = ['eu=turn:relay.example.org', 'turns:relay.example.org', 'us=turn:198.51.100.7:3479?transport=udp'];
    const running = commandLine.start([
      ...SERVE,
      '--no-builtin-relay',
      '--turn-secret-file',
      commandLine.file('secret'),
      '--relay',
      ...urls,
    ]);
    await using client = await ControlClient.open({
      ...components,
      transport: new HttpTransport(components, { servers: [await urlOf(running)] }),
      identity: identity(),
    });
    await client.ready();
    await expect
      .poll(() => client.relays())
      .toMatchObject([
        { id: '198-51-100-7', region: 'us', urls: ['turn:198.51.100.7:3479?transport=udp'] },
        { id: 'relay-example-org', region: 'eu', urls: ['turn:relay.example.org', 'turns:relay.example.org'] },
      ]);
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    expect((await client.turnCredentials()).urls).toHaveLength(3);
    await running.stop();
  });

  test('uses TLS with a certificate, for requests and for the relay (C12)', async () => {
    const fixture = (name: string) => fileURLToPath(new URL(`../../control/test/fixtures/${name}`, import.meta.url));
    writeFileSync(commandLine.file('key.pem'), readFileSync(fixture('loopback-key.pem')), { mode: 0o600 });
    const tls = [
      '--tls-cert',
      fixture('loopback-cert.pem'),
      '--tls-key',
      commandLine.file('key.pem'),
      '--stun-tls-port',
      '0',
    ];
    const running = commandLine.start([...SERVE, ...tls, '--public-name', 'localhost']);
    const [control] = await running.listening('control');
    await using client = await ControlClient.open({
      ...components,
      transport: new HttpTransport(components, {
        servers: [`https://${formatEndpoint(control!)}`],
        ca: readFileSync(fixture('loopback-cert.pem'), 'utf8'),
      }),
      identity: identity(),
    });
    await client.ready();
    const [secure] = await running.listening('turn-tls');
    await expect.poll(() => client.relays()[0]?.urls).toContain(`turns:localhost:${secure!.port}?transport=tcp`);
    await running.stop();
  });

  test('backs its database up while running; the copy has mode 0600 and overwrites nothing (C12)', async () => {
    const running = commandLine.start(SERVE);
    await using client = await clientOf(await urlOf(running));
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    const copy = commandLine.file('copy.db');
    const done = await commandLine.run(['serve', 'backup', copy, '--json']);
    expect([done.code, JSON.parse(done.out[0]!).file, statSync(copy).mode & 0o777]).toEqual([0, copy, 0o600]);
    expect(await commandLine.run(['serve', 'backup', copy])).toMatchObject({
      code: 2,
      err: expect.stringContaining('does not overwrite'),
    });
    await running.stop();

    mkdirSync(commandLine.file('other'), { mode: 0o700 });
    writeFileSync(commandLine.file('other/control.db'), readFileSync(copy), { mode: 0o600 });
    const restored = commandLine.start([...SERVE, '--data', commandLine.file('other')]);
    const party = client.parties()[0]!;
    expect(await (await fetch(`${await urlOf(restored)}/ready`)).json()).toEqual({ status: 'ready' });
    using database = new DatabaseSync(copy, { readOnly: true });
    expect(database.prepare('SELECT party, sequence FROM statements').all()).toEqual([
      { party: party.id, sequence: 0 },
    ]);
    await restored.stop();
    const nowhere = await commandLine.run([
      'serve',
      'backup',
      commandLine.file('x.db'),
      '--data',
      commandLine.file('none'),
    ]);
    expect([nowhere.code, nowhere.err]).toEqual([5, expect.stringContaining('--data')]);
  });

  test.each([
    ['json', (line: string) => JSON.parse(line) as { level: string; message: string; time: string }],
    ['text', (line: string) => ({ time: line.slice(0, 24), level: line.slice(25, 30).trim(), message: line })],
  ] as const)('logs in %s on standard error, dated', async (format, read) => {
    const running = commandLine.start([...SERVE, '--log', format, '--for', '0.1']);
    expect(await running.code).toBe(0);
    const lines = running.err.map(read);
    expect(lines.at(-1)!.message).toContain('shutting down');
    for (const { level, time } of lines) {
      expect(level).toBe('info');
      expect(Math.abs(Date.parse(time) - components.clock.wallTime())).toBeLessThan(60_000);
    }
  });

  test.each([
    [['--tls-cert', 'x.pem'], 2, 'both --tls-cert and --tls-key'],
    [['--log', 'xml'], 2, 'text or json'],
    [['--address', 'nonsense'], 2, 'an IP address'],
    [['--public-address', 'towpath.example.org'], 2, 'an IP address'],
    [['--metrics-address', 'nonsense', '--metrics-port', '0'], 2, 'an IP address'],
    [['--public-name', 'a b'], 2, 'a host name'],
    [['--nats', 'a b'], 2, 'not a NATS server'],
    [['--nats-replicas', '3'], 2, 'needs --nats'],
    [['--party-members', '0'], 2, 'whole number'],
    [['--founder-bandwidth', '-1'], 2, 'a number from'],
    [['--relay', 'http://relay'], 2, 'is not a relay'],
    [['--relay', 'turn:relay.example.org'], 2, '--turn-secret-file'],
    [['--nats', '127.0.0.1:1'], 5, 'is JetStream on'],
    [['--nats', '127.0.0.1:1', '--nats-replicas', '2'], 2, '1, 3 or 5'],
    [['--address', '192.0.2.99', '--no-builtin-relay'], 5, 'Next: choose another'],
    [['--address', '192.0.2.99'], 5, 'does not have that address'],
    [['--data', '/dev/null/none'], 5, 'none cannot be written'],
    [['--data', '/proc/none'], 5, 'none cannot be written'],
  ])('reports the error of %j', async (more, code, text) => {
    const { err, ...outcome } = await commandLine.run([
      'serve',
      '--port',
      '0',
      '--stun-port',
      '0',
      ...more,
      '--for',
      '1',
    ]);
    // A message is wrapped at the width of the terminal.
    expect([outcome.code, err.replaceAll('\n', ' ')]).toEqual([code, expect.stringContaining(text)]);
  });

  test('refuses a folder that another server uses, and takes over the lock of a process that has ended', async () => {
    mkdirSync(commandLine.file('data'), { mode: 0o700 });
    const args = [...SERVE, '--data', commandLine.file('data'), '--for', '0.1'];
    {
      using _lock = takeProcessLock(commandLine.file('data/serve.lock'), { what: 'is tested' });
      const refused = await commandLine.run(args);
      expect([refused.code, refused.err]).toEqual([5, expect.stringContaining(`(${process.pid}) serves from`)]);
    }
    writeFileSync(commandLine.file('data/serve.lock'), '99999999\n');
    expect((await commandLine.run(args)).code).toBe(0);
  });

  test('a port in use ends it with an error', async () => {
    const running = commandLine.start(SERVE);
    const [control] = await running.listening('control');
    const args = ['serve', '--port', String(control!.port), '--no-builtin-relay', '--data', commandLine.file('second')];
    expect(await commandLine.run(args)).toMatchObject({ code: 5, err: expect.stringContaining('EADDRINUSE') });
    await running.stop();
  });
});
