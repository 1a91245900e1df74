import type { NetcheckReport } from '@towpath/netcheck';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { finished, type LabHost, labAvailable, NAT_KINDS } from './support/lab.ts';
import { nineNats } from '@towpath/net/simulated';
import { NatLab, OURS } from './support/nat-lab.ts';

const CI = process.env.CI === 'true';
const missing = !labAvailable();

const LIMIT_MS = 3_000;

/** Runs `towpath netcheck` inside a host. */
async function netcheck(host: LabHost, ...args: string[]): Promise<NetcheckReport> {
  const { code, stdout, stderr } = await finished(host.towpath(['netcheck', '--json', ...args]), 20_000);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

const SERVER = ['--server', OURS[0]];

describe.skipIf(missing && !CI)(
  missing
    ? 'towpath netcheck (skipped: needs root, iproute2 and nftables)'
    : 'towpath netcheck behind NATs of the kernel',
  () => {
    let lab: NatLab;
    beforeAll(async () => {
      lab = await NatLab.open();
    });
    afterAll(() => lab?.close());

    test.each([
      ...nineNats.map((kind) => ({ ...kind, title: kind.name })),
      { ...NAT_KINDS['symmetric-sequential'], name: 'symmetric', title: 'symmetric, with ports in sequence' },
    ])('names what is $title in under 3 s (C3)', async ({ name, title: _title, ...kind }) => {
      const host = lab.behind(kind);
      const report = await netcheck(host, ...SERVER);
      expect(report).toMatchObject({ kind: name, transport: 'udp', ipv4: { reachable: true } });
      expect(report.ipv4.nat).toMatchObject({ mapping: kind.mapping, filtering: kind.filtering });
      expect(report.addresses).toContainEqual(expect.objectContaining({ interface: 'eth0', address: host.address }));
      expect(report.gateway).toBe(host.address.replace(/\d+$/, '1'));
      expect(report.servers[0]?.transports.map(({ error }) => error)).toEqual([undefined, undefined]);
      expect(report.elapsedMs).toBeLessThan(LIMIT_MS);
    });

    test('detects sequential ports although its own probes use up ports', async () => {
      const host = lab.behind(NAT_KINDS['symmetric-sequential']);
      const report = await netcheck(host, ...SERVER, '--relay', OURS[1]);
      expect(report.ipv4.nat).toMatchObject({ ports: 'sequential', portStep: 1 });
      expect(report.reachability).toContainEqual({ peer: 'port-restricted cone', reachability: 'port-prediction' });
    });

    test('reports "TCP only" where UDP is blocked, in under 3 s, and reaches relays over TCP', async () => {
      const host = lab.behind(NAT_KINDS['udp-blocked']);
      const args = [...SERVER, '--relay', OURS[1]];
      const report = await netcheck(host, ...args);
      expect(report).toMatchObject({ kind: 'UDP blocked', transport: 'tcp-only' });
      expect(report.servers.map(({ best }) => best?.transport)).toEqual(['tcp', 'tcp']);
      expect(report.elapsedMs).toBeLessThan(LIMIT_MS);
      const { stdout } = await finished(host.towpath(['netcheck', ...args]), 20_000);
      expect(stdout).toContain('TCP only');
    });

    test('distinguishes a host without a network from servers that are down, in under 3 s', async () => {
      const host = lab.behind(NAT_KINDS['full-cone']);
      const gone = await netcheck(host, '--server', '203.0.113.99');
      expect(gone).toMatchObject({ transport: 'nothing', ipv4: { reachable: false } });
      expect(gone.elapsedMs).toBeLessThan(LIMIT_MS);
      await host.run('ip', ['link', 'set', 'eth0', 'down']);
      await host.run('ip', ['addr', 'flush', 'dev', 'eth0']);
      const alone = await netcheck(host, ...SERVER);
      expect(alone).toMatchObject({ transport: 'nothing', addresses: [] });
      expect(alone.gateway).toBeUndefined();
      expect(alone.ipv4.why).toBe('This machine has no IPv4 address.');
      expect(alone.elapsedMs).toBeLessThan(LIMIT_MS);
    });
  },
);
