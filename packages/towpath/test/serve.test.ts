import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { ControlClient, generateNodeIdentity, HttpTransport, MemoryStorage } from '@towpath/control';
import { formatEndpoint, type Network } from '@towpath/net';
import { allocate, StunClient } from '@towpath/stun';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { builtinRelay, builtinRelayPlan } from '../src/commands/serve/relays.ts';
import { components, Desk, type Running } from './command-line.ts';

const SERVE = ['serve', '--port', '0', '--stun-port', '0', '--json'];

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
  const options = { stunPort: 3478, stunTlsPort: 5349, relayPorts: '50000-50100' };
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
      { address: '10.0.0.5', publicName: 'relay.example.org' },
      [{ address: '10.0.0.5' }],
      'turn:relay.example.org:3478?transport=udp',
    ],
    [{ address: '::' }, [{ address: '2001:db8::5' }], 'turn:[2001:db8::5]:3478?transport=udp'],
  ])('with %j relays on an address of the machine and is named as the world reaches it', (more, relay, url) => {
    const machine = at('127.0.0.1', '169.254.1.1', 'fe80::1', '10.0.0.5', '2001:db8::5');
    const plan = builtinRelayPlan(machine, { ...options, ...more }, ['secret'], undefined);
    expect(plan).toMatchObject({ relay, relayPorts: [50_000, 50_100], alternatePort: 3479 });
    const told = builtinRelay(plan, { ...options, ...more }, listening, 1.5);
    expect(told.urls).toEqual([
      url,
      url.replace('turn:', 'turns:').replace(':3478?transport=udp', ':5349?transport=tcp'),
    ]);
    expect([told.load, /^[A-Za-z0-9_-]{1,64}$/.test(told.id)]).toEqual([1, true]);
  });

  test('is refused, with the way out, on a machine that has only loopback', () => {
    expect(() => builtinRelayPlan(at('127.0.0.1'), { ...options, address: '0.0.0.0' }, [], undefined)).toThrow(
      /no IPv4 address to relay on: name one by --address/,
    );
  });
});

describe('serve', () => {
  let desk: Desk;
  beforeEach(() => {
    desk = new Desk();
  });
  afterEach(() => desk[Symbol.dispose]());

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

  test('needs nothing: control plane, STUN and TURN run, and members get credentials that the relay takes (C12)', async () => {
    const running = desk.start([...SERVE, '--metrics-port', '0']);
    const server = await urlOf(running);
    const [turn] = await running.listening('turn-udp');
    for (const path of ['health', 'ready']) expect((await fetch(`${server}/${path}`)).status).toBe(200);
    await using client = await clientOf(server);
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    const credentials = await client.turnCredentials();
    const where = formatEndpoint(turn!);
    expect(credentials.urls).toEqual([`turn:${where}?transport=udp`, `turn:${where}?transport=tcp`]);
    const allocation = await allocate(components, {
      server: turn!,
      credentials: { username: credentials.username, password: credentials.credential },
      handlers: { onData: () => {}, onLost: () => {} },
    });
    expect(allocation.relayed[0]!.address).toBe('127.0.0.1');
    await using stun = await StunClient.open(components, turn!);
    expect((await stun.binding()).mapped.address).toBe('127.0.0.1');

    const [metrics] = await running.listening('metrics');
    const page = await (await fetch(`http://${formatEndpoint(metrics!)}/metrics`)).text();
    expect(page).toMatch(/^towpath_turn_allocations 1$/m);
    expect(page).toMatch(/^towpath_control_statements_total 1$/m);
    await allocation.close();
    expect(await running.stop()).toBe(130);
  });

  test('keeps its secrets for its owner, and everything over a restart (C12)', async () => {
    const init = { storage: new MemoryStorage(), identity: identity() };
    const first = desk.start(SERVE);
    {
      await using client = await clientOf(await urlOf(first), init);
      await client.createParty({ name: 'camp', memberName: 'Ann' });
    }
    await first.stop();
    const mode = (name: string) => statSync(desk.file(`config/serve${name}`)).mode & 0o777;
    expect([mode(''), mode('/control.db'), mode('/turn.secret')]).toEqual([0o700, 0o600, 0o600]);
    expect(existsSync(desk.file('config/serve/serve.lock'))).toBe(false);

    const again = desk.start(SERVE);
    await using client = await clientOf(await urlOf(again), init);
    const [party] = client.parties();
    const suspicions: string[] = [];
    client.events.on('suspicion', ({ message }) => suspicions.push(message));
    expect((await client.refresh(party!.id)).head).toEqual(party!.head);
    expect(suspicions).toEqual([]);
    await again.stop();
  });

  test('names a fleet of further relays by region, all with one secret (A10)', async () => {
    writeFileSync(desk.file('secret'), 'a secret that is long enough\n', { mode: 0o600 });
    const urls = ['eu=turn:relay.example.org', 'turns:relay.example.org', 'us=turn:198.51.100.7:3479?transport=udp'];
    const running = desk.start([
      ...SERVE,
      '--no-builtin-relay',
      '--turn-secret-file',
      desk.file('secret'),
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

  test('speaks TLS when it is given a certificate, for requests and for the relay (C12)', async () => {
    const fixture = (name: string) => fileURLToPath(new URL(`../../control/test/fixtures/${name}`, import.meta.url));
    writeFileSync(desk.file('key.pem'), readFileSync(fixture('loopback-key.pem')), { mode: 0o600 });
    const tls = ['--tls-cert', fixture('loopback-cert.pem'), '--tls-key', desk.file('key.pem'), '--stun-tls-port', '0'];
    const running = desk.start([...SERVE, ...tls, '--public-name', 'localhost']);
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

  test('backs its database up while it runs; the copy is for its owner and replaces nothing (C12)', async () => {
    const running = desk.start(SERVE);
    await using client = await clientOf(await urlOf(running));
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    const copy = desk.file('copy.db');
    const done = await desk.run(['serve', 'backup', copy, '--json']);
    expect([done.code, JSON.parse(done.out[0]!).file, statSync(copy).mode & 0o777]).toEqual([0, copy, 0o600]);
    expect(await desk.run(['serve', 'backup', copy])).toMatchObject({
      code: 2,
      err: expect.stringContaining('already'),
    });
    await running.stop();

    mkdirSync(desk.file('other'), { mode: 0o700 });
    writeFileSync(desk.file('other/control.db'), readFileSync(copy), { mode: 0o600 });
    const restored = desk.start([...SERVE, '--data', desk.file('other')]);
    const party = client.parties()[0]!;
    expect(await (await fetch(`${await urlOf(restored)}/ready`)).json()).toEqual({ status: 'ready' });
    using database = new DatabaseSync(copy, { readOnly: true });
    expect(database.prepare('SELECT party, sequence FROM statements').all()).toEqual([
      { party: party.id, sequence: 0 },
    ]);
    await restored.stop();
    const nowhere = await desk.run(['serve', 'backup', desk.file('x.db'), '--data', desk.file('none')]);
    expect([nowhere.code, nowhere.err]).toEqual([5, expect.stringContaining('--data')]);
  });

  test.each([
    ['json', (line: string) => JSON.parse(line) as { level: string; message: string; time: string }],
    ['text', (line: string) => ({ time: line.slice(0, 24), level: line.slice(25, 30).trim(), message: line })],
  ] as const)('logs in %s on standard error, dated', async (format, read) => {
    const running = desk.start([...SERVE, '--log', format, '--for', '0.1']);
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
    [['--relay', 'http://relay'], 2, 'no relay such as'],
    [['--relay', 'turn:relay.example.org'], 2, '--turn-secret-file'],
    [['--nats', '127.0.0.1:1'], 1, 'is JetStream on'],
    [['--nats', '127.0.0.1:1', '--nats-replicas', '2'], 2, '1, 3 or 5'],
    [['--address', '192.0.2.99', '--no-builtin-relay'], 5, 'Next: choose another'],
    [['--address', '192.0.2.99'], 5, 'does not have that address'],
    [['--data', '/dev/null/none'], 5, 'cannot be made'],
  ])('says what is wrong with %j', async (more, code, text) => {
    const { err, ...outcome } = await desk.run(['serve', '--port', '0', '--stun-port', '0', ...more, '--for', '1']);
    expect([outcome.code, err]).toEqual([code, expect.stringContaining(text)]);
  });

  test('refuses a folder that another server uses, and takes over what a dead one left', async () => {
    mkdirSync(desk.file('data'), { mode: 0o700 });
    writeFileSync(desk.file('data/serve.lock'), `${process.ppid}\n`);
    const args = [...SERVE, '--data', desk.file('data'), '--for', '0.1'];
    const refused = await desk.run(args);
    expect([refused.code, refused.err]).toEqual([5, expect.stringContaining(`(${process.ppid}) serves from`)]);
    writeFileSync(desk.file('data/serve.lock'), '99999999\n');
    expect((await desk.run(args)).code).toBe(0);
  });

  test('a port that is taken ends it with a sentence', async () => {
    const running = desk.start(SERVE);
    const [control] = await running.listening('control');
    const args = ['serve', '--port', String(control!.port), '--no-builtin-relay', '--data', desk.file('second')];
    expect(await desk.run(args)).toMatchObject({ code: 5, err: expect.stringContaining('EADDRINUSE') });
    await running.stop();
  });
});
