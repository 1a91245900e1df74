import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '@towpath/core';
import type { NetcheckReport } from '@towpath/netcheck';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { finished, Lab, LabHost, type LabNat, labAvailable, NAT_KINDS, says } from './support/lab.ts';

const CI = process.env.CI === 'true';
const DAEMON = 'miniupnpd';
const missing = !labAvailable() || spawnSync(DAEMON, ['-h']).error !== undefined;
const clock = new SystemClock();

const MAP_PORT = new URL('./support/map-port.ts', import.meta.url).pathname;

/** Outside addresses must look public: the daemon refuses to serve with any other. */
const outside = (host: number) => `11.0.0.${host}`;
const PORT = 41_000;
/** Renewed after half of it. */
const LIFETIME_S = 20;

/** Rules that miniupnpd fills, and one that makes it a gateway of the wanted kind. */
function rules(kind: string): string {
  const habits: Record<string, string> = {
    pcp: '',
    // A gateway that knows only the older protocol: PCP has a version that it does not support.
    'nat-pmp': 'udp dport 5351 @th,64,8 2 @th,64,8 set 3',
    upnp: 'udp dport 5351 drop',
    'upnp of version 1': 'udp dport 5351 drop',
  };
  return `
table inet habits {
  chain prerouting { type filter hook prerouting priority -300; ${habits[kind]}; }
}
table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
}
`.replace('; ; }', '; }');
}

const configuration = (kind: string) => `
force_igd_desc_v1=${kind === 'upnp of version 1' ? 'yes' : 'no'}
ext_ifname=wan
listening_ip=br0
port=5000
enable_natpmp=yes
enable_upnp=yes
min_lifetime=${LIFETIME_S}
max_lifetime=86400
secure_mode=yes
system_uptime=yes
clean_ruleset_interval=600
uuid=00000000-0000-0000-0000-000000000001
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
`;

/** A home whose gateway runs miniupnpd. */
interface Home {
  nat: LabNat;
  laptop: LabHost;
}

describe.skipIf(missing && !CI)(
  missing ? 'miniupnpd as the gateway (skipped: needs root, nftables and miniupnpd)' : 'miniupnpd as the gateway',
  () => {
    let lab: Lab;
    let folder: string;
    let stranger: LabHost;
    const gateways: LabHost[] = [];
    let homes = 0;

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'towpath-upnp-'));
      lab = new Lab();
      stranger = lab.host('stranger', outside(10));
    });

    afterAll(async () => {
      await Promise.all(gateways.map((gateway) => gateway.stopAll()));
      await lab?.close();
      rmSync(folder, { recursive: true, force: true });
    });

    async function home(kind: string): Promise<Home> {
      const number = ++homes;
      const nat = lab.nat(`gw${number}`, outside(20 + number), NAT_KINDS['port-restricted']);
      lab.nft(nat.namespace, rules(kind));
      const laptop = nat.host(`laptop${number}`);
      const file = join(folder, `${number}.conf`);
      writeFileSync(file, configuration(kind));
      const options = ['-d', '-f', file, '-P', join(folder, `${number}.pid`)];
      const gateway = new LabHost('gateway', nat.namespace, nat.outside);
      gateways.push(gateway);
      await says(gateway.spawn(DAEMON, options), 'Listening for NAT-PMP/PCP');
      return { nat, laptop };
    }

    /** The forwardings that the gateway has now. */
    const forwardings = ({ nat }: Home) =>
      execFileSync(
        'ip',
        ['netns', 'exec', nat.namespace, 'nft', 'list', 'chain', 'inet', 'filter', 'prerouting_miniupnpd'],
        {
          encoding: 'utf8',
        },
      ).match(/dnat.*/g) ?? [];

    /** A datagram from an address that nobody here has sent to. */
    const sendProbes = ({ nat }: Home, port: number) =>
      stranger.run('bash', ['-c', `echo hello > /dev/udp/${nat.outside}/${port}`]);

    test.concurrent.each([
      ['pcp', 'pcp', 'no-upnp'],
      ['nat-pmp', 'nat-pmp', 'no-upnp'],
      ['upnp', 'upnp', 'upnp'],
      ['upnp of version 1', 'upnp', 'upnp'],
    ])('%s: a stranger gets in, the lease is renewed, and removed at the end (C3)', async (kind, via, upnp) => {
      const at = await home(kind);
      const args = [MAP_PORT, String(PORT), String(LIFETIME_S), upnp];
      const mapper = at.laptop.spawn(process.execPath, args);
      let story = '';
      mapper.stdout?.on('data', (chunk) => {
        story += chunk;
      });
      const line = /mapped (.*)\n/.exec(await says(mapper, /mapped .*\n/))?.[1];
      const mappedAt = clock.now();
      const granted = JSON.parse(line!);
      expect(granted).toMatchObject({ via, external: { address: at.nat.outside }, lifetimeMs: LIFETIME_S * 1_000 });
      expect(forwardings(at)).toHaveLength(1);

      await sendProbes(at, granted.external.port);
      await vi.waitFor(() => expect(story).toContain('heard hello'), 5_000);

      // Half as long again as the lease: without renewal the gateway would have forgotten it.
      await clock.sleep(1.5 * LIFETIME_S * 1_000 - (clock.now() - mappedAt));
      expect(forwardings(at)).toHaveLength(1);
      expect(story).not.toMatch(/lost|changed/);
      story = '';
      await sendProbes(at, granted.external.port);
      await vi.waitFor(() => expect(story).toContain('heard hello'), 5_000);

      mapper.kill('SIGTERM');
      await says(mapper, 'removed', 10_000);
      expect(forwardings(at)).toEqual([]);
    });

    test.concurrent('a lease that nobody renews is forgotten by the gateway, so the renewal above is what kept it', async () => {
      const at = await home('pcp');
      const args = [MAP_PORT, String(PORT), String(LIFETIME_S), 'no-upnp'];
      const mapper = at.laptop.spawn(process.execPath, args);
      await says(mapper, 'mapped');
      mapper.kill('SIGKILL');
      const limits = { timeout: 1.5 * LIFETIME_S * 1_000, interval: 500 };
      await vi.waitFor(() => expect(forwardings(at)).toEqual([]), limits);
    });

    test.concurrent.each([
      ['pcp', { pcp: { state: 'answers' }, natPmp: { state: 'answers' }, upnp: { state: 'answers' } }],
      ['upnp', { pcp: { state: 'silent' }, natPmp: { state: 'silent' }, upnp: { state: 'answers' } }],
    ])('netcheck at a gateway of kind %s says what it offers, and maps only when asked', async (kind, services) => {
      const at = await home(kind);
      const check = async (...args: string[]): Promise<NetcheckReport> => {
        const { stdout } = await finished(at.laptop.towpath(['netcheck', '--json', ...args]), 20_000);
        return JSON.parse(stdout);
      };
      const asked = await check();
      expect(asked.portMapping).toMatchObject({ services });
      expect(asked.portMapping?.mapped).toBeUndefined();
      const mapped = await check('--port-mapping');
      expect(mapped.portMapping?.mapped).toMatchObject({ via: kind, external: { address: at.nat.outside } });
      expect(mapped.elapsedMs).toBeLessThan(3_000);
      expect(forwardings(at)).toEqual([]);
    });
  },
);
