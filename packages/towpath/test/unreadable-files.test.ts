import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';
import { until } from './daemon-rig.ts';

const TOWPATH = fileURLToPath(new URL('../bin/towpath.js', import.meta.url));
/** Nobody has this number. */
const USER = 4_123_456;
const DENIED = 'permission denied. Next: make it readable for this user, or use sudo.';

/** Root can read everything: the command runs as another user, as after `sudo towpath`. */
describe.skipIf(process.getuid?.() !== 0)('what a command cannot read is said with the next step (G3)', () => {
  let top: string;
  let party: string;

  beforeAll(async () => {
    top = mkdtempSync(join(tmpdir(), 'towpath-unreadable-'));
    chmodSync(top, 0o755);
    using commandLine = new CommandLine();
    const data = commandLine.file('data');
    const server = commandLine.start([
      'serve',
      '--port',
      '0',
      '--no-builtin-relay',
      '--open',
      '--data',
      data,
      '--json',
    ]);
    await until(() => server.out.length > 0);
    const { place } = JSON.parse(server.out[0]!) as { place: string };
    const { code } = await commandLine.run(['party', 'create', 'camp', '--server', place]);
    expect([code, await server.stop()]).toEqual([0, 130]);
    cpSync(commandLine.file('config'), join(top, 'saved'), { recursive: true });
    party = readdirSync(join(top, 'saved', 'parties'))[0]!;
  });
  afterAll(() => rmSync(top, { recursive: true, force: true }));

  /** A home of the user, in which one file or folder is root's. */
  function homeWith(name: string): string {
    const home = join(top, 'home');
    rmSync(home, { recursive: true, force: true });
    cpSync(join(top, 'saved'), home, { recursive: true });
    const path = join(home, name);
    if (name === '' || name.endsWith('/')) mkdirSync(path, { recursive: true });
    else writeFileSync(path, '{}', { flag: 'a' });
    chownSync(home, USER, USER);
    for (const entry of readdirSync(home, { recursive: true, withFileTypes: true })) {
      chownSync(join(entry.parentPath, entry.name), USER, USER);
    }
    chownSync(path, 0, 0);
    chmodSync(path, name.endsWith('/') || name === '' ? 0o700 : 0o600);
    return home;
  }

  function runIn(home: string, args: readonly string[]) {
    const options = { encoding: 'utf8', timeout: 60_000, killSignal: 'SIGKILL', uid: USER, gid: USER } as const;
    const given = args.map((arg) => arg.replace('HOME', home));
    const { status, stdout, stderr } = spawnSync(process.execPath, [TOWPATH, ...given], {
      env: { TOWPATH_HOME: home },
      ...options,
    });
    return { status, stdout, stderr: stderr.replaceAll(home, 'HOME').replaceAll(party, 'ID') };
  }

  test.each([
    ['servers.json', ['party', 'create', 'x'], 'HOME/servers.json'],
    ['node.json', ['party', 'members'], 'HOME/node.json'],
    ['node-next.json', ['party', 'members'], 'HOME/node-next.json'],
    ['parties/', ['party', 'list'], 'HOME/parties'],
    ['parties/ID/', ['party', 'list'], 'HOME/parties/ID/ID.party'],
    ['parties/ID/party.json', ['party', 'list'], 'HOME/parties/ID/party.json'],
    ['parties/ID/ID.party', ['party', 'list'], 'HOME/parties/ID/ID.party'],
    ['config.yaml', ['config', 'check'], 'HOME/config.yaml'],
    ['state.json', ['up'], 'HOME/state.json'],
    ['mesh/', ['down'], 'HOME/mesh'],
    ['hotspots.json', ['camera', 'join'], 'HOME/hotspots.json'],
    ['log/', ['logs'], 'HOME/log/towpath.log.1'],
    ['', ['party', 'list'], 'HOME/parties'],
    ['', ['bugreport'], 'HOME/api-token'],
    ['given', ['camera', 'decode', 'HOME/given'], 'HOME/given'],
    ['given', ['netcheck', '--server', '127.0.0.1:9', '--ca', 'HOME/given'], 'HOME/given'],
  ])('%s: %j', (name, args, path) => {
    const { status, stderr } = runIn(homeWith(name.replaceAll('ID', party)), args);
    expect([status, stderr]).toEqual([5, `towpath: ${path} cannot be read: ${DENIED}\n`]);
  });

  test.each([['config.yaml'], ['mesh/'], ['connected.lock']])(
    'up names the user whose it must be, where it takes the mode from %s',
    (name) => {
      const { status, stderr } = runIn(homeWith(name), ['up']);
      const message = `HOME/${name.replace('/', '')} belongs to another user. Next: sudo chown -R ${USER} HOME.`;
      expect([status, stderr]).toEqual([5, `towpath: ${message}\n`]);
    },
  );

  test('a party whose folder cannot be changed is not forgotten', () => {
    const home = homeWith('');
    chownSync(home, USER, USER);
    const folder = join(home, 'parties', party);
    chownSync(folder, 0, 0);
    chmodSync(folder, 0o755);
    const { status, stderr } = runIn(home, ['party', 'leave', '--forget']);
    const denied = 'permission denied. Next: use sudo, or choose a folder of your own.';
    expect([status, stderr]).toEqual([5, `towpath: HOME/parties/ID/ID.party cannot be written: ${denied}\n`]);
  });

  test('an archive that cannot be written', () => {
    const { status, stderr } = runIn(homeWith('given/'), ['bugreport', '-o', 'HOME/given/x.tar.gz']);
    const denied = 'permission denied. Next: use sudo, or choose a folder of your own.';
    expect([status, stderr]).toEqual([5, `towpath: HOME/given/x.tar.gz cannot be written: ${denied}\n`]);
  });
});
