import { mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type Clock, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { type Camera, peerDetailSchema, daemonStatusSchema } from '@towpath/dashboard/api';
import { formatEndpoint } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { exitCodeOf } from '../src/cli/failure.ts';
import type { Runtime } from '../src/cli/runtime.ts';
import { list } from '../src/commands/camera/held.ts';
import { requireRoute } from '../src/commands/camera/via.ts';
import { dashboard } from '../src/commands/daemon/dashboard.ts';
import { status } from '../src/commands/daemon/status.ts';
import { why } from '../src/commands/daemon/why.ts';
import { paths } from '../src/commands/mesh/paths.ts';
import { ping } from '../src/commands/mesh/ping.ts';
import { isService } from '../src/commands/party/data-plane-hint.ts';
import { CONNECTED, connectedLockIn, takeProcessLock } from '../src/config/process-lock.ts';
import { askDaemon } from '../src/daemon/api/api-client.ts';
import { followEvents } from '../src/daemon/api/follow-events.ts';
import { apiSocketPath } from '../src/daemon/api/socket-path.ts';
import { CommandLine, components } from './command-line.ts';
import { cameraOf, type FakeParty, fakeDaemon, peerOf } from './fake-daemon.ts';
import { JSON_SCHEMAS, parseJsonLine, peer } from './json-schemas.ts';
import { testIo } from './test-io.ts';

const camp = { name: 'camp', peers: [peerOf('ben'), peerOf('ann')] };
const farm = { name: 'farm', peers: [peerOf('ben', { id: 'f'.repeat(32), address: '10.77.0.2' })] };

function runtimeIn(commandLine: CommandLine, clock: Clock = components.clock): Runtime & { readonly said: string[] } {
  const said: string[] = [];
  return {
    ...components,
    clock,
    said,
    io: testIo({ err: (line) => void said.push(line) }),
    log: silentLog,
    signal: new AbortController().signal,
    configFolder: commandLine.file('config'),
  };
}

test('the daemon of these tests answers as the real one', async () => {
  using commandLine = new CommandLine();
  await using _daemon = await fakeDaemon(commandLine, [camp, farm], [cameraOf('feeder')]);
  const runtime = runtimeIn(commandLine);
  const status = daemonStatusSchema.parse(await askDaemon(runtime, 'GET', '/v1/status'));
  const path = `/v1/parties/${status.parties[0]!.id}/peers/ben`;
  expect(peerDetailSchema.parse(await askDaemon(runtime, 'GET', path)).peer.name).toBe('ben');
});

test('a daemon that has started anew answers at once, whatever the one before left open', async () => {
  using commandLine = new CommandLine();
  const runtime = runtimeIn(commandLine);
  mkdirSync(runtime.configFolder);
  const used = new WeakSet<Socket>();
  const server = createServer(({ socket }, answer) => {
    // A connection of the process before is reset.
    if (used.has(socket)) socket.destroy();
    else answer.end('{}');
    used.add(socket);
  });
  await new Promise<void>((resolve) => void server.listen(apiSocketPath(runtime.configFolder), resolve));
  for (let asked = 0; asked < 3; asked++) {
    expect(await askDaemon(runtime, 'GET', '/v1/status')).toEqual({});
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => void server.close(resolve));
});

test('status names no path of a peer that does not answer', async () => {
  using commandLine = new CommandLine();
  const peers = [peerOf('ben', { status: 'failed', path: null }), peerOf('ann', { strategy: 'relay' })];
  await using _daemon = await fakeDaemon(commandLine, [{ name: 'camp', peers }], []);
  const { out } = await commandLine.run(['status']);
  const row = (name: string) => out.find((line) => line.trim().startsWith(name));
  expect(row('ben')).toContain('failed');
  expect(row('ben')).not.toContain('direct');
  expect(row('ann')).toContain('relay');
});

test('status says which policy forbids the paths to a peer, and whose; as JSON both policies (C13)', async () => {
  using commandLine = new CommandLine();
  const refused = { status: 'failed', path: null, policies: { own: 'direct-only', peer: 'lan-only' } } as const;
  const peers = [peerOf('ben', { ...refused, refusedBy: 'own' }), peerOf('ann', { ...refused, refusedBy: 'peer' })];
  await using _daemon = await fakeDaemon(commandLine, [{ name: 'camp', peers }], []);
  const { out } = await commandLine.run(['status']);
  const row = (name: string) => out.find((line) => line.trim().startsWith(name));
  expect(row('ben')).toMatch(/ policy direct-only, here$/);
  expect(row('ann')).toMatch(/ policy lan-only, of ann$/);
  const [json] = (await commandLine.run(['status', '--json'])).out;
  expect(JSON.parse(json!).peers).toMatchObject([
    { name: 'ben', policy: 'direct-only', peerPolicy: 'lan-only', refusedBy: 'own' },
    { name: 'ann', policy: 'direct-only', peerPolicy: 'lan-only', refusedBy: 'peer' },
  ]);
});

describe('a daemon that takes every question and answers none', () => {
  const commands: Readonly<Record<string, (runtime: Runtime) => Promise<unknown>>> = {
    status: (runtime) => status(runtime, {}),
    why: (runtime) => why(runtime, 'ben', {}),
    ping: (runtime) => ping(runtime, 'ben', { count: 1, interval: 1 }),
    paths: (runtime) => paths(runtime, 'ben', {}),
    dashboard: (runtime) => dashboard(runtime, {}),
    'camera list': (runtime) => list(runtime, {}),
    'camera info --via': (runtime) => requireRoute(runtime, '192.0.2.1', 'ben'),
  };

  test.each(Object.entries(commands))('%s says what it waits for, and ends after 30 s', async (_name, command) => {
    using commandLine = new CommandLine();
    const clock = new VirtualClock();
    const runtime = runtimeIn(commandLine, clock);
    mkdirSync(runtime.configFolder);
    using _lock = takeProcessLock(connectedLockIn(runtime.configFolder), CONNECTED);
    const asked = Promise.withResolvers<void>();
    const server = createServer(() => asked.resolve());
    await new Promise<void>((resolve) => void server.listen(apiSocketPath(runtime.configFolder), resolve));
    const failure = command(runtime).catch((error: unknown) => error);
    await asked.promise;
    await clock.advance(3_000);
    expect(runtime.said).toEqual([`towpath up (process ${process.pid}) has not answered yet; waiting up to 30 s …`]);
    await clock.advance(27_000);
    const error = await failure;
    expect(error).toMatchObject({ code: 'not-answering', message: expect.stringContaining('kill -9 ends it') });
    expect(exitCodeOf(error)).toBe(5);
    server.closeAllConnections();
    await new Promise((resolve) => void server.close(resolve));
  });

  test('paths --follow notices that it has stopped in the middle', async () => {
    using commandLine = new CommandLine();
    const clock = new VirtualClock();
    const runtime = runtimeIn(commandLine, clock);
    mkdirSync(runtime.configFolder);
    const server = createServer();
    const opened = Promise.withResolvers<void>();
    const sockets = new WebSocketServer({ server, autoPong: false });
    sockets.on('connection', () => opened.resolve());
    await new Promise<void>((resolve) => void server.listen(apiSocketPath(runtime.configFolder), resolve));
    const failure = followEvents(runtime, () => {}).catch((error: unknown) => error);
    await opened.promise;
    await clock.advance(45_000);
    expect(await failure).toMatchObject({ code: 'not-answering' });
    for (const socket of sockets.clients) socket.terminate();
    await new Promise((resolve) => void server.close(resolve));
  });

  test('another program on its socket is reported as such', async () => {
    using commandLine = new CommandLine();
    const runtime = runtimeIn(commandLine);
    mkdirSync(runtime.configFolder);
    for (const [code, text] of [
      [200, '<html>'],
      [500, '<html>'],
      [500, 'null'],
      [500, '{"error":{"code":7,"message":{}}}'],
    ] as const) {
      const server = createServer((_request, response) => response.writeHead(code).end(text));
      await new Promise<void>((resolve) => void server.listen(apiSocketPath(runtime.configFolder), resolve));
      await expect(askDaemon(runtime, 'GET', '/v1/status')).rejects.toMatchObject({ code: 'bad-answer' });
      await new Promise((resolve) => void server.close(resolve));
    }
  });
});

const NOT_RUNNING = 'towpath up is not running. Next: towpath up, with sudo for parties.';

describe('without a daemon (13.2)', () => {
  test.each([
    [['status']],
    [['ping', 'ben']],
    [['why', 'ben']],
    [['paths', 'ben']],
    [['paths', 'ben', '--follow']],
    [['dashboard']],
    [
      ['down'],
      'Nothing to end: towpath up is not running, and it has left nothing behind. Next: towpath doctor, if something of it still seems to be on this machine.',
    ],
    [['camera', 'info', '192.0.2.1', '--via', 'ben']],
  ])('%j says so in one sentence, with exit code 5, and as JSON', async (args, message = NOT_RUNNING) => {
    using commandLine = new CommandLine();
    const { code, out, err } = await commandLine.run([...args, '--json']);
    expect([code, err]).toEqual([5, `towpath: ${message}`]);
    expect(out.map((line) => JSON.parse(line))).toEqual([
      { type: 'error', version: 1, error: { code: 'not-running', message } },
    ]);
  });
});

describe('members and cameras by their names (13.2)', () => {
  const commands = [['why'], ['ping', '-c', '1'], ['paths']];

  test.each(commands)('%s of a name that two parties have asks for --party, and takes it', async (...command) => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp, farm]);
    const both = await commandLine.run([...command, 'ben']);
    expect([both.code, both.err]).toEqual([2, expect.stringContaining('camp, farm. Next: name one with --party')]);
    for (const party of ['farm', 'FARM', Buffer.from('party-farm').toString('hex')]) {
      expect((await commandLine.run([...command, 'ben', '--party', party])).code).toBe(0);
    }
    expect((await commandLine.run([...command, 'ann'])).code).toBe(0);
    const none = await commandLine.run([...command, 'ben', '--party', 'nowhere']);
    expect([none.code, none.err]).toEqual([2, expect.stringContaining('Parties: camp, farm')]);
  });

  test('status --party shows that party alone', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp, farm], [cameraOf('feeder')]);
    const all = (await commandLine.run(['status'])).out.join('\n');
    for (const name of ['camp:', 'farm:', 'feeder']) expect(all).toContain(name);
    const one = (await commandLine.run(['status', '--party', 'farm'])).out.join('\n');
    expect(one).toContain('farm:');
    for (const name of ['camp:', 'feeder']) expect(one).not.toContain(name);
  });

  test('status says what was dropped, and of a party that is not filtered why and what that means', async () => {
    using commandLine = new CommandLine();
    const dropped = { strangers: 3, forged: 0, notOffered: 12, intoParty: 0 };
    await using _daemon = await fakeDaemon(commandLine, [
      { ...camp, filter: { problem: null, dropped } },
      { ...farm, filter: { problem: 'The program nft\u001b[2J is not installed.', dropped } },
    ]);
    const said = async (party: string) =>
      (await commandLine.run(['status', '--party', party])).out.join(' ').replace(/\s+/g, ' ');
    const counted =
      "3 from other networks to this machine's virtual address, 12 of members to networks that are not offered.";
    expect(await said('camp')).toContain(`Packets dropped: ${counted}`);
    const problem = await said('farm');
    expect(problem).toContain('Not filtered: The program nft');
    expect(problem).not.toContain('\u001b');
    expect(problem).not.toContain('Packets dropped');
    const { parties } = JSON.parse((await commandLine.run(['status', '--json'])).out.join(''));
    expect(parties[0].filter).toEqual({ problem: null, dropped });
  });

  test('why of nobody lists members and cameras', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp], [cameraOf('feeder')]);
    const { code, err } = await commandLine.run(['why', 'nobody']);
    expect([code, err]).toEqual([2, 'towpath: No member or camera nobody. Members: ben, ann. Cameras: feeder.']);
  });

  test('a camera and a member of one name are told apart', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp], [cameraOf('ben')]);
    const { code, err } = await commandLine.run(['why', 'ben']);
    expect([code, err]).toEqual([2, expect.stringContaining('--party camp for the member')]);
    expect((await commandLine.run(['why', 'ben', '--party', 'camp'])).code).toBe(0);
  });

  test.each([
    ['direct', 0],
    ['relayed', 10],
    ['unreachable', 20],
  ] as const)('why: %s is exit code %i', async (verdict, code) => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp], [], verdict);
    const answer = await commandLine.run(['why', 'ben']);
    expect([answer.code, answer.err, answer.out[0]]).toEqual([code, '', 'ben of camp.']);
  });

  test('ping of a camera says that it is one, and what shows it', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp], [cameraOf('feeder')]);
    const { code, err } = await commandLine.run(['ping', 'Feeder']);
    expect([code, err]).toEqual([2, expect.stringContaining('camera, not a member. Next: towpath why feeder')]);
  });

  test('ping shows each path with what was measured on it', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp]);
    const { out } = await commandLine.run(['ping', 'ben', '-c', '1']);
    expect(out.slice(0, 2)).toEqual(['echo 1 of ben: 4.2 ms', '1 sent, 1 answered, median 4 ms']);
    expect(out.find((line) => line.startsWith('standby'))).toMatch(/relay +198\.51\.100\.7:3478 +good +40 ms +10 %/);
  });
});

describe('JSON output (13.2)', () => {
  test('is what the schemas say, and nothing else', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp, farm], [cameraOf('feeder')]);
    const lines: string[] = [];
    for (const args of [
      ['status'],
      ['why', 'ann'],
      ['why', 'feeder'],
      ['paths', 'ann'],
      ['ping', 'ann', '-c', '1'],
      ['doctor'],
      ['config', 'show'],
      ['config', 'check'],
      ['config', 'path'],
      ['completion', 'bash'],
      ['bugreport', '-o', commandLine.file('report.tar.gz')],
      ['camera', 'list'],
    ]) {
      const { out } = await commandLine.run([...args, '--json']);
      expect(out.length, args.join(' ')).toBeGreaterThan(0);
      lines.push(...out);
    }
    const types = lines.map((line) => parseJsonLine(line).type);
    for (const type of ['status', 'why', 'paths', 'echo', 'finding', 'config', 'bugreport', 'cameras'])
      expect(types).toContain(type);
  });

  test('is documented: docs/json.md names every type and field', () => {
    const document = readFileSync(join(import.meta.dirname, '../../../docs/json.md'), 'utf8');
    for (const [type, { shape }] of Object.entries(JSON_SCHEMAS)) {
      const row = document.split('\n').find((line) => line.startsWith('|') && line.includes(`\`${type}\``));
      expect(row, type).toBeDefined();
      for (const field of Object.keys(shape))
        if (!['type', 'version'].includes(field)) expect(row).toContain(`\`${field}`);
    }
    for (const field of Object.keys(peer.shape)) expect(document).toContain(`\`${field}\``);
  });
});

describe('a narrow terminal (13.2)', () => {
  test.each([[['status']], [['why', 'ann']], [['paths', 'ann']], [['ping', 'ann', '-c', '1']], [['camera', 'list']]])(
    '%j is at most 40 columns wide',
    async (args) => {
      using commandLine = new CommandLine();
      await commandLine.run(['camera', 'add', 'feeder', '192.168.43.1', '--keep', '90 days | 20 GB']);
      await using _daemon = await fakeDaemon(commandLine, [camp, farm], [cameraOf('feeder')]);
      const { out, code } = await commandLine.run(args, {}, undefined, { columns: 40 });
      expect(code).toBe(0);
      expect(out.length).toBeGreaterThan(0);
      for (const line of out) expect(line.length, line).toBeLessThanOrEqual(40);
    },
  );

  test('doctor is at most 40 columns wide there, and in a pipe has one line for each finding and advice', async () => {
    using commandLine = new CommandLine();
    const narrow = await commandLine.run(['doctor'], {}, undefined, { columns: 40 });
    expect(narrow.out.length).toBeGreaterThan(0);
    for (const line of narrow.out) expect(line.length, line).toBeLessThanOrEqual(40);
    const { out } = await commandLine.run(['doctor'], {}, undefined, { columns: 40, piped: true });
    for (const line of out) expect(line).toMatch(/^(?:\S+ +\S+ +\S| {2,}Next: )/);
    expect(narrow.out.join('').replaceAll(' ', '')).toBe(out.join('').replaceAll(' ', ''));
  });

  test('status in a pipe is not wrapped, however narrow the terminal is', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [camp, farm], [cameraOf('feeder')]);
    const wide = await commandLine.run(['status'], {}, undefined, { columns: 500 });
    const piped = await commandLine.run(['status'], {}, undefined, { columns: 40, piped: true });
    expect(Math.max(...wide.out.map((line) => line.length))).toBeGreaterThan(40);
    expect(piped.out).toEqual(wide.out);
  });
});

describe('the next step after a party was created or joined', () => {
  test('is towpath up, or to start the daemon that runs anew', async () => {
    using commandLine = new CommandLine();
    const server = commandLine.start(['serve', '--port', '0', '--no-builtin-relay', '--open', '--json']);
    const url = `http://${formatEndpoint((await server.listening('control'))[0]!)}`;
    const create = async (name: string) => (await commandLine.run(['party', 'create', name, '--server', url])).out;
    expect(await create('camp')).toContain('No packets flow between members yet. Next, on each of them: towpath up');
    {
      await using _daemon = await fakeDaemon(commandLine, []);
      expect(await create('farm')).toContainEqual(expect.stringMatching(/next start\. Next: towpath up --replace$/));
    }
    await server.stop();
  });

  test('after a party was left, is to end the daemon that holds it, or to start it anew for what else it holds', async () => {
    using founder = new CommandLine();
    using commandLine = new CommandLine();
    const server = founder.start(['serve', '--port', '0', '--no-builtin-relay', '--open', '--json']);
    const url = `http://${formatEndpoint((await server.listening('control'))[0]!)}`;
    const created = await founder.run(['party', 'create', 'home', '--server', url, '--json']);
    const { id } = (JSON.parse(created.out.at(-1)!) as { party: { id: string } }).party;
    const leave = async (others: FakeParty[], cameras: Camera[] = []) => {
      const invited = await founder.run(['party', 'invite', '--json']);
      const { code } = JSON.parse(invited.out.at(-1)!) as { code: string };
      await commandLine.run(['party', 'join', code, '--server', url, '--as', 'ben']);
      await using _daemon = await fakeDaemon(commandLine, others, cameras);
      return (await commandLine.run(['party', 'leave', 'home'])).out;
    };
    const home = { name: 'home', id, peers: [] };
    const holds = 'towpath up, which runs here, holds the party until it ends. Next: ';
    expect(await leave([home])).toEqual(['This node has left home.', `${holds}towpath down`]);
    expect((await leave([home, farm])).at(-1)).toBe(`${holds}towpath up --replace`);
    expect((await leave([home], [cameraOf('feeder')])).at(-1)).toBe(`${holds}towpath up --replace`);
    expect(await leave([farm])).toEqual(['This node has left home.']);
    await server.stop();
  });

  test('names the service where systemd runs the daemon', () => {
    const isIn = (groups: string) => isService(7, () => groups);
    expect(['0::/system.slice/towpath.service\n', '0::/user.slice/session-1.scope\n'].map(isIn)).toEqual([true, false]);
    const ended = () => {
      throw new Error('ENOENT');
    };
    expect([isService(7, ended), isService(undefined)]).toEqual([false, false]);
  });
});

test('why shows events that repeat in one row, with their number', async () => {
  using commandLine = new CommandLine();
  await using _daemon = await fakeDaemon(commandLine, [camp]);
  const { out } = await commandLine.run(['why', 'ben']);
  const rows = out.slice(out.indexOf('Last events:') + 2).map((line) => line.trim().split(/ {2,}/).slice(1, 3));
  expect(rows).toEqual([
    ['switch', '203.0.113.42:40000'],
    ['3 × failure', '203.0.113.42:40000'],
  ]);
});
