import { silentLog } from '@towpath/core';
import { describe, expect, it } from 'vitest';
import { Gateway, parseRoutedNetwork, readOffers } from '../../src/gateway/gateway.ts';
import type { Artifact } from '../../src/state/artifact.ts';
import type { Commands, Ledger } from '../../src/index.ts';

/** A machine whose networks are all reached through one device. */
function rig({ device = 'lan0', fails = false, forwards = false, policy = 'accept' } = {}) {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (message: string) => void warnings.push(message) };
  const chains = { nftables: [{ chain: { family: 'ip', table: 'filter', name: 'FORWARD', hook: 'forward', policy } }] };
  const did: string[] = [];
  const commands: Commands = {
    run: async (program, args) => {
      if (program === 'nft') return { code: 0, stdout: JSON.stringify(chains), stderr: '' };
      if (args[0] === '-n') return { code: 0, stdout: forwards ? '1\n' : '0\n', stderr: '' };
      did.push([program, ...args].join(' '));
      const code = fails && program === 'sysctl' ? 1 : 0;
      return { code, stdout: `192.168.43.1 dev ${device} src 192.168.43.2\n`, stderr: '' };
    },
  };
  const artifacts: Artifact[] = [];
  const ledger = {
    artifacts,
    record: (artifact: Artifact) => void artifacts.push(artifact),
    undo: async (artifact: Artifact) => {
      did.push('undone');
      artifacts.splice(artifacts.indexOf(artifact), 1);
    },
  } as unknown as Ledger;
  const restoreAtEnd = (settings: readonly string[]) => {
    did.push(`at the end ${settings.join(' ')}`);
    return { cancel: () => void did.push('cancelled') };
  };
  return { did, artifacts, warnings, components: { commands, ledger, log, restoreAtEnd } };
}

const OPTIONS = { interfaceName: 'tp-9876543210', offers: ['192.168.43.0/24'] };
const KEYS = ['tp-9876543210', 'lan0'].map((device) => `net.ipv4.conf.${device}.forwarding`);

describe('gateway', () => {
  it.each([
    ...['0.0.0.0/0', '10.0.0.0/7', 'fd00::/64', '192.168.43.0', 'x'],
    ...['0.0.0.0/8', '127.0.0.0/8', '127.0.0.1/32', '224.0.0.0/4', '239.255.0.0/16', '255.255.255.255/32'],
  ])('does not offer %s', (text) => {
    expect(() => parseRoutedNetwork(text)).toThrow(/no network that can be offered or accepted/);
  });

  it('reads offers in canonical form, and takes only addresses of members (C14)', () => {
    expect(
      readOffers(['192.168.43.9/24', { network: '10.0.0.0/8', from: ['10.66.0.8', '0.0.0.0/0 } accept'] }]),
    ).toEqual([
      { address: '192.168.43.0', prefixLength: 24 },
      { address: '10.0.0.0', prefixLength: 8, from: ['10.66.0.8'] },
    ]);
  });

  it('does not offer a network that is reached through another party (C14)', async () => {
    const { did, components } = rig({ device: 'tp-0123456789' });
    const options = { ...OPTIONS, offers: ['10.91.0.0/16'] };
    await expect(Gateway.open(components, options)).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('through a party itself'),
    });
    expect(did).toEqual(['ip -4 -o route get 10.91.0.0']);
  });

  it('makes the kernel forward after it is sure that this ends with the process, and ends it (C14)', async () => {
    const { did, artifacts, components } = rig();
    const gateway = await Gateway.open(components, OPTIONS);
    expect(artifacts).toEqual(KEYS.map((key) => ({ kind: 'sysctl', key, previous: '0' })));
    await gateway.close();
    await gateway.close();
    expect(did.slice(1)).toEqual([
      `at the end ${KEYS.map((key) => `${key}=0`).join(' ')}`,
      ...KEYS.map((key) => `sysctl -qw ${key}=1`),
      ...['cancelled', 'undone', 'undone', 'cancelled'],
    ]);
    expect(artifacts).toEqual([]);
  });

  it('changes nothing on a machine that forwards already (C14)', async () => {
    const { did, artifacts, components } = rig({ forwards: true });
    const gateway = await Gateway.open(components, OPTIONS);
    await gateway.close();
    expect([artifacts, did]).toEqual([[], ['ip -4 -o route get 192.168.43.0']]);
  });

  it('leaves the settings as they were when one of them cannot be changed (C14)', async () => {
    const { artifacts, components, did } = rig({ fails: true });
    await expect(Gateway.open(components, OPTIONS)).rejects.toMatchObject({ code: 'command-failed' });
    expect([artifacts, did.at(-1)]).toEqual([[], 'undone']);
  });

  it('says so where another program drops forwarded packets by default, which it cannot override (C14)', async () => {
    const { warnings, components } = rig({ policy: 'drop' });
    await using _gateway = await Gateway.open(components, OPTIONS);
    expect(warnings).toEqual([expect.stringContaining('only where its rules accept packets from tp-9876543210')]);
    const open = rig();
    await using _other = await Gateway.open(open.components, OPTIONS);
    expect(open.warnings).toEqual([]);
  });
});
