import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { configFolder } from '../src/config/folder.ts';

const TOWPATH = fileURLToPath(new URL('../bin/towpath.js', import.meta.url));
/** Nobody has this number. */
const UNKNOWN_USER = 4_123_456;

function run(args: readonly string[], env: Record<string, string>, user?: number) {
  const as = user === undefined ? {} : { uid: user, gid: user };
  const options = { encoding: 'utf8', timeout: 60_000, killSignal: 'SIGKILL' } as const;
  return spawnSync(process.execPath, [TOWPATH, ...args], { env, ...options, ...as });
}

test('TOWPATH_HOME comes first, then XDG_CONFIG_HOME, then the home folder', () => {
  expect(configFolder({ TOWPATH_HOME: '/a', XDG_CONFIG_HOME: '/b' })).toBe('/a');
  expect(configFolder({ XDG_CONFIG_HOME: '/b' })).toBe('/b/towpath');
});

test.each([
  ['no HOME', {}],
  ['an empty HOME', { HOME: '' }],
  ['a HOME that is not absolute', { HOME: 'here' }],
  ['an XDG_CONFIG_HOME that is not absolute', { HOME: '', XDG_CONFIG_HOME: 'here' }],
])('with %s the keys lie where the system has the home folder, and not wherever a command is run', (_which, env) => {
  const { stdout } = run(['config', 'path'], env);
  expect(stdout.trim()).toBe(join(userInfo().homedir, '.config', 'towpath', 'config.yaml'));
});

test.skipIf(process.getuid?.() !== 0)('a user without a home folder is told what to set; help needs none', () => {
  const { status, stdout, stderr } = run(['camera', 'list', '--json'], {}, UNKNOWN_USER);
  const message =
    'This user has no home folder (HOME is not set, and the system knows none). Next: set TOWPATH_HOME to a folder for keys and settings.';
  expect([status, stderr, JSON.parse(stdout)]).toEqual([
    5,
    `towpath: ${message}\n`,
    expect.objectContaining({ type: 'error', error: { code: 'no-home', message } }),
  ]);
  expect(run(['--help'], {}, UNKNOWN_USER).status).toBe(0);
});

test.skipIf(!existsSync('/proc/self'))(
  'a home that cannot be made is an error with the next step, and not waited for',
  () => {
    const home = '/proc/towpath/home';
    const { status, stderr } = run(['party', 'create', 'camp', '--server', 'http://127.0.0.1:9'], {
      TOWPATH_HOME: home,
    });
    expect([status, stderr]).toEqual([
      5,
      `towpath: ${home} cannot be written: its folder does not exist. Next: create it, or choose another one.\n`,
    ]);
  },
  90_000,
);
