import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Lab, type LabHost, NAT_KINDS, says } from './support/lab.ts';
import { PartyHost } from './support/party.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const SERVER = '203.0.113.10';
const RELAYING = '203.0.113.30';

interface Status {
  parties: {
    relay: { state: string; address: string; sessions: number; relayedBytes: number; dataPlane: string | null } | null;
  }[];
  peers: { name: string; virtualIp: string; status: string; strategy: string | null; path: { relay: string } | null }[];
}

interface Node {
  readonly party: PartyHost;
  readonly host: LabHost;
}

describe.skipIf(!wireGuardAvailable())('a member with a public address', () => {
  let lab: Lab;
  let folder: string;
  let children: ChildProcess[];

  beforeEach(async () => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-member-relay-'));
    children = [];
    const server = new PartyHost('server', lab.host('server', SERVER), folder);
    const serving = server.start('serve', '--open', '--address', SERVER, '--no-builtin-relay');
    await says(serving, /serving/, 60_000);
  });
  afterEach(async () => {
    const running = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    const ended = running.map((child) => once(child, 'exit'));
    for (const child of running) child.kill('SIGTERM');
    await Promise.all(ended);
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function node(name: string, host: LabHost): Node {
    const hostsPath = join(folder, `hosts-${name}`);
    writeFileSync(hostsPath, '127.0.0.1\tlocalhost\n');
    return { party: new PartyHost(name, host, folder, { TOWPATH_HOSTS: hostsPath }), host };
  }

  const behind = (name: string, outside: string) =>
    node(name, lab.nat(`n${name}`, outside, NAT_KINDS['symmetric-random'], [SERVER]).host(name));

  async function up({ party }: Node, ...args: string[]): Promise<void> {
    const child = party.start('up', ...args);
    children.push(child);
    await says(child, / is up: /, 60_000);
  }

  const status = ({ party }: Node) => party.told<Status>('status');

  async function until(each: Node, accept: (status: Status) => boolean): Promise<Status> {
    for (let turn = 0; ; turn++) {
      const found = await status(each);
      if (accept(found)) return found;
      if (turn === 60) throw new Error(`Not so: ${JSON.stringify(found)}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 500);
      });
    }
  }

  const peer = ({ peers }: Status, name: string) => peers.find((each) => each.name === name);

  /** Packets that the kernel of a host has relayed. */
  async function inKernel({ host }: Node): Promise<number> {
    const { stdout } = await host.run('nft', ['list', 'ruleset']);
    const maps = [...stdout.matchAll(/map from_port\d+ \{[^}]*elements = \{([^}]*)\}/g)].map(([, inside]) => inside);
    return [...maps.join().matchAll(/counter packets (\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0);
  }

  it.each([
    ['kernel', []],
    ['user', ['--no-splice']],
  ])(
    'relays for two members behind hard NATs, for no stranger, and not for a removed member, data plane %s (C9)',
    async (plane, how) => {
      const [ann, ben, cara] = [
        behind('ann', '203.0.113.21'),
        behind('ben', '203.0.113.22'),
        node('cara', lab.host('cara', RELAYING)),
      ];
      await cara.party.told('party', 'create', 'camp', '--server', SERVER, '--as', 'cara');
      const { code } = await cara.party.told<{ code: string }>('party', 'invite', '--uses', '10');
      for (const each of [ann, ben]) {
        await each.party.told('party', 'join', code, '--server', SERVER, '--as', each.party.name);
      }
      const relay = [...how, '--relay', '--relay-rate', '50000', '--relay-allow-peer', '203.0.113.0/24'];
      await Promise.all([up(ann), up(ben), up(cara, ...relay)]);

      const relayed = await until(ann, (now) => {
        const found = peer(now, 'ben');
        return found?.status === 'connected' && found.strategy === 'relay';
      });
      expect(peer(relayed, 'ben')?.path?.relay).toContain(RELAYING);
      const address = peer(relayed, 'ben')!.virtualIp;
      const ping = await ann.host.run('ping', ['-c', '20', '-i', '0.1', '-W', '3', address], { timeoutMs: 60_000 });
      expect(ping.stdout).toContain('20 received');
      const carried = await inKernel(cara);
      if (plane === 'kernel') expect(carried).toBeGreaterThan(0);
      else expect(carried).toBe(0);

      const [own] = (await until(cara, ({ parties }) => (parties[0]?.relay?.relayedBytes ?? 0) > 0)).parties;
      expect(own?.relay).toMatchObject({ state: 'reachable', address: `${RELAYING}:3478`, dataPlane: plane });
      expect(own!.relay!.sessions).toBeGreaterThan(0);
      expect((await cara.party.run('status')).stdout).toMatch(/Relay for the members: 203\.0\.113\.30:3478, in use/);

      // A stranger has no password, whatever name he gives.
      const stranger = lab.host('stranger', '203.0.113.40');
      const members = await cara.party.told<{ members: { id: string; name: string }[] }>('party', 'members');
      const ids = members.members.map(({ id }) => id);
      for (const name of [...ids, 'stranger', '1999999999:stranger']) {
        const program = ['test/system/support/try-allocation.ts', RELAYING, '3478', name, 'secret'];
        expect((await stranger.run(process.execPath, program)).stdout).toMatch(/^refused: /);
      }

      // A removed member loses what it has at once.
      const before = (await status(cara)).parties[0]!.relay!.sessions;
      expect((await cara.party.run('party', 'remove', 'ben')).code).toBe(0);
      await until(cara, ({ parties }) => (parties[0]?.relay?.sessions ?? before) < before);
      await until(ann, (now) => peer(now, 'ben') === undefined);
    },
  );
});
