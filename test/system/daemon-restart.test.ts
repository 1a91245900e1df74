import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { finished, Lab, type LabHost, NAT_KINDS, says } from './support/lab.ts';
import { PartyHost } from './support/party.ts';
import { Pings, pause, Transfer } from './support/survival.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const SERVER = '203.0.113.10';
/** How often the daemon is replaced; with more than one, TOWPATH_SURVIVE_FILE gets a JSON line for each outage. */
const RUNS = Number(process.env.TOWPATH_SURVIVE_RUNS ?? 1);
const FILE = process.env.TOWPATH_SURVIVE_FILE;
/** Without data; after a restart from "is up" on: how long a program takes to start depends on what else the machine does. */
const LIMIT_MS = 3_000;

interface Member {
  readonly party: PartyHost;
  readonly host: LabHost;
  address: string;
}

describe.skipIf(!wireGuardAvailable())('a daemon that is replaced while it runs', () => {
  let lab: Lab;
  let folder: string;
  let ann: Member;
  let ben: Member;

  beforeEach(async () => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-restart-'));
    const server = new PartyHost('server', lab.host('server', SERVER), folder);
    await says(
      server.start('serve', '--open', '--address', SERVER, '--allow-peer', '203.0.113.0/24'),
      /serving/,
      60_000,
    );
    const member = (name: string, outside: string): Member => {
      const host = lab.nat(`n${name}`, outside, NAT_KINDS['port-restricted'], [SERVER]).host(name);
      const hosts = join(folder, `hosts-${name}`);
      writeFileSync(hosts, '127.0.0.1\tlocalhost\n');
      return { host, party: new PartyHost(name, host, folder, { TOWPATH_HOSTS: hosts }), address: '' };
    };
    [ann, ben] = [member('ann', '203.0.113.21'), member('ben', '203.0.113.22')];
    type Joined = { member: { virtualAddress: string } };
    const created = await ann.party.told<Joined>('party', 'create', 'camp', '--server', SERVER, '--as', 'ann');
    const { code } = await ann.party.told<{ code: string }>('party', 'invite', '--uses', '2');
    const joined = await ben.party.told<Joined>('party', 'join', code, '--server', SERVER, '--as', 'ben');
    ann.address = created.member.virtualAddress;
    ben.address = joined.member.virtualAddress;
  });
  afterEach(async () => {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function up(member: Member, ...options: string[]): Promise<ChildProcess> {
    const child = member.party.start('up', '--api-port', '0', ...options);
    await says(child, / is up: /, 60_000);
    return child;
  }

  it('goes on when --replace cannot make an interface; one that fails later is tried again', {
    timeout: 300_000,
  }, async () => {
    const [daemon] = await Promise.all([up(ann), up(ben)]);
    const pings = new Pings(ann.host, ben.address);
    await expect.poll(() => pings.flowing, { interval: 200, timeout: 60_000 }).toBe(true);
    // The first ones succeed, the others fail, until the file is there.
    const programs = join(folder, 'programs');
    const [calls, working] = [join(folder, 'calls'), join(folder, 'working')];
    mkdirSync(programs);
    const succeed = (count: number) => {
      rmSync(calls, { force: true });
      const text = [
        '#!/bin/sh',
        `echo >> ${calls}`,
        `if [ $(wc -l < ${calls}) -gt ${count} ] && [ ! -e ${working} ]; then echo "no memory" >&2; exit 1; fi`,
        `exec ${wireGuardGo} "$@"`,
      ];
      writeFileSync(join(programs, 'wireguard-go'), `${text.join('\n')}\n`, { mode: 0o755 });
    };
    const { stdout } = await ann.host.run('sh', ['-c', 'command -v wireguard-go']);
    const wireGuardGo = stdout.trim();
    const replace = () =>
      ann.host.towpath(['up', '--api-port', '0', '--replace', '--backend', 'userspace'], {
        ...{ TOWPATH_HOME: join(folder, 'ann'), TOWPATH_HOSTS: join(folder, 'hosts-ann') },
        PATH: `${programs}:${process.env.PATH}`,
      });
    const startedAt = Date.now();
    succeed(0);
    const refused = await finished(replace(), 60_000);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('wireguard-go ended while it started (no memory)');
    expect(daemon.exitCode).toBe(null);
    expect((await ann.party.run('why', 'ben')).code).not.toBe(5);
    const leftovers = await ann.host.run('sh', ['-c', 'ip -o link | grep -c tp-']);
    expect(leftovers.stdout.trim()).toBe('1');
    expect(pings.outageSince(startedAt)).toBeLessThan(LIMIT_MS);

    succeed(1);
    const ended = once(daemon, 'exit');
    const successor = replace();
    await says(successor, /is not up and is tried again.*no memory/, 60_000);
    expect(await ended).toEqual([0, null]);
    writeFileSync(working, '');
    await says(successor, / is up: /, 90_000);
    await expect.poll(() => pings.flowing, { interval: 200, timeout: 60_000 }).toBe(true);
    await pings.close();
  });

  it('lets a TCP transfer in both directions go on (C7)', { timeout: 300_000 }, async () => {
    let [daemon] = await Promise.all([up(ann), up(ben)]);
    const isDirect = async () => (await ann.party.run('why', 'ben')).code;
    await expect.poll(isDirect, { interval: 500, timeout: 60_000 }).toBe(0);
    const pings = new Pings(ann.host, ben.address);
    const transfers = [await Transfer.start(ann, ben), await Transfer.start(ben, ann)];
    await pause(2_000);

    /** @returns the outage, ms, and when the new daemon was up, ms after the beginning. */
    async function replaced(name: string, replace: () => Promise<void>): Promise<{ outageMs: number; upMs: number }> {
      const startedAt = Date.now();
      await replace();
      const upMs = Date.now() - startedAt;
      for (let turn = 0; turn < 600 && !pings.flowing; turn++) await pause(50);
      await pause(RUNS > 1 ? 8_000 : 2_000);
      const outageMs = Math.round(pings.outageSince(startedAt));
      if (FILE) appendFileSync(FILE, `${JSON.stringify({ name, outageMs, upMs })}\n`);
      for (const transfer of transfers) expect(transfer.running).toBe(true);
      return { outageMs, upMs };
    }

    for (let run = 0; run < RUNS; run++) {
      const { outageMs } = await replaced('daemon replaced by --replace', async () => {
        const ended = once(daemon, 'exit');
        daemon = await up(ann, '--replace');
        expect(await ended).toEqual([0, null]);
      });
      expect(outageMs).toBeLessThan(LIMIT_MS);
      const restart = await replaced('daemon restarted by its unit', async () => {
        const ended = once(daemon, 'exit');
        daemon.kill('SIGUSR2');
        expect(await ended).toEqual([130, null]);
        daemon = await up(ann);
      });
      expect(restart.outageMs).toBeLessThan(restart.upMs + LIMIT_MS);
    }
    await pings.close();
    for (const transfer of transfers) {
      const { blocks, errors } = await transfer.end();
      expect(errors).toBe('');
      expect(blocks).toBeGreaterThan(100);
    }
  });
});
