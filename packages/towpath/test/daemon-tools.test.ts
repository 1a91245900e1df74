import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { createLog, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Commands } from '@towpath/mesh';
import { describe, expect, test } from 'vitest';
import { commandTree, leaves } from '../src/cli/command-tree.ts';
import { manPages } from '../src/cli/man-page.ts';
import { createProgram } from '../src/cli/program.ts';
import type { Runtime } from '../src/cli/runtime.ts';
import { table } from '../src/cli/table.ts';
import { VERSION } from '../src/cli/version.ts';
import { down } from '../src/commands/daemon/down.ts';
import { replaceRunning } from '../src/commands/daemon/replace.ts';
import { install, uninstall } from '../src/commands/daemon/service.ts';
import { Redaction } from '../src/commands/daemon/redact.ts';
import { NODE_FLAGS, unitText } from '../src/commands/daemon/unit.ts';
import { homeOf } from '../src/commands/party/party-node.ts';
import { CONNECTED, takeProcessLock } from '../src/config/process-lock.ts';
import { apiSocketPath } from '../src/daemon/api/socket-path.ts';
import { loadConfig } from '../src/daemon/config/config-file.ts';
import { Daemon } from '../src/daemon/daemon.ts';
import { logPath } from '../src/daemon/log/file-log.ts';
import { StateFolder } from '../src/daemon/state/state-folder.ts';
import { components, CommandLine } from './command-line.ts';
import { cameraOf, fakeDaemon } from './fake-daemon.ts';
import { testIo } from './test-io.ts';

function runtimeOf(commandLine: CommandLine, out: string[] = []): Runtime {
  return {
    ...components,
    io: testIo({ out: (line) => void out.push(line) }),
    log: silentLog,
    signal: new AbortController().signal,
    configFolder: commandLine.file('config'),
  };
}

describe('completion and manual pages', () => {
  test.each(['bash', 'zsh', 'fish'])('the %s script names every command and option', async (shell) => {
    using commandLine = new CommandLine();
    const { code, out } = await commandLine.run(['completion', shell]);
    expect(code).toBe(0);
    const script = out.join('\n');
    const root = commandTree(await createProgram(runtimeOf(commandLine)));
    for (const { name, options } of leaves(root)) {
      expect(script).toContain(name);
      for (const { long } of options) expect(script).toContain(shell === 'fish' ? ` -l ${long.slice(2)}` : long);
    }
  });

  test('there is a page for the program and for each group, with every option, and man reads it without a warning', async () => {
    using commandLine = new CommandLine();
    const root = commandTree(await createProgram(runtimeOf(commandLine)));
    const pages = manPages(root, { version: VERSION, date: '2026-05-01' });
    expect(pages.map(({ file }) => file)).toEqual([
      'towpath.1',
      ...root.commands.map(({ name }) => `towpath-${name}.1`),
    ]);
    const camera = pages.find(({ file }) => file === 'towpath-camera.1')!.text;
    expect(camera).toContain('.SH TOWPATH CAMERA ADD');
    expect(camera).toContain('\\-\\-delete\\-from\\-card');
    for (const { text } of pages) expect(text).toMatch(/^\.TH .*\n\.SH NAME\ntowpath[\w\\-]* \\- \S/);
    if (spawnSync('groff', ['--version']).status !== 0) return;
    for (const { text } of pages) {
      const { stderr } = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-W', 'break', '-z'], {
        input: text,
        encoding: 'utf8',
      });
      expect(stderr).toBe('');
    }
  });

  test('the version is the one of the package', () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    expect(VERSION).toBe(version);
  });
});

describe('the service', () => {
  const program: [string, string] = ['/usr/bin/node', '/opt/my towpath/bin/towpath.js'];
  const options = { program, stateFolder: '/var/lib/towpath' };

  test('with parties keeps one capability, and without them none and no root', () => {
    const unit = unitText({ ...options, camerasOnly: false });
    expect(unit).toContain(
      `ExecStart=/usr/bin/node ${NODE_FLAGS.join(' ')} "/opt/my towpath/bin/towpath.js" up --wait\n`,
    );
    expect(unit).toContain('CapabilityBoundingSet=CAP_NET_ADMIN\n');
    expect(unit).not.toContain('User=');
    const cameras = unitText({ ...options, camerasOnly: true });
    expect(cameras).toContain('User=towpath\n');
    expect(cameras).toContain('CapabilityBoundingSet=\n');
    for (const text of [unit, cameras]) {
      for (const line of [
        'NoNewPrivileges=yes',
        'ProtectSystem=strict',
        'ProtectHome=yes',
        'ReadWritePaths=/var/lib/towpath',
      ])
        expect(text.split('\n')).toContain(line);
    }
  });

  test('is asked to end alone, so that WireGuard still carries its goodbye, and by another signal when it is started anew', () => {
    for (const camerasOnly of [false, true]) {
      const lines = unitText({ ...options, camerasOnly }).split('\n');
      for (const line of ['KillMode=mixed', 'KillSignal=SIGTERM', 'RestartKillSignal=SIGUSR2'])
        expect(lines).toContain(line);
    }
  });

  test('waits for something to hold, and is not started again after a wrong command line', () => {
    for (const camerasOnly of [false, true])
      expect(unitText({ ...options, camerasOnly })).toMatch(
        / up --wait\n.*\nRestart=always\n.*\nRestartPreventExitStatus=2\n/s,
      );
  });

  test('systemd finds no fault in the units', () => {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) return;
    using commandLine = new CommandLine();
    for (const camerasOnly of [true, false]) {
      const path = commandLine.file('towpath.service');
      writeFileSync(
        path,
        unitText({ program: [process.execPath, '/dev/null'], stateFolder: '/var/lib/towpath', camerasOnly }),
      );
      const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' });
      expect(stderr.split('\n').filter((line) => line.includes('towpath.service:'))).toEqual([]);
    }
  });

  test('is written, enabled and started; uninstall takes back everything but the data', async () => {
    using commandLine = new CommandLine();
    const out: string[] = [];
    const runtime = runtimeOf(commandLine, out);
    const ran: string[] = [];
    const commands: Commands = {
      run: async (program, args) => {
        ran.push([program, ...args].join(' '));
        return { code: 0, stdout: '', stderr: '' };
      },
    };
    const place = { folder: commandLine.file('units'), commands };
    await install(runtime, {}, place);
    const unit = join(place.folder, 'towpath.service');
    expect(statSync(unit).mode & 0o777).toBe(0o644);
    expect(readFileSync(unit, 'utf8')).toContain(`Environment=TOWPATH_HOME=${commandLine.file('config')}`);
    await uninstall(runtime, {}, place);
    expect(ran).toEqual([
      'systemctl daemon-reload',
      'systemctl enable --now towpath.service',
      'systemctl disable --now towpath.service',
      'systemctl daemon-reload',
    ]);
    expect(() => statSync(unit)).toThrow('ENOENT');
    expect(statSync(commandLine.file('config')).isDirectory()).toBe(true);
    await uninstall(runtime, {}, place);
    expect(out.at(-1)).toBe('The service is not installed.');
  });

  test('--print changes nothing', async () => {
    using commandLine = new CommandLine();
    const { code, out } = await commandLine.run(['service', 'install', '--print']);
    expect([code, out[1]]).toEqual([0, '[Unit]']);
    expect(() => statSync(commandLine.file('config'))).toThrow('ENOENT');
  });
});

describe('the configuration that is read again', () => {
  test('names what waits for the next start once, and nothing when an edit is undone', async () => {
    using commandLine = new CommandLine();
    const warnings: string[] = [];
    const log = createLog(({ level, message }) => level === 'warn' && warnings.push(message));
    const runtime = { ...runtimeOf(commandLine), log };
    const state = StateFolder.open(runtime.configFolder, { nowMs: runtime.clock.wallTime() });
    const write = (text: string) => writeFileSync(commandLine.file('config/config.yaml'), text, { mode: 0o600 });
    write('parties: none\napi: { port: 4180 }\n');
    await using daemon = new Daemon(runtime, { config: loadConfig(runtime), state, parties: [], given: {} });
    const after = async (text: string) => {
      write(text);
      await daemon.reload();
      return warnings.splice(0);
    };
    const waits = ['Changes of api take effect at the next start. Next: restart towpath up.'];
    expect(await after('parties: none\napi: { port: 4190 }\n')).toEqual(waits);
    expect(await after('parties: none\napi: { port: 4190 }\nlog: { level: debug }\n')).toEqual([]);
    expect(await after('parties: none\napi: { port: 4180 }\n')).toEqual([]);
    expect(await after('parties: none\napi: { port: 4190 }\n')).toEqual(waits);
  });
});

describe('towpath down', () => {
  test('says so when the daemon does not end, and not that it has', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await fakeDaemon(commandLine, [], [cameraOf('feeder')]);
    const out: string[] = [];
    const clock = new VirtualClock();
    const runtime = { ...runtimeOf(commandLine, out), clock };
    const lock = takeProcessLock(homeOf(runtime).lockPath, CONNECTED);
    const end = async () => {
      const failure = down(runtime, {}).then(
        () => undefined,
        (error: unknown) => error,
      );
      let settled = false;
      void failure.finally(() => {
        settled = true;
      });
      const later = async () => {
        await clock.advance(1_000);
        return settled;
      };
      await expect.poll(later, { timeout: 30_000 }).toBe(true);
      return await failure;
    };
    expect(await end()).toMatchObject({
      code: 'still-running',
      kind: 'local',
      message: `towpath up (process ${process.pid}) was told to end and has not ended within 15 s. Next: see towpath logs, or kill -9 ${process.pid}.`,
    });
    expect(out).toEqual([]);
    lock[Symbol.dispose]();
    expect(await end()).toBeUndefined();
    expect(out).toEqual(['towpath up has ended. Cameras no longer held: feeder.']);
  });
});

describe('a daemon that hangs', () => {
  test.each([
    ['towpath down', (runtime: Runtime) => down(runtime, {}), 'still-running'],
    ['towpath up --replace', (runtime: Runtime) => replaceRunning(runtime, async () => {}), 'already-running'],
  ])('%s does not wait for its answer for ever', async (_command, run, code) => {
    using commandLine = new CommandLine();
    const clock = new VirtualClock();
    const runtime = { ...runtimeOf(commandLine), clock };
    mkdirSync(runtime.configFolder);
    using _lock = takeProcessLock(homeOf(runtime).lockPath, CONNECTED);
    const asked = Promise.withResolvers<void>();
    // As one that was stopped: the kernel takes the connection and what is sent.
    const server = createServer(() => asked.resolve());
    await new Promise<void>((resolve) => {
      server.listen(apiSocketPath(runtime.configFolder), resolve);
    });
    const failure = run(runtime).then(
      () => undefined,
      (error: unknown) => error,
    );
    await asked.promise;
    await clock.advance(15_000);
    expect(await failure).toMatchObject({ code, message: expect.stringContaining(`(process ${process.pid})`) });
    server.close();
  });
});

describe('a bug report', () => {
  test('replaces secrets and public addresses, and the same one by the same name', () => {
    const redaction = new Redaction(['the-api-token-of-this-machine']);
    const text = redaction.apply(
      [
        'token the-api-token-of-this-machine',
        'at 203.0.113.9:40000, again 203.0.113.9, local 192.168.1.5 and 127.0.0.1, [2001:db8::7]:3478 fe80::1',
        'cameras: { feeder: { key: hunter2 } }',
        '{"secret":"abc","password": "x y"}',
        'towpath:join/AAAABBBB?x=1',
        'time 12:30:45 version 1.2.3',
        '-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----',
      ].join('\n'),
    );
    for (const secret of ['the-api-token', '203.0.113.9', '2001:db8', 'hunter2', 'abc', 'x y', 'AAAABBBB', 'MIIB'])
      expect(text).not.toContain(secret);
    expect(text).toContain('at [address 1]:40000, again [address 1], local 192.168.1.5 and 127.0.0.1');
    expect(text).toContain('fe80::1');
    expect(text).toContain('12:30:45 version 1.2.3');
  });

  test('is an archive that tar reads, for its owner only, also when no daemon runs', async () => {
    using commandLine = new CommandLine();
    mkdirSync(commandLine.file('config'));
    writeFileSync(
      join(commandLine.file('config'), 'config.yaml'),
      'cameras: { feeder: { target: 198.51.100.7, key: hunter2 } }\n',
    );
    const output = commandLine.file('report.tar.gz');
    const { code } = await commandLine.run(['bugreport', '-o', output]);
    expect(code).toBe(0);
    expect(statSync(output).mode & 0o777).toBe(0o600);
    const names = execFileSync('tar', ['-tzf', output], { encoding: 'utf8' }).trim().split('\n');
    expect(names).toContain('towpath-bugreport/config.yaml');
    const config = execFileSync('tar', ['-xzOf', output, 'towpath-bugreport/config.yaml'], { encoding: 'utf8' });
    expect(config).toBe('cameras: { feeder: { target: [address 1], key: [secret] } }\n');
    expect(execFileSync('tar', ['-xzOf', output, 'towpath-bugreport/status.json'], { encoding: 'utf8' })).toContain(
      'not-running',
    );
    const again = await commandLine.run(['bugreport', '-o', output]);
    expect([again.code, again.err]).toEqual([5, expect.stringContaining('choose another name')]);
  });
});

describe('on 40 columns without colour, and piped', () => {
  const line = (message: string, fields: object) =>
    JSON.stringify({ time: '2026-05-01T12:00:00.000Z', level: 'info', scope: 'CAMERA', message, fields });
  const written = [
    line('The camera in the garden is connected over the local network', { endpoint: '192.168.43.1:40611' }),
    line('short', {}),
    '{"time":"2026-05-01T12:00:00.000Z","level":"in',
  ];

  function withLog(): CommandLine {
    const commandLine = new CommandLine();
    const path = logPath(commandLine.file('config'));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${written.join('\n')}\n`, { mode: 0o600 });
    return commandLine;
  }

  test('logs wraps each line and indents what follows; nothing is lost', async () => {
    using commandLine = withLog();
    const { out, code } = await commandLine.run(['logs'], {}, undefined, { columns: 40 });
    expect(code).toBe(0);
    expect(out.slice(0, -1).filter((each) => each.length > 40)).toEqual([]);
    expect(out.filter((each) => !each.startsWith('  '))).toHaveLength(3);
    const solid = out.join('').replaceAll(' ', '');
    expect(solid).toContain('Thecamerainthegardenisconnectedoverthelocalnetworkendpoint=192.168.43.1:40611');
    expect(out.join('')).not.toContain('\u001b');
  });

  test('logs in a pipe prints one line for each, however narrow the terminal is', async () => {
    using commandLine = withLog();
    const { out } = await commandLine.run(['logs'], {}, undefined, { columns: 40, piped: true });
    expect(out).toHaveLength(3);
    expect(out[0]).toMatch(
      /^2026-05-01 \d\d:\d\d:\d\d info {2}\[CAMERA\] The camera .* endpoint=192\.168\.43\.1:40611$/,
    );
  });

  test('logs --json has a typed object for each line, also for one that a crash cut off', async () => {
    using commandLine = withLog();
    const { out } = await commandLine.run(['logs', '--json'], {}, undefined, { columns: 40 });
    expect(out.map((each) => JSON.parse(each))).toEqual([
      { type: 'log', version: 1, ...JSON.parse(written[0]!) },
      { type: 'log', version: 1, ...JSON.parse(written[1]!) },
      { type: 'log', version: 1, text: written[2] },
    ]);
  });

  test('bugreport prints the file alone on standard output; what it says fits', async () => {
    using commandLine = withLog();
    const output = commandLine.file('r.tar.gz');
    const { out, err } = await commandLine.run(['bugreport', '-o', output], {}, undefined, { columns: 40 });
    expect(out).toEqual([expect.stringMatching(new RegExp(`^${output} \\([\\d.]+ k?B\\)$`))]);
    expect(err.split('\n').filter((each) => each.length > 40)).toEqual([]);
    expect(err.replaceAll('\n', ' ')).toContain('Look through it before you send it.');
  });
});

test('a table that does not fit becomes blocks: nothing is wider than 40 columns', () => {
  const head = ['NAME', 'ADDRESS', 'STATUS', 'REASON'];
  const rows = [
    ['a-rather-long-name-of-a-member', '10.66.12.7', 'connected', 'first'],
    ['ben', '10.66.12.8', 'failed', 'a reason that takes more words than forty columns have'],
  ];
  const narrow = table(head, rows, 40);
  expect(narrow.every((line) => line.length <= 40)).toBe(true);
  expect(narrow.slice(0, 2)).toEqual(['a-rather-long-name-of-a-member', '  address  10.66.12.7']);
  expect(table(head, rows, 200)).toHaveLength(3);
});
