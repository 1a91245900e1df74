import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PYTHON } from './support/python.ts';
import { Lab, type LabHost, says } from './support/lab.ts';
import { PartyHost } from './support/party.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const SERVER = '203.0.113.10';
const ANN = '203.0.113.21';
/** One more address of `ann`. */
const OTHER = '198.51.100.1';
const DEVICE = '192.168.77.2';
const PORT = '7000';
const PROGRAM = 'test/system/support/datagrams.py';

interface Dropped {
  strangers: number;
  forged: number;
  notOffered: number;
  intoParty: number;
}

interface Status {
  parties: {
    party: string;
    address: string;
    interface: string;
    network: { here: string };
    filter: { problem: string | null; dropped: Dropped } | null;
  }[];
  peers: { party: string; name: string; virtualIp: string; status: string; dataPlane: string }[];
}

/**
 * `ann` is in both parties, `ben` in the first and `carl` in the second only. `ann` forwards, for a device in a network of its own,
 * and the kernel does not check sources; `neighbour` is in the network of `ann`'s uplink.
 */
describe.skipIf(!wireGuardAvailable())('a machine in two parties that forwards (C4, C14)', () => {
  let lab: Lab;
  let folder: string;
  let hosts: Record<'ann' | 'ben' | 'carl' | 'neighbour' | 'device', LabHost>;
  let members: Record<'ann' | 'ben' | 'carl', PartyHost>;

  beforeEach(async () => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-filter-'));
    const server = new PartyHost('server', lab.host('server', SERVER), folder);
    const serve = ['serve', '--open', '--address', SERVER, '--allow-peer', '203.0.113.0/24'];
    await says(server.start(...serve), /serving/, 60_000);
    const ann = lab.host('ann', ANN);
    hosts = {
      ann,
      ben: lab.host('ben', '203.0.113.22'),
      carl: lab.host('carl', '203.0.113.23'),
      neighbour: lab.host('neighbour', '203.0.113.24'),
      device: lab.behind(ann, 'device', 'lan0', '192.168.77'),
    };
    for (const key of ['all.rp_filter=0', 'default.rp_filter=0', 'eth0.rp_filter=0', 'lan0.rp_filter=0'])
      await ann.run('sysctl', ['-qw', `net.ipv4.conf.${key}`]);
    await ann.run('ip', ['address', 'add', `${OTHER}/32`, 'dev', 'lo']);
    const member = (name: 'ann' | 'ben' | 'carl') => {
      const hostsFile = join(folder, `hosts-${name}`);
      writeFileSync(hostsFile, '127.0.0.1\tlocalhost\n');
      mkdirSync(join(folder, name), { mode: 0o700 });
      return new PartyHost(name, hosts[name], folder, { TOWPATH_HOSTS: hostsFile });
    };
    members = { ann: member('ann'), ben: member('ben'), carl: member('carl') };
    for (const [party, guest] of [
      ['camp', members.ben],
      ['farm', members.carl],
    ] as const) {
      await members.ann.told('party', 'create', party, '--server', SERVER, '--as', 'ann');
      const { code } = await members.ann.told<{ code: string }>('party', 'invite', party);
      await guest.told('party', 'join', code, '--server', SERVER, '--as', guest.name);
    }
  });
  afterEach(async () => {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const statusOf = (name: 'ann' | 'ben' | 'carl') => members[name].told<Status>('status');

  async function up(config: Partial<Record<'ann' | 'ben' | 'carl', string>> = {}) {
    const running = Object.values(members).map((member) => {
      const text = config[member.name as 'ann'] ?? '';
      writeFileSync(join(folder, member.name, 'config.yaml'), text, { mode: 0o600 });
      return member.start('up', '--api-port', '0');
    });
    await Promise.all(running.map((child, at) => says(child, at === 1 ? /camp is up: / : /farm is up: /, 60_000)));
    const peers = async () => {
      const all = await Promise.all([statusOf('ann'), statusOf('ben'), statusOf('carl')]);
      return all.flatMap((each) => each.peers.map(({ status, dataPlane }) => `${status} ${dataPlane}`));
    };
    await expect.poll(peers, { interval: 500, timeout: 60_000 }).toEqual(Array(4).fill('connected splice'));
    const { parties, peers: seen } = await statusOf('ann');
    const [camp, farm] = ['camp', 'farm'].map((name) => parties.find(({ party }) => party === name)!);
    const [ben, carl] = ['ben', 'carl'].map((name) => seen.find((peer) => peer.name === name)!.virtualIp);
    return { running, camp: camp!, farm: farm!, ben: ben!, carl: carl! };
  }

  async function listen(host: LabHost, ...more: string[]): Promise<() => string[]> {
    const child = host.spawn(PYTHON, [PROGRAM, 'listen', PORT, ...more]);
    let text = '';
    child.stdout?.on('data', (chunk) => {
      text += chunk;
    });
    await says(child, 'listening');
    return () => text.split('\n').filter((line) => line.includes(' from '));
  }

  const send = (
    host: LabHost,
    to: string,
    text: string,
    { source = '0.0.0.0', port = PORT, times = 1 }: { source?: string; port?: string; times?: number } = {},
  ) => host.run(PYTHON, [PROGRAM, 'send', to, port, text, source, String(times)]);

  /** Sends what must not arrive three times: a tunnel may lose one. */
  const attack = (host: LabHost, to: string, text: string, source?: string) =>
    send(host, to, text, { times: 3, ...(source && { source }) });

  const heard = (lines: () => string[], text: string) =>
    expect.poll(() => lines().filter((line) => line.startsWith(`${text} `)).length, { timeout: 10_000 }).toBe(1);

  const dropped = async (party: string) =>
    (await statusOf('ann')).parties.find((each) => each.party === party)!.filter!.dropped;

  /** Lets `ben` put any address into the tunnel that `ann`'s machine would forward. */
  async function routeIntoTunnel(here: Status['parties'][number], networks: string[]): Promise<void> {
    const { ben } = hosts;
    const [own] = (await statusOf('ben')).parties;
    const peers = await ben.run('wg', ['show', own!.interface, 'peers']);
    const allowed = [`${here.address}/32`, ...networks].join(',');
    const set = ['set', own!.interface, 'peer', peers.stdout.trim(), 'allowed-ips', allowed];
    expect(await ben.run('wg', set)).toMatchObject({ code: 0 });
    for (const network of networks) await ben.run('ip', ['route', 'replace', network, 'dev', own!.interface]);
  }

  it('refuses neighbours, members of the other party and ways into its networks, and counts them', async () => {
    const { running, camp, farm, ben, carl } = await up({
      ann: 'parties: [{ party: camp, lan: true }, { party: farm }]\n',
      ben: 'parties: [{ party: camp, lan: true }]\n',
    });
    const { ann, neighbour, device, carl: carlHost } = hosts;
    const atAnn = await listen(ann);
    const atDevice = await listen(device, 'answer');
    const atBen = await listen(hosts.ben);
    const atCarl = await listen(carlHost);

    // A neighbour: to ann's virtual address, and from that of a member.
    await neighbour.run('ip', ['route', 'add', camp.network.here, 'via', ANN]);
    await neighbour.run('ip', ['address', 'add', `${ben}/32`, 'dev', 'lo']);
    await send(neighbour, ANN, 'open');
    await attack(neighbour, camp.address, 'stranger');
    await attack(neighbour, ANN, 'forged', ben);
    await neighbour.run('ip', ['address', 'delete', `${ben}/32`, 'dev', 'lo']);
    // Through ann to a member.
    await attack(neighbour, ben, 'through');
    await attack(device, ben, 'through');
    // A member: to the device, to ann in the other party, and through ann to a member of it.
    await routeIntoTunnel(camp, [farm.network.here, '192.168.77.0/24', `${OTHER}/32`]);
    await send(hosts.ben, camp.address, 'member');
    await attack(hosts.ben, DEVICE, 'not offered');
    await attack(hosts.ben, farm.address, 'other party');
    await attack(hosts.ben, carl, 'other member');
    await attack(hosts.ben, OTHER, 'other address');
    await heard(atAnn, 'member');
    expect(atAnn()).toEqual([`open from 203.0.113.24 to ${ANN}`, `member from ${ben} to ${camp.address}`]);
    expect([atDevice(), atBen(), atCarl()]).toEqual([[], [], []]);
    await expect
      .poll(() => dropped('camp'), { interval: 1_000, timeout: 20_000 })
      .toMatchObject({ strangers: 3, forged: 3, intoParty: 6 });
    // At least one of each kind. What is for the machine's address in the other party is dropped by whichever party's rules were made first.
    const between = async () => (await dropped('camp')).notOffered + (await dropped('farm')).strangers;
    await expect.poll(between, { interval: 1_000, timeout: 20_000 }).toBeGreaterThan(9);
    expect(await between()).toBeLessThanOrEqual(12);
    expect(await dropped('farm')).toMatchObject({ forged: 0, notOffered: 0, intoParty: 0 });
    const said = (await members.ann.run('status')).stdout.replace(/\s+/g, ' ');
    expect(said).toContain("Packets dropped: 3 from other networks to this machine's virtual address");

    // What must go on: the machine itself, broadcasts, published ports, and what its own rules send in its name.
    await send(ann, camp.address, 'itself', { source: camp.address });
    await heard(atAnn, 'itself');
    await send(hosts.ben, '10.66.255.255', 'broadcast');
    await heard(atAnn, 'broadcast');
    expect(atAnn()).toContain(`broadcast from ${ben} to 10.66.255.255`);
    lab.nft(
      ann.namespace,
      `table ip own {
        chain pre { type nat hook prerouting priority -100; iifname "${camp.interface}" udp dport 8080 dnat to ${DEVICE}:${PORT}; }
        chain post { type nat hook postrouting priority 100; ip saddr 192.168.77.0/24 masquerade; }
      }`,
    );
    expect((await send(hosts.ben, camp.address, 'published', { port: '8080' })).stdout).toBe('back: published\n');
    await send(device, ben, 'in its name');
    await heard(atBen, 'in its name');
    expect(atBen()).toContain(`in its name from ${camp.address} to ${ben}`);

    // Somebody else flushes the rules: they come back.
    await ann.run('nft', ['flush', 'ruleset']);
    await expect
      .poll(async () => (await ann.run('nft', ['list', 'tables'])).stdout.match(/towpath-filter/g)?.length, {
        interval: 200,
        timeout: 20_000,
      })
      .toBe(2);
    await attack(neighbour, camp.address, 'again');
    expect(atAnn().filter((line) => line.startsWith('again'))).toEqual([]);

    const ended = once(running[0]!, 'exit');
    running[0]!.kill('SIGKILL');
    await ended;
    await expect
      .poll(async () => (await ann.run('nft', ['list', 'tables'])).stdout, { timeout: 10_000 })
      .not.toContain('towpath-filter');
  });

  it('lets members reach what it offers to them, and nothing else', async () => {
    const { ben, camp, farm } = await up({
      ann: 'parties: [{ party: camp, offer: [{ network: 192.168.77.0/24, members: [ben] }] }, { party: farm }]\n',
      ben: 'parties: [{ party: camp, accept: [{ member: ann, network: 192.168.77.0/24 }] }]\n',
    });
    const atDevice = await listen(hosts.device, 'answer');
    const atBen = await listen(hosts.ben);
    expect((await send(hosts.ben, DEVICE, 'offered')).stdout).toBe('back: offered\n');
    expect(atDevice()).toEqual([`offered from 192.168.77.1 to ${DEVICE}`]);
    await attack(hosts.device, ben, 'unasked');
    // A neighbour of ben's has the device's address.
    await hosts.neighbour.run('ip', ['address', 'add', `${DEVICE}/32`, 'dev', 'lo']);
    await attack(hosts.neighbour, '203.0.113.22', 'forged', DEVICE);
    await routeIntoTunnel(camp, [farm.network.here, '192.168.77.0/24', `${OTHER}/32`]);
    await attack(hosts.ben, OTHER, 'other address');
    expect(atBen()).toEqual([]);
    await expect
      .poll(async () => (await statusOf('ben')).parties[0]!.filter!.dropped, { interval: 1_000, timeout: 20_000 })
      .toMatchObject({ forged: 3 });
    expect((await send(hosts.ben, DEVICE, 'again')).stdout).toBe('back: again\n');
    await expect
      .poll(async () => (await dropped('camp')).notOffered, { interval: 1_000, timeout: 20_000 })
      .toBeGreaterThan(0);

    // Somebody else flushes the rules: those of the party stay as they are.
    const tables = async () => (await hosts.ann.run('nft', ['list', 'tables'])).stdout;
    const before = await tables();
    expect(before).toContain('towpath-filter');
    await hosts.ann.run('nft', ['flush', 'ruleset']);
    expect(await tables()).toBe(before);
    expect((await send(hosts.ben, DEVICE, 'flushed')).stdout).toBe('back: flushed\n');
    expect(atDevice().at(-1)).toBe(`flushed from 192.168.77.1 to ${DEVICE}`);
  });
});
