import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const isPossible = process.getuid?.() === 0 && spawnSync('dpkg-deb', ['--version']).status === 0;

/** A machine on which nothing but this is installed: the host's files, with a layer of its own for what is written. */
describe.skipIf(!isPossible)('the Debian package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-deb-test-'));
  const [upper, work, machine, elsewhere] = ['upper', 'work', 'machine', 'elsewhere'].map((name) => join(folder, name));
  let file: string;
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  /** With the host's environment it would find the host's Node and folders. */
  const inside = (command: string, env: Record<string, string> = {}) =>
    spawnSync('unshare', ['--mount', 'chroot', machine!, '/bin/sh', '-c', command], {
      encoding: 'utf8',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', HOME: '/root', ...env },
    });

  beforeAll(() => {
    run(
      join(root, 'node_modules/.bin/node'),
      join(root, 'packaging/deb/build.ts'),
      '--arch',
      'amd64',
      '--output',
      folder,
    );
    file = readdirSync(folder).find((name) => name.endsWith('_amd64.deb'))!;
    for (const each of [upper, work, machine, elsewhere]) mkdirSync(each!);
    run('mount', '-t', 'tmpfs', 'tmpfs', elsewhere!);
    const layers = ['upper', 'work'].map((name) => join(elsewhere!, name));
    for (const layer of layers) mkdirSync(layer);
    run('mount', '-t', 'overlay', 'overlay', '-o', `lowerdir=/,upperdir=${layers[0]},workdir=${layers[1]}`, machine!);
    run('mount', '-t', 'proc', 'proc', join(machine!, 'proc'));
    run('mount', '-t', 'tmpfs', 'tmpfs', join(machine!, 'tmp'));
    run('mount', '-t', 'tmpfs', 'tmpfs', join(machine!, 'run'));
    run('mount', '--bind', '/dev', join(machine!, 'dev'));
    run('cp', join(folder, file), join(machine!, 'tmp'));
  }, 400_000);

  afterAll(() => {
    for (const path of ['dev', 'run', 'tmp', 'proc', '']) spawnSync('umount', ['-l', join(machine!, path)]);
    spawnSync('umount', ['-l', elsewhere!]);
    rmSync(folder, { recursive: true, force: true });
  });

  test('says what it is, and holds Node, units, manual pages, completion and a user; all of it belongs to root', () => {
    const info = run('dpkg-deb', '--info', join(folder, file));
    expect(info).toMatch(/Package: towpath\n/);
    expect(info).toContain('Architecture: amd64');
    const contents = run('dpkg-deb', '--contents', join(folder, file));
    for (const path of [
      './usr/bin/towpath',
      './usr/lib/towpath/bin/node',
      './usr/lib/systemd/system/towpath.service',
      './usr/lib/systemd/system/towpath-serve.service',
      './usr/lib/sysusers.d/towpath.conf',
      './usr/share/man/man1/towpath.1.gz',
      './usr/share/man/man1/towpath-camera.1.gz',
      './usr/share/bash-completion/completions/towpath',
      './usr/share/zsh/vendor-completions/_towpath',
      './usr/share/fish/vendor_completions.d/towpath.fish',
      './usr/share/doc/towpath/copyright',
      './usr/lib/towpath/node_modules/@towpath/dashboard/page/index.html',
    ]) {
      expect(contents).toContain(` ${path}\n`);
    }
    const lines = contents.trim().split('\n');
    expect(lines.filter((line) => !line.includes(' root/root '))).toEqual([]);
    expect(lines.filter((line) => /^-.{4}w|^-.{7}w/.test(line))).toEqual([]);
    expect(contents).not.toMatch(/node_modules\/(typescript|vitest|vite|react)\//);
  });

  test('is installed, runs with its own Node, holds a camera, and is purged without a trace', () => {
    const before = changed();
    const installed = inside(`dpkg -i /tmp/${file}`);
    expect([installed.status, installed.stderr]).toEqual([0, expect.not.stringContaining('error')]);
    expect(inside('getent passwd towpath').stdout).toContain('/usr/sbin/nologin');
    expect(inside('stat -c "%a %U" /var/lib/towpath').stdout).toBe('700 root\n');

    const help = inside('towpath --help');
    expect([help.status, help.stderr]).toEqual([0, '']);
    expect(help.stdout).toContain('hold parties and cameras');
    expect(inside('/usr/lib/towpath/bin/node --version').stdout).toMatch(/^v24\./);
    expect(inside('towpath config path').stdout).toBe('/var/lib/towpath/config.yaml\n');
    const complete = inside(
      'bash -c ". /usr/share/bash-completion/completions/towpath; COMP_WORDS=(towpath stat); COMP_CWORD=1; _towpath; echo \\$COMPREPLY"',
    );
    expect(complete.stdout).toBe('status\n');

    const held = inside(
      'towpath camera add feeder 127.0.0.1 && (towpath up --api-port 0 --for 6 --json > /tmp/up & sleep 4; towpath status --json; page=$(towpath dashboard); test -n "$page"; wait)',
    );
    expect([
      held.status,
      JSON.parse(held.stdout.split('\n').find((line) => line.includes('"status"')) ?? '{}'),
    ]).toMatchObject([0, { type: 'status', cameras: [{ name: 'feeder' }] }]);

    const units = inside(
      'cat /usr/lib/systemd/system/towpath.service /usr/lib/systemd/system/towpath-serve.service',
    ).stdout;
    expect(units).toContain(
      'ExecStart=/usr/lib/towpath/bin/node --max-semi-space-size=1 --optimize-for-size /usr/lib/towpath/bin/towpath.js up --wait\n',
    );
    expect(units).toContain('ExecStart=/usr/bin/towpath serve --address 0.0.0.0 --data /var/lib/towpath-serve ');

    const purged = inside('dpkg -P towpath');
    expect(purged.status).toBe(0);
    expect(inside('getent passwd towpath').stdout).toBe('');
    const left = changed().filter((path) => !before.includes(path) && !OF_THE_SYSTEM.test(path));
    expect(left).toEqual([]);
  });

  test('a new version keeps configuration, keys and pictures, and its program is the new one', () => {
    const next = join(folder, 'next');
    run('dpkg-deb', '-R', join(folder, file), next);
    writeFileSync(
      join(next, 'DEBIAN/control'),
      readFileSync(join(next, 'DEBIAN/control'), 'utf8').replace(/^Version: .*/m, '$&+next'),
    );
    writeFileSync(join(next, 'usr/lib/towpath/marker'), 'next');
    run('dpkg-deb', '--root-owner-group', '-Znone', '--build', next, join(machine!, 'tmp/next.deb'));
    rmSync(next, { recursive: true });
    const done = inside(`dpkg -i /tmp/${file} && towpath camera add feeder 127.0.0.1 --ports 1`);
    expect(done.status, done.stderr).toBe(0);
    // Keys and the log of the daemon too.
    expect(inside('towpath up --api-port 0 --for 1').status).toBe(0);
    inside('mkdir -p /var/lib/towpath/pictures/feeder && echo picture >/var/lib/towpath/pictures/feeder/one.jpg');
    const state = () => inside('cd /var/lib/towpath && find . -type f -exec sha256sum {} + | sort -k 2').stdout;
    const before = state();
    expect(before).toMatch(/config\.yaml\n[\s\S]*one\.jpg\n/);
    const upgraded = inside('dpkg -i /tmp/next.deb');
    expect([upgraded.status, upgraded.stderr]).toEqual([0, '']);
    expect(inside('dpkg -s towpath').stdout).toMatch(/^Status: install ok installed\n[\s\S]*^Version: .*\+next$/m);
    expect(inside('cat /usr/lib/towpath/marker').stdout).toBe('next');
    expect(state()).toBe(before);
    expect(inside('stat -c "%a %U" /var/lib/towpath').stdout).toBe('700 root\n');
    expect(inside('towpath camera list').stdout).toMatch(/^feeder /m);
    // And back, as somebody does who is not content.
    expect(inside(`dpkg -i /tmp/${file}; test ! -e /usr/lib/towpath/marker`).status).toBe(0);
    expect(state()).toBe(before);
    expect(inside('dpkg -P towpath').status).toBe(0);
  });

  /** What dpkg and the user database note for themselves. */
  const OF_THE_SYSTEM =
    /^(var\/lib\/dpkg|var\/log|var\/cache|etc\/(passwd|group|shadow|gshadow|subuid|subgid|\.pwd\.lock))/;

  /** Files of the machine's own layer; a file of the host that was removed is a device there. */
  function changed(): string[] {
    const layer = join(elsewhere!, 'upper');
    return readdirSync(layer, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && !entry.isCharacterDevice())
      .map((entry) => relative(layer, join(entry.parentPath, entry.name)))
      .sort();
  }

  test('the container image is made of it', () => {
    const text = readFileSync(join(root, 'deploy/Dockerfile.deb'), 'utf8');
    expect(text).toMatch(/COPY towpath_\*_\$\{TARGETARCH\}\.deb /);
  });
});
