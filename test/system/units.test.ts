import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { unitText } from '../../packages/towpath/src/commands/daemon/unit.ts';
import { daemonUnit, serveUnit } from '../../packaging/deb/files.ts';

const isPossible = spawnSync('systemd-analyze', ['--version']).status === 0;
const deployed = readFileSync(join(import.meta.dirname, '../../deploy/towpath.service'), 'utf8');
const program: [node: string, script: string] = [process.execPath, '/dev/null'];
const node = { program, stateFolder: '/var/lib/towpath' };

/** Tenths of systemd's exposure level. WireGuard and the hosts file need root, a capability and a device. */
const UNITS: readonly (readonly [name: string, text: string, exposure: number])[] = [
  ['the daemon, as installed by the command line', unitText({ ...node, camerasOnly: false }), 45],
  ['the daemon without parties', unitText({ ...node, camerasOnly: true }), 20],
  ["the package's daemon", daemonUnit(), 45],
  ["the package's control plane", serveUnit(deployed), 15],
  ['the control plane of a clone', deployed, 15],
];

describe.skipIf(!isPossible)('units of systemd', () => {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-units-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each(UNITS)('%s: no fault, and no more exposed than it has to be', (_name, text, exposure) => {
    const path = join(folder, 'towpath.service');
    // The programs are elsewhere until they are installed.
    writeFileSync(
      path,
      text.replace(
        /^ExecStart=(\/usr\/bin\/towpath|\/usr\/bin\/node \S+|\/usr\/lib\/towpath\/bin\/node)/m,
        `ExecStart=${process.execPath}`,
      ),
    );
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' });
    expect(verified.stderr.split('\n').filter((line) => line.includes('towpath.service'))).toEqual([]);
    const security = ['security', '--offline=true', '--no-pager', `--threshold=${exposure}`, path];
    const { status, stdout } = spawnSync('systemd-analyze', security, { encoding: 'utf8' });
    expect(status, stdout).toBe(0);
  });
});
