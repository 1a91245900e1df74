import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { examineMachine } from '../../src/doctor/doctor.ts';
import { MeshError } from '../../src/mesh-error.ts';
import type { Commands } from '../../src/wireguard/command.ts';
import { requireLinux } from '../../src/wireguard/wireguard-interface.ts';

const nothingInstalled: Commands = {
  run: (name) => Promise.reject(new MeshError('program-missing', `${name} is not installed.`)),
};

describe('examineMachine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-doctor-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('says what is missing and how to install it', async () => {
    const findings = await examineMachine(
      { commands: nothingInstalled },
      { stateFolder: folder, hostsPath: join(folder, 'no', 'hosts'), platform: 'linux' },
    );
    const by = new Map(findings.map((finding) => [finding.check, finding]));
    expect(by.get('iproute2')).toMatchObject({ state: 'missing', next: 'Run "apt-get install iproute2".' });
    expect(by.get('nftables')).toMatchObject({ state: 'limited', next: 'Run "apt-get install nftables".' });
    expect(by.get('nftables')?.found).toContain('does not keep its parties apart from its other networks');
    expect(by.get('hosts')).toMatchObject({ state: 'limited' });
    expect(by.get('wireguard')?.next).toContain('apt-get install wireguard');
    for (const { state, next } of findings) expect(state === 'ok' || next !== undefined).toBe(true);
  });

  it.each([
    ['EACCES', false, true],
    ['EPERM', false, true],
    ['EACCES', true, false],
    ['ENOENT', false, false],
  ])('after %s, as root: %s, says to use sudo: %s', async (code, isRoot, usesSudo) => {
    const probe = (path: string) => {
      throw Object.assign(new Error(`${code}: ${path}`), { code });
    };
    const findings = await examineMachine(
      { commands: nothingInstalled },
      { stateFolder: folder, hostsPath: join(folder, 'hosts'), platform: 'linux', isRoot, probe },
    );
    const next = findings.find(({ check }) => check === 'hosts')?.next;
    expect([next?.includes('sudo towpath doctor'), next?.includes('writable')]).toEqual([usesSudo, !usesSudo]);
    const tun = findings.find(({ check }) => check === 'tun');
    // With the kernel module the device is not looked at.
    expect(tun?.state === 'ok' || tun?.next?.includes('modprobe') === !usesSudo).toBe(true);
  });

  it('refuses another platform in one sentence', async () => {
    const findings = await examineMachine({ commands: nothingInstalled }, { stateFolder: folder, platform: 'darwin' });
    expect(findings).toHaveLength(1);
    expect(() => requireLinux('darwin')).toThrow(/Linux only; this system is darwin/);
  });
});
