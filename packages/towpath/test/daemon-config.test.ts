import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatKeep, parseKeep } from '../src/daemon/config/quantities.ts';
import { SETTINGS } from '../src/daemon/config/settings.ts';
import { CommandLine } from './command-line.ts';

function write(commandLine: CommandLine, text: string): void {
  mkdirSync(commandLine.file('config'), { recursive: true });
  writeFileSync(join(commandLine.file('config'), 'config.yaml'), text);
}

interface Shown {
  settings: { key: string; value: string; origin: string }[];
  cameras: object[];
}

async function shown(commandLine: CommandLine, env: Record<string, string> = {}): Promise<Shown> {
  const { code, out, err } = await commandLine.run(['config', 'show', '--json'], env);
  expect([code, err]).toEqual([0, '']);
  return JSON.parse(out[0]!);
}

describe('the configuration', () => {
  test('without a file every setting has the default that the documents name', async () => {
    using commandLine = new CommandLine();
    const { settings } = await shown(commandLine);
    for (const { key, byDefault } of SETTINGS) {
      const found = settings.find((setting) => setting.key === key);
      if (key === 'pictures.folder') expect(found?.value).toBe(join(commandLine.file('config'), 'pictures'));
      else expect(found).toEqual({ key, value: byDefault, origin: 'default' });
    }
  });

  test('the environment is stronger than the file', async () => {
    using commandLine = new CommandLine();
    write(commandLine, 'api:\n  port: 5000\npictures:\n  keep: 90 days | 20 GB\n');
    const { settings } = await shown(commandLine, { TOWPATH_API_PORT: '6000', TOWPATH_LOG_LEVEL: 'debug' });
    const of = (key: string) => settings.find((setting) => setting.key === key);
    expect(of('api.port')).toMatchObject({ value: '6000', origin: 'environment' });
    expect(of('pictures.keep')).toMatchObject({ value: '90 days | 20 GB', origin: 'file' });
    expect(of('log.level')).toMatchObject({ value: 'debug', origin: 'environment' });
  });

  test('a camera has its own limits, or those of all pictures', async () => {
    using commandLine = new CommandLine();
    write(
      commandLine,
      'pictures:\n  keep: 30 days\n  delete-from-card: when-safe\ncameras:\n  a: { target: 192.0.2.1 }\n  b: { target: 192.0.2.2, keep: 5 GB, delete-from-card: never }\n',
    );
    expect((await shown(commandLine)).cameras).toMatchObject([
      { name: 'a', keep: '30 days', deleteFromCard: 'when-safe' },
      { name: 'b', keep: '5 GB', deleteFromCard: 'never' },
    ]);
  });

  test('a file that is no group of settings is wrong, whatever is given elsewhere', async () => {
    for (const text of ['just text', '- a list\n', '!!js/function x', '\u0000\u0001']) {
      using commandLine = new CommandLine();
      write(commandLine, text);
      const { code, err } = await commandLine.run(['config', 'show'], { TOWPATH_API_PORT: '6000' });
      expect([code, err]).toEqual([5, expect.stringContaining('config.yaml: ')]);
    }
  });

  test.each([
    ['brackets', '['.repeat(200_000)],
    ['groups in one line', `cameras: ${'{a: '.repeat(2_000)}1${'}'.repeat(2_000)}`],
    ['indented groups', Array.from({ length: 500 }, (_, n) => `${' '.repeat(n)}a:`).join('\n')],
    ['lists in one line', `a: 1\n${'- '.repeat(5_000)}x`],
  ])('%s that are nested without end are said so', async (_what, text) => {
    using commandLine = new CommandLine();
    write(commandLine, text);
    const { code, err } = await commandLine.run(['config', 'show']);
    expect([code, err]).toEqual([5, expect.stringContaining('nested deeper than 50 levels')]);
  });

  test.each([
    ['bytes of any kind', Buffer.from(Array.from({ length: 5_000 }, (_, at) => (at * 7 + 13) % 256))],
    ['UTF-16', Buffer.from('cameras: {}\n', 'utf16le')],
    ['Latin-1', Buffer.from('cameras: { für: 1 }\n', 'latin1')],
  ])('a file that is no text is said so in one line: %s', async (_what, bytes) => {
    using commandLine = new CommandLine();
    mkdirSync(commandLine.file('config'), { mode: 0o700 });
    writeFileSync(commandLine.file('config/config.yaml'), bytes, { mode: 0o600 });
    const { code, err } = await commandLine.run(['config', 'show']);
    const path = commandLine.file('config/config.yaml');
    expect([code, err]).toEqual([
      5,
      `towpath: ${path}: the file is not a text in UTF-8. Next: correct it, then "towpath config check".`,
    ]);
  });

  test('a second document is said so', async () => {
    using commandLine = new CommandLine();
    write(commandLine, 'api: {}\n---\nlog: {}\n');
    const { err } = await commandLine.run(['config', 'show']);
    expect(err).toContain('only one document is read (---)');
  });

  test('a FIFO in its place is refused, not waited for', async () => {
    using commandLine = new CommandLine();
    mkdirSync(commandLine.file('config'), { recursive: true });
    spawnSync('mkfifo', [join(commandLine.file('config'), 'config.yaml')]);
    const { code, err } = await commandLine.run(['config', 'show']);
    expect([code, err]).toEqual([5, expect.stringContaining('is not a file')]);
  });

  test.each([
    ['api:\n  prt: 1\n', 'line 2, api.prt is not a setting; known here: http, port'],
    ['api:\n  port: 70000\n', 'line 2, api.port: must be a whole number from 0 to 65535, not 70000'],
    ['api:\n  port: many\n', 'line 2, api.port: must be a whole number from 0 to 65535, not "many"'],
    ['api:\n  http: maybe\n', 'line 2, api.http: must be true or false, not "maybe"'],
    ['\napi: 1\n', 'line 2, api: must be a group of settings, not 1'],
    ['log: { level: loud }\n', 'line 1, log.level: must be debug, info, warn or error, not "loud"'],
    ['cameras:\n  a: { via: pi }\n', 'cameras.a.target: is missing; it must be an IP address or a UID'],
    [
      'cameras:\n  a:\n    target: 192.0.2.1\n    ports: 1\n',
      'line 4, cameras.a.ports: must be a list, such as [40611, 32100]',
    ],
    ['cameras:\n  a: { target: 192.0.2.1, only: [air] }\n', 'cameras.a.only.0: must be lan, p2p or relay, not "air"'],
    ['parties: some\n', 'line 1, parties: must be all, none, or a list of parties'],
    ['parties:\n  - party: camp\n    lan: 3\n', 'line 3, parties.0.lan: must be true or false, not 3'],
    ['parties:\n  - party: camp\n    offer: [home]\n', 'parties.0.offer.0: must be a network such as 192.168.43.0/24'],
    ['- a\n', 'the file: must be a group of settings'],
    ['pictures:\n  keep: 90 weeks\n', 'pictures.keep: must be "forever"'],
    ['pictures:\n  folder: here\n', 'pictures.folder must be an absolute path'],
    ['cameras:\n  "../x": { target: 192.0.2.1 }\n', '../x'],
    ['cameras:\n  a: { target: "192.0.2.1:80" }\n', 'cameras.a.target: must be an IP address or a UID'],
    ['cameras:\n  a: { target: 192.0.2.1, servers: ["x:y:z"] }\n', '"x:y:z" is not HOST'],
    ['cameras:\n  a: { target: 192.0.2.1, time-zone: Nowhere/Here }\n', 'cameras.a.time-zone must be a zone'],
    [
      'parties:\n  - party: camp\n    mtu: 3\n',
      'line 3, parties.0.mtu: must be a whole number from 576 to 9000, not 3',
    ],
    [
      'cameras:\n  a: { target: 192.0.2.1, wake: { every: 1 min } }\n',
      'wake.every: must be an interval of 5 min or more',
    ],
    ['cameras:\n  a: { target: 192.0.2.1, wake: {} }\n', 'cameras.a.wake must have either every or at'],
    ['cameras:\n  a: { target: 192.0.2.1, wake: { every: 2 h, at: ["06:30"] } }\n', 'either every or at'],
    ['cameras:\n  a: { target: 192.0.2.1, wake: { at: ["24:00"] } }\n', 'wake.at.0: must be a time of the day'],
    ['cameras:\n  a: { target: 192.0.2.1, wake: { at: [] } }\n', 'wake.at: must have at least one entry'],
    ['cameras:\n  a: { target: 192.0.2.1, via: pi, wake: { every: 2 h } }\n', 'wake and via exclude each other'],
    [
      'cameras:\n  a: { target: 192.0.2.1, wake: { every: 2 h } }\n  b: { target: 192.0.2.1, wake: { every: 2 h, bluetooth: x } }\n',
      'cameras.a.wake.bluetooth is missing; it tells the cameras apart',
    ],
    [
      'cameras:\n  a: { target: 192.0.2.1, outputs: { rstp: 1 } }\n',
      'outputs.rstp is not a setting; known here: rtsp, http',
    ],
    ['cameras:\n  a: { target: 192.0.2.1, outputs: { rtsp: here } }\n', 'outputs.rtsp: must be PORT or "ADDRESS:PORT"'],
    ['cameras:\n  a: { target: 192.0.2.1, outputs: { http: 0 } }\n', 'outputs.http: must be PORT or "ADDRESS:PORT"'],
    [
      'cameras:\n  a: { target: 192.0.2.1, outputs: { mqtt: "http://x" } }\n',
      'must be a URL that begins with mqtt:// or mqtts://',
    ],
    [
      'cameras:\n  a: { target: 192.0.2.1, outputs: { mqtt: { url: "mqtt://x", ca: /a } } }\n',
      'outputs.mqtt.ca: needs a broker over TLS, mqtts://',
    ],
    [
      'cameras:\n  a: { target: 192.0.2.1, outputs: { webhook: { url: "ftp://x" } } }\n',
      'begins with http:// or https://',
    ],
    ['cameras:\n  a: { target: 192.0.2.1, outputs: { export: photos } }\n', 'must be the absolute path of a folder'],
    [
      'cameras:\n  a: { target: 192.0.2.1, outputs: { allow-hosts: [x] } }\n',
      'allow-hosts is for http, which is not set',
    ],
    [
      'cameras:\n  a: { target: 192.0.2.1, outputs: { rtsp: 8554 } }\n  b: { target: 192.0.2.2, outputs: { http: "0.0.0.0:8554" } }\n',
      'cameras.b.outputs.http: port 8554 is that of cameras.a.outputs.rtsp',
    ],
    ['cameras:\n  a: { target: 192.0.2.1, outputs: { rtsp: 4180 } }\n', 'port 4180 is that of api.port'],
    ['api: [\n', 'at line'],
    ['api: &a { port: 1 }\nlog: *a\n', 'aliases'],
  ])('%j is refused with its place', async (text, fault) => {
    using commandLine = new CommandLine();
    write(commandLine, text);
    const { code, out } = await commandLine.run(['config', 'check']);
    expect(code).toBe(5);
    expect(out.join('\n')).toContain(fault);
    expect(out.join('\n')).not.toMatch(/Invalid|expected|Unrecognized/);
    const up = await commandLine.run(['up', '--for', '0.1']);
    expect([up.code, up.err]).toEqual([5, expect.stringContaining('towpath config check')]);
  });

  test('a file that every user can change is refused: it names commands', async () => {
    using commandLine = new CommandLine();
    const path = commandLine.file('elsewhere.yaml');
    const env = { TOWPATH_CONFIG: path };
    writeFileSync(path, 'cameras: { feeder: { target: 192.0.2.1 } }\n');
    for (const [mode, code] of [
      [0o664, 0],
      [0o666, 5],
      [0o602, 5],
    ] as const) {
      chmodSync(path, mode);
      const check = await commandLine.run(['config', 'check'], env);
      expect(check.code, mode.toString(8)).toBe(code);
      if (code !== 0) expect(check.out.join('\n')).toContain('chmod o-w');
    }
    const up = await commandLine.run(['up', '--for', '0.1'], env);
    expect([up.code, up.err]).toEqual([5, expect.stringContaining('chmod o-w')]);
  });

  test('every fault has its line, in the order of the file, also in a group that is one value, or lacks something', async () => {
    using commandLine = new CommandLine();
    const camera = (name: string, lines: string) => `  ${name}:\n${lines.replaceAll(/^/gm, '    ')}\n`;
    const check = async (...cameras: string[]) => {
      const log = cameras.length > 2 ? 'log:\n  level: loud\n' : '';
      write(commandLine, `cameras:\n${cameras.join('')}${log}`);
      return (await commandLine.run(['config', 'check'])).out;
    };
    const wrong = [
      camera('a', 'target: 192.0.2.1\noutputs:\n  webhook: ftp://x\n  export: photos'),
      camera('b', 'outputs: { mqtt: "http://x" }'),
      camera('c', 'target: 192.0.2.3\nunknown: 1'),
    ];
    const faults = await check(...wrong);
    expect(faults.map((fault) => /^line \d+, [\w.-]+/.exec(fault)?.[0])).toEqual([
      'line 5, cameras.a.outputs.webhook.url',
      'line 6, cameras.a.outputs.export',
      'line 7, cameras.b.target',
      'line 8, cameras.b.outputs.mqtt.url',
      'line 11, cameras.c.unknown',
      'line 13, log.level',
    ]);
    const between = await check(
      camera('a', 'target: 192.0.2.1\noutputs: { rtsp: 4180, allow-hosts: [x] }\ntime-zone: Nowhere'),
      camera('b', 'target: 192.0.2.2\nvia: pi\nwake: { every: 2 h }'),
    );
    expect(between.map((fault) => /^line \d+, [\w.-]+/.exec(fault)?.[0])).toEqual([
      'line 4, cameras.a.outputs.allow-hosts',
      'line 4, cameras.a.outputs.rtsp',
      'line 5, cameras.a.time-zone',
      'line 6, cameras.b',
    ]);
  });

  test('a wrong value of the environment or the command line is named as such', async () => {
    using commandLine = new CommandLine();
    const { code, err } = await commandLine.run(['config', 'show'], { TOWPATH_API_PORT: 'x' });
    expect([code, err]).toEqual([5, expect.stringContaining('TOWPATH_API_PORT, api.port: must be a whole number')]);
    const up = await commandLine.run(['up', '--api-port', '99999', '--for', '0.1']);
    expect(up.err).toContain('--api-port, api.port: must be a whole number from 0 to 65535, not 99999');
  });

  test('the key of a camera is not repeated', async () => {
    using commandLine = new CommandLine();
    write(
      commandLine,
      `cameras:\n  a: { target: 192.0.2.1, key: ${'s'.repeat(30)}${'t'.repeat(40)} }\n  b: { target: 192.0.2.1, key: 12345 }\n`,
    );
    const { out } = await commandLine.run(['config', 'check']);
    expect(out.join('\n')).toContain('cameras.b.key: must be a network key, as text');
    expect(out.join('\n')).not.toMatch(/sss|12345/);
  });

  test('a password in a URL is refused and not repeated', async () => {
    using commandLine = new CommandLine();
    const url = 'mqtt://me:hidden@broker';
    write(
      commandLine,
      `cameras:\n  a: { target: 192.0.2.1, outputs: { mqtt: "${url}" } }\n  b: { target: 192.0.2.1, outputs: { webhook: { url: "https://me:hidden@x" } } }\n`,
    );
    const { out } = await commandLine.run(['config', 'check']);
    expect(out.join('\n')).toContain(
      'cameras.a.outputs.mqtt.url: must not contain a password; it goes to "password-file"',
    );
    expect(out.join('\n')).toContain(
      'cameras.b.outputs.webhook.url: must not contain a password; it goes to "key-file"',
    );
    expect(out.join('\n')).not.toContain('hidden');
  });

  test('wake and outputs are off unless they are set, and are shown', async () => {
    using commandLine = new CommandLine();
    const { home } = { home: commandLine.file('photos') };
    write(
      commandLine,
      `cameras:
  a: { target: 192.0.2.1 }
  b: { target: 192.0.2.2, wake: { every: 2h, bluetooth: TC100_5301 }, outputs: { mqtt: "mqtt://broker" } }
  c:
    target: 192.0.2.3
    wake: { at: ["6:30", "18:00"], bluetooth: "C2:00:5E:00:53:0A", bluetooth-adapter: hci1, wifi: wlan1 }
    outputs:
      rtsp: 8554
      http: "0.0.0.0:8088"
      allow-hosts: [cam.lan]
      mqtt: { url: "mqtts://broker", user: cam, password-file: /x, ca: /ca.pem, discovery-prefix: ha }
      webhook: { url: "https://example.org/hook", key-file: /y }
      exec: notify
      export: ${home}
      password-file: /z
`,
    );
    expect((await shown(commandLine)).cameras).toMatchObject([
      { name: 'a', wake: null, outputs: [] },
      { name: 'b', wake: 'every 120 min', outputs: ['mqtt'] },
      { name: 'c', wake: 'at 06:30, 18:00', outputs: ['rtsp', 'http', 'mqtt', 'webhook', 'exec', 'export'] },
    ]);
  });

  test('a camera is written into the file beside what a person wrote there', async () => {
    using commandLine = new CommandLine();
    write(commandLine, '# mine\napi:\n  port: 5000 # because\n');
    const { code } = await commandLine.run([
      'camera',
      'add',
      'feeder',
      '192.168.43.1',
      '--keep',
      '90 days | 20 GB',
      '--via',
      'pi',
    ]);
    expect(code).toBe(0);
    const text = readFileSync(join(commandLine.file('config'), 'config.yaml'), 'utf8');
    expect(text).toContain('# mine');
    expect(text).toContain('port: 5000 # because');
    expect(text).toContain('keep: 90 days | 20 GB');
    const twice = await commandLine.run(['camera', 'add', 'feeder', '192.168.43.2']);
    expect([twice.code, twice.err]).toEqual([2, expect.stringContaining('already')]);
    const removed = async () => (await commandLine.run(['camera', 'remove', 'feeder'])).out;
    expect(await removed()).toEqual(['Camera feeder removed.']);
    const pictures = join(commandLine.file('config'), 'pictures', 'feeder');
    mkdirSync(pictures, { recursive: true });
    await commandLine.run(['camera', 'add', 'feeder', '192.168.43.1']);
    expect(await removed()).toEqual([`Camera feeder removed; its pictures stay in ${pictures}.`]);
    expect((await commandLine.run(['camera', 'remove', 'feeder'])).code).toBe(2);
    expect(readFileSync(join(commandLine.file('config'), 'config.yaml'), 'utf8')).toContain('# mine');
  });

  test.each(['forever', '90 days', '1 day', '20 GB', '90 days | 20 GB', '500 MB'])(
    '"%s" is read and written',
    (text) => {
      expect(formatKeep(parseKeep(text)!)).toBe(text);
    },
  );

  test.each(['', 'never', '0 days', '-1 days', '90', '90 days | 80 days', '20 GB | 20 GB', 'forever | 1 day'])(
    '"%s" is no limit',
    (text) => {
      expect(parseKeep(text)).toBeUndefined();
    },
  );
});
