import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PYTHON } from './support/python.ts';
import { finished, Lab, type LabHost, says } from './support/lab.ts';
import { PartyHost } from './support/party.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const SERVER = '203.0.113.10';
const PARTIES = ['camp', 'farm'];

interface Status {
  parties: {
    party: string;
    state: string;
    address: string;
    interface: string;
    network: { party: string; here: string };
  }[];
  peers: { party: string; name: string; virtualIp: string; status: string }[];
}

/** `ann` and `ben` are in both parties, `carl` in the second only. All of them use the default addresses. */
describe.skipIf(!wireGuardAvailable())('a machine in two parties with the same addresses (C5)', () => {
  let lab: Lab;
  let folder: string;
  let members: Record<'ann' | 'ben' | 'carl', { host: LabHost; party: PartyHost; hosts: string }>;

  beforeEach(async () => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-two-'));
    const server = new PartyHost('server', lab.host('server', SERVER), folder);
    await says(
      server.start('serve', '--open', '--address', SERVER, '--allow-peer', '203.0.113.0/24'),
      /serving/,
      60_000,
    );
    const member = (name: string, at: number) => {
      const host = lab.host(name, `203.0.113.${20 + at}`);
      const hosts = join(folder, `hosts-${name}`);
      writeFileSync(hosts, '127.0.0.1\tlocalhost\n');
      return { host, hosts, party: new PartyHost(name, host, folder, { TOWPATH_HOSTS: hosts }) };
    };
    members = { ann: member('ann', 1), ben: member('ben', 2), carl: member('carl', 3) };
    const { ann, ben, carl } = members;
    for (const name of PARTIES) {
      await ann.party.told('party', 'create', name, '--server', SERVER, '--as', 'ann');
      const invited = await ann.party.told<{ code: string }>('party', 'invite', name, '--uses', '5');
      const guests = name === 'farm' ? { ben, carl } : { ben };
      for (const [guest, { party }] of Object.entries(guests)) {
        await party.told('party', 'join', invited.code, '--server', SERVER, '--as', guest);
      }
    }
  });
  afterEach(async () => {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const statusOf = ({ party }: { party: PartyHost }) => party.told<Status>('status');

  it('is up in both; members of each are reached by address and name, also after a flush and a restart', async () => {
    const { ann, ben, carl } = members;
    const all = Object.values(members);
    const running = all.map(({ party }) => party.start('up', '--api-port', '0'));
    await Promise.all(running.map((child) => says(child, /farm is up: /, 60_000)));
    await expect
      .poll(
        async () => (await Promise.all(all.map(statusOf))).flatMap(({ peers }) => peers.map((peer) => peer.status)),
        {
          interval: 500,
          timeout: 60_000,
        },
      )
      .toEqual(Array.from({ length: 8 }, () => 'connected'));

    const [own, bens, carls] = await Promise.all([ann, ben, carl].map(statusOf));
    const [camp, farm] = own!.parties;
    expect(camp?.network).toEqual({ party: '10.66.0.0/16', here: '10.66.0.0/16' });
    expect(farm?.network.party).toBe('10.66.0.0/16');
    expect(farm?.network.here).not.toBe('10.66.0.0/16');
    // The same party gets the same substitute everywhere; a machine in one party needs none.
    expect(bens!.parties[1]?.network).toEqual(farm?.network);
    expect(carls!.parties[0]?.network).toEqual(camp?.network);

    const pings = async () => {
      for (const from of all) {
        for (const { party, name, virtualIp: address } of (await statusOf(from)).peers) {
          const { stdout } = await from.host.run('ping', ['-c', '3', '-i', '0.2', '-W', '3', address]);
          expect(stdout, `${party}: ${name}`).toContain('3 received');
        }
      }
    };
    await pings();
    const hosts = readFileSync(ann.hosts, 'utf8');
    for (const { party, name, virtualIp: address } of own!.peers)
      expect(hosts).toContain(`${address}\t${name}.${party}.internal`);
    expect((await ann.party.run('ping', 'carl', '-c', '3', '-i', '0.2')).stdout).toContain('3 sent, 3 answered');

    // Checksums of TCP are right, in both directions: from translated to plain addresses and back.
    const carlHere = own!.peers.find(({ name }) => name === 'carl')!.virtualIp;
    const program = ['test/system/support/tcp-transfer.py'];
    const receiver = carl.host.spawn(PYTHON, [...program, 'recv', carls!.parties[0]!.address, '7000']);
    await says(receiver, 'listening');
    const received = finished(receiver, 60_000);
    const sent = await ann.host.run(PYTHON, [...program, 'send', carlHere, '7000', '200']);
    expect([sent.stderr, (await received).stdout]).toEqual(['', expect.stringContaining('"blocks": 200')]);

    // Somebody else flushes the rules: they come back.
    await ann.host.run('nft', ['flush', 'ruleset']);
    await expect
      .poll(async () => (await ann.host.run('ping', ['-c', '1', '-W', '1', carlHere])).code, {
        interval: 200,
        timeout: 20_000,
      })
      .toBe(0);

    const ended = once(running[0]!, 'exit');
    expect((await ann.party.run('down')).code).toBe(0);
    await ended;
    expect((await ann.host.run('nft', ['list', 'tables'])).stdout).toBe('');
    expect((await ann.host.run('ip', ['-o', 'link'])).stdout).not.toContain('tp-');
    // The addresses of this machine are the same at the next start, whichever party is named first.
    writeFileSync(join(folder, 'ann/config.yaml'), 'parties: [{ party: farm }, { party: camp }]\n', { mode: 0o600 });
    await says(ann.party.start('up', '--api-port', '0'), /camp is up: /, 60_000);
    const again = await statusOf(ann);
    const byName = (status: Status) =>
      new Map(status.parties.map((each) => [each.party, [each.address, each.network]]));
    expect(byName(again)).toEqual(byName(own!));
  });

  it('moves out of the way of an address that the machine has on another interface', async () => {
    const { ann, ben } = members;
    await ben.host.run('ip', ['address', 'add', '10.66.7.1/24', 'dev', 'lo']);
    for (const each of [ann, ben])
      await says(each.party.start('up', 'camp', '--api-port', '0'), /camp is up: /, 60_000);
    await expect
      .poll(async () => (await statusOf(ben)).peers[0]?.status, { interval: 500, timeout: 60_000 })
      .toBe('connected');
    const { parties, peers } = await statusOf(ben);
    expect(parties[0]?.network.here).not.toBe('10.66.0.0/16');
    expect((await ben.host.run('ping', ['-c', '3', '-i', '0.2', peers[0]!.virtualIp])).stdout).toContain('3 received');
    const seen = await ben.party.run('status');
    expect(seen.stdout.replace(/\s+/g, ' ')).toContain('camp: its addresses 10.66.0.0/16 are in use on this machine');
  });
});
