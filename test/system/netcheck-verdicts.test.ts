import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NetcheckReport } from '@towpath/netcheck';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PYTHON } from './support/python.ts';
import { finished, LabHost, labAvailable, type LabNat, NAT_KINDS, says } from './support/lab.ts';
import { NatLab, OURS } from './support/nat-lab.ts';

// In CI what is missing is a failure, which the tests themselves then are.
const skip = !labAvailable() && process.env.CI !== 'true';
const title = skip ? 'verdicts of netcheck (skipped: root, ip or nft missing)' : 'verdicts of netcheck';

const NAME = 'stun.example.org';
const RESOLVERS = '203.0.113.53';
const GATEWAY = new URL('../../../shared/cases/fakegw.py', import.meta.url).pathname;

describe.skipIf(skip)(title, () => {
  let natLab: NatLab;
  const folders: string[] = [];
  beforeAll(async () => {
    natLab = await NatLab.open();
  });
  afterAll(async () => {
    await natLab?.close();
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });

  /** Files that replace those of /etc for programs in this host (ip-netns(8)). */
  function etc(host: LabHost, files: Record<string, string>): void {
    const folder = join('/etc/netns', host.namespace);
    folders.push(folder);
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  }

  /** Runs `towpath netcheck`; the process must end soon after it has printed its report. */
  async function netcheck(host: LabHost, ...args: string[]): Promise<NetcheckReport> {
    const child = host.towpath(['netcheck', '--json', ...args]);
    let printedAtMs = 0;
    child.stdout?.on('data', () => {
      printedAtMs = performance.now();
    });
    const { code, stdout, stderr } = await finished(child, 20_000);
    if (code !== 0) throw new Error(stderr);
    // A question to a name server that goes on would hold the process for its five seconds.
    expect(performance.now() - printedAtMs).toBeLessThan(4_000);
    return JSON.parse(stdout);
  }

  let resolvers = 0;
  /** A name server on the internet. */
  async function nameServer(behaviour: string, ...names: string[]): Promise<string> {
    const address = `203.0.113.${60 + ++resolvers}`;
    const host = natLab.lab.host(`dns${resolvers}`, address);
    const server = host.spawn(PYTHON, ['test/system/support/name-server.py', address, behaviour, ...names]);
    await says(server, 'ready');
    return address;
  }

  describe('names (D1)', () => {
    test.each([
      ['that answers', 'ok'],
      ['that is slow', 'slow'],
    ])('a name server %s', async (_what, behaviour) => {
      const host = natLab.behind(NAT_KINDS['full-cone']);
      const server = await nameServer(behaviour, `${NAME}=${OURS[0]}`);
      etc(host, { 'resolv.conf': `nameserver ${server}\n` });
      expect(await netcheck(host, '--server', NAME)).toMatchObject({ kind: 'full cone', transport: 'udp' });
    });

    test('a lost question for IPv6 delays nothing and is not called an IPv6 that is down', async () => {
      const host = natLab.behind(NAT_KINDS['full-cone']);
      await host.run('ip', ['addr', 'add', '2001:db8:7::2/64', 'dev', 'eth0', 'nodad']);
      const server = await nameServer('no-aaaa', `${NAME}=${OURS[0]},2001:db8:7::3`);
      etc(host, { 'resolv.conf': `nameserver ${server}\n` });
      const report = await netcheck(host, '--server', NAME);
      expect(report).toMatchObject({
        kind: 'full cone',
        ipv4: { verdict: 'works' },
        ipv6: { verdict: 'could-not-ask' },
      });
      expect(report.elapsedMs).toBeLessThan(3_000);
    });

    test('a dead first name server, and a second that answers', async () => {
      const host = natLab.behind(NAT_KINDS['full-cone']);
      const server = await nameServer('ok', `${NAME}=${OURS[0]}`);
      etc(host, { 'resolv.conf': `nameserver ${RESOLVERS}\nnameserver ${server}\n` });
      expect(await netcheck(host, '--server', NAME)).toMatchObject({ kind: 'full cone', transport: 'udp' });
    });

    test.each([
      ['dead', undefined],
      ['failing', 'servfail'],
    ])('a name server that is %s says nothing about the network', async (_what, behaviour) => {
      const host = natLab.behind(NAT_KINDS['full-cone']);
      const server = behaviour === undefined ? RESOLVERS : await nameServer(behaviour);
      etc(host, { 'resolv.conf': `nameserver ${server}\n` });
      const report = await netcheck(host, '--server', NAME);
      expect(report).toMatchObject({ transport: 'unknown', unmeasured: 'names', ipv4: { verdict: 'could-not-ask' } });
      expect(report.meaning).toMatch(/^Nothing was measured\./);
    });

    test('a name that does not exist is reported, beside what another server measured, in under 3 s', async () => {
      const host = natLab.behind(NAT_KINDS['full-cone']);
      etc(host, { 'resolv.conf': `nameserver ${await nameServer('ok')}\n` });
      const report = await netcheck(host, '--server', OURS[0], '--server', NAME);
      expect(report).toMatchObject({ kind: 'full cone', servers: [{}, { error: { code: 'name-not-found' } }] });
      expect(report.servers[1]?.error?.message).toContain(NAME);
      expect(report.elapsedMs).toBeLessThan(3_000);
    });

    test('a name of the hosts file needs no name server', async () => {
      const host = natLab.behind(NAT_KINDS['full-cone']);
      etc(host, { 'resolv.conf': `nameserver ${RESOLVERS}\n`, hosts: `${OURS[0]} ${NAME}\n` });
      const report = await netcheck(host, '--server', NAME);
      expect(report).toMatchObject({ kind: 'full cone', ipv4: { verdict: 'works' } });
      expect(report.elapsedMs).toBeLessThan(3_000);
    });

    test('a server of IPv6 only is not called down where there is no IPv6', async () => {
      const host = natLab.behind(NAT_KINDS['full-cone']);
      const server = await nameServer('ok', `${NAME}=2001:db8:7::3`);
      etc(host, { 'resolv.conf': `nameserver ${server}\n` });
      const report = await netcheck(host, '--server', NAME);
      expect(report).toMatchObject({ transport: 'unknown', unmeasured: 'other-family' });
    });

    test('a captive portal that answers for every page holds the network', async () => {
      const { nat, host } = home('captive', 81);
      etc(host, { 'resolv.conf': `nameserver ${RESOLVERS}\n`, hosts: `203.0.113.99 page.example\n` });
      natLab.lab.nft(
        nat.namespace,
        `table ip portal {
          chain pre { type nat hook prerouting priority -150; tcp dport 80 redirect to :8080; }
          chain forward { type filter hook forward priority -10; drop; }
        }`,
      );
      const page = `import http.server as h
class P(h.BaseHTTPRequestHandler):
  def do_GET(s): s.send_response(302); s.send_header('Location', 'http://login.example/'); s.end_headers()
server = h.HTTPServer(('', 8080), P)
print('ready', flush=True)
server.serve_forever()`;
      const portal = new LabHost('portal', nat.namespace, nat.outside);
      await says(portal.spawn(PYTHON, ['-c', page]), 'ready', 60_000);
      const report = await netcheck(host, '--server', OURS[0], '--portal', 'http://page.example/');
      await portal.stopAll();
      expect(report).toMatchObject({
        transport: 'nothing',
        kind: 'unknown',
        portal: { state: 'portal', location: 'http://login.example/' },
      });
      expect(report.meaning).toContain('captive portal');
    });
  });

  let homes = 0;
  function home(name: string, outside: number): { nat: LabNat; host: LabHost } {
    const nat = natLab.lab.nat(`${name}${++homes}`, `203.0.113.${outside}`, NAT_KINDS['port-restricted']);
    return { nat, host: nat.host(`laptop${homes}`) };
  }

  describe('what follows the router (D2)', () => {
    const routers: LabHost[] = [];
    afterAll(async () => {
      await Promise.all(routers.map((router) => router.stopAll()));
    });

    /** A router whose NAT-PMP names an address that is not the one of its NAT: 198.51.100.77. */
    async function natPmp(nat: LabNat, address: string): Promise<void> {
      const router = new LabHost('router', nat.namespace, address);
      routers.push(router);
      router.spawn(PYTHON, [GATEWAY, 'pmp', address]);
      await expect.poll(async () => (await router.run('ss', ['-Hlun', 'sport = :5351'])).stdout).toContain(':5351');
    }
    const inside = (host: LabHost) => host.address.replace(/\d+$/, '1');
    const services = { natPmp: { state: 'answers', externalAddress: '198.51.100.77' } };

    test('a router of several uplinks, or one before another NAT, is not called the provider', async () => {
      const { nat, host } = home('multi', 82);
      await natPmp(nat, inside(host));
      const report = await netcheck(host, '--server', OURS[0]);
      expect(report).toMatchObject({ beyondGateway: 'unclear', portMapping: { services } });
    });

    test('another uplink that leads to the servers is not compared with the router', async () => {
      const { nat, host } = home('first', 83);
      const second = home('second', 84);
      natLab.lab.join(host, second.nat, 'eth1', second.host.address.replace(/\d+$/, '9/24'));
      await host.run('ip', ['route', 'add', `${OURS[0]}/32`, 'via', inside(second.host)]);
      await natPmp(nat, inside(host));
      const report = await netcheck(host, '--server', OURS[0]);
      expect(report).toMatchObject({ ipv4: { external: { address: '203.0.113.84' } }, portMapping: { services } });
      expect(report.beyondGateway).toBeUndefined();
    });

    test('servers of two uplinks do not make a symmetric NAT', async () => {
      const { host } = home('left', 85);
      const second = home('right', 86);
      natLab.lab.join(host, second.nat, 'eth1', second.host.address.replace(/\d+$/, '9/24'));
      await host.run('ip', ['route', 'add', `${OURS[1]}/32`, 'via', inside(second.host)]);
      const report = await netcheck(host, '--server', OURS[0], OURS[1]);
      expect(report.ipv4.nat?.mapping).not.toMatch(/dependent$/);
      expect(report.servers.map(({ best }) => best?.mapped?.address)).toEqual(['203.0.113.85', '203.0.113.86']);
    });

    test('behind a VPN the router of the local network is neither asked nor compared', async () => {
      const { nat, host } = home('lan', 87);
      const vpn = home('vpn', 88);
      natLab.lab.join(host, vpn.nat, 'tun0', vpn.host.address.replace(/\d+$/, '9/32'));
      await new LabHost('vpn', vpn.nat.namespace, '').run('sysctl', ['-qw', 'net.ipv4.conf.br0.proxy_arp=1']);
      await host.run('ip', ['route', 'replace', 'default', 'dev', 'tun0']);
      const back = vpn.host.address.replace(/\d+$/, '9');
      await new LabHost('vpn', vpn.nat.namespace, '').run('ip', ['route', 'replace', back, 'dev', 'br0']);
      await natPmp(nat, inside(host));
      const report = await netcheck(host, '--server', OURS[0]);
      expect(report).toMatchObject({ transport: 'udp', ipv4: { external: { address: '203.0.113.88' } } });
      expect(report.gateway).toBeUndefined();
      expect(report.portMapping?.services).toMatchObject({
        natPmp: { state: 'not-asked' },
        upnp: { state: 'not-asked', reason: expect.stringContaining('VPN') },
      });
      expect(report.beyondGateway).toBeUndefined();
    });

    test('a second router in the network that is asked by hand is not compared', async () => {
      const { nat, host } = home('main', 89);
      const address = host.address.replace(/\d+$/, '200');
      const second = natLab.lab.attach('second', nat.namespace, address, inside(host));
      second.spawn(PYTHON, [GATEWAY, 'pmp', address]);
      await expect.poll(async () => (await second.run('ss', ['-Hlun', 'sport = :5351'])).stdout).toContain(':5351');
      const report = await netcheck(host, '--server', OURS[0], '--gateway', address);
      expect(report).toMatchObject({ gateway: address, portMapping: { services } });
      expect(report.beyondGateway).toBeUndefined();
    });
  });
});
