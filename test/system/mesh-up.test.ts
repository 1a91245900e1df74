import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Lab, type LabHost, NAT_KINDS, type NatKind, says } from './support/lab.ts';
import { PartyHost } from './support/party.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const SERVER = '203.0.113.10';

interface Node {
  readonly party: PartyHost;
  readonly host: LabHost;
  readonly hostsPath: string;
  address: string;
}

interface Peer {
  name: string;
  status: string;
  endpoint?: string;
  strategy?: string;
  reason: string;
  dataPlane: string;
  dataPlaneReason: string;
  latencyMs?: number;
}

describe.skipIf(!wireGuardAvailable())('towpath up', () => {
  let lab: Lab;
  let folder: string;
  let children: ChildProcess[];
  let serving: ChildProcess;

  beforeEach(async () => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-up-'));
    children = [];
    const server = new PartyHost('server', lab.host('server', SERVER), folder);
    serving = server.start('serve', '--open', '--address', SERVER, '--allow-peer', '203.0.113.0/24');
    await says(serving, /serving/, 60_000);
  });
  afterEach(async () => {
    // Ended in order, so that nothing of theirs stays in the file system that all hosts share.
    const ended = children
      .filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      .map((child) => once(child, 'exit'));
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(ended);
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function node(name: string, host: LabHost): Node {
    const hostsPath = join(folder, `hosts-${name}`);
    writeFileSync(hostsPath, '127.0.0.1\tlocalhost\n');
    return { party: new PartyHost(name, host, folder, { TOWPATH_HOSTS: hostsPath }), host, hostsPath, address: '' };
  }

  async function gather(...nodes: Node[]): Promise<void> {
    const [founder, ...others] = nodes;
    type Joined = { member: { virtualAddress: string } };
    const created = await founder!.party.told<Joined>(
      'party',
      'create',
      'camp',
      '--server',
      SERVER,
      '--as',
      founder!.party.name,
    );
    founder!.address = created.member.virtualAddress;
    const { code } = await founder!.party.told<{ code: string }>('party', 'invite', '--uses', '10');
    for (const each of others) {
      const joined = await each.party.told<Joined>('party', 'join', code, '--server', SERVER, '--as', each.party.name);
      each.address = joined.member.virtualAddress;
    }
  }

  function start(each: Node, ...args: string[]): ChildProcess {
    const child = each.party.start('up', ...args);
    children.push(child);
    return child;
  }

  async function up(each: Node, ...args: string[]): Promise<ChildProcess> {
    const child = start(each, ...args);
    await says(child, / is up: /, 60_000);
    return child;
  }

  const ping = (from: Node, to: Node, count = 5, interval = '0.2') =>
    from.host.run('ping', ['-c', String(count), '-i', interval, '-W', '3', to.address], { timeoutMs: 110_000 });

  /** Pings while every program of Towpath is stopped. @returns what ping prints */
  async function pingByKernels(from: Node, to: Node): Promise<string> {
    const stopped = [...children, serving];
    for (const { pid } of stopped) process.kill(pid!, 'SIGSTOP');
    try {
      return (await ping(from, to, 20, '0.1')).stdout;
    } finally {
      for (const { pid } of stopped) process.kill(pid!, 'SIGCONT');
    }
  }

  async function peer(each: Node): Promise<Peer> {
    const { peers } = await each.party.told<{ peers: Peer[] }>('status');
    return peers[0]!;
  }

  async function until(each: Node, accept: (peer: Peer) => boolean): Promise<Peer> {
    for (let turn = 0; ; turn++) {
      const found = await peer(each);
      if (found && accept(found)) return found;
      if (turn === 60) throw new Error(`Not so: ${JSON.stringify(found)}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 500);
      });
    }
  }

  function behind(name: string, outside: string, kind: NatKind): Node {
    return node(name, lab.nat(`n${name}`, outside, kind, [SERVER]).host(name));
  }

  it('connects two members behind port-restricted NATs directly, moves them to the splice, and cleans up (C1, C4, D1)', async () => {
    const ann = behind('ann', '203.0.113.21', NAT_KINDS['port-restricted']);
    const ben = behind('ben', '203.0.113.22', NAT_KINDS['port-restricted']);
    await gather(ann, ben);
    const [upAnn] = await Promise.all([up(ann), up(ben)]);
    await until(ann, ({ status, strategy }) => status === 'connected' && strategy === 'direct');
    // Pings go on while both move to the splice: none is lost.
    const pings = await ping(ann, ben, 40, '0.1');
    expect(pings.stdout).toContain('40 packets transmitted, 40 received');
    const spliced = await until(ann, ({ dataPlane }) => dataPlane === 'splice');
    expect(spliced.dataPlaneReason).toBe('spliced');
    await until(ben, ({ dataPlane }) => dataPlane === 'splice');
    expect((await ping(ann, ben, 20, '0.1')).stdout).toContain('20 received');
    expect(readFileSync(ann.hostsPath, 'utf8')).toContain(`${ben.address}\tben.camp.internal`);

    const why = await ann.party.run('why', 'ben');
    expect([why.code, why.stdout]).toEqual([0, expect.stringContaining('splice')]);
    const echoes = await ann.party.run('ping', 'ben', '-c', '3', '-i', '0.2');
    expect(echoes.stdout).toContain('3 sent, 3 answered');

    const ended = once(upAnn, 'exit');
    expect((await ann.party.run('down')).stdout).toContain('camp is down');
    await ended;
    expect((await ann.host.run('ip', ['-o', 'link'])).stdout).not.toContain('tp-');
    expect((await ann.host.run('nft', ['list', 'tables'])).stdout).toBe('');
    expect(readFileSync(ann.hostsPath, 'utf8')).toBe('127.0.0.1\tlocalhost\n');
  });

  it('connects two members behind symmetric NATs through the relay, and says why (C3, C13, D4)', async () => {
    const ann = behind('ann', '203.0.113.21', NAT_KINDS['symmetric-random']);
    const ben = behind('ben', '203.0.113.22', NAT_KINDS['symmetric-random']);
    await gather(ann, ben);
    await Promise.all([up(ann), up(ben)]);
    const found = await until(ann, ({ status }) => status === 'connected');
    expect(found.strategy).toBe('relay');
    expect((await ping(ann, ben)).stdout).toContain('5 received');
    // Both ends measure their NATs first.
    const why = () => ann.party.run('why', 'ben');
    await expect.poll(async () => (await why()).stdout, { interval: 500 }).toContain('(hard-nats)');
    expect((await why()).code).toBe(10);
  });

  it('carries a relayed path in the kernels of relay and members alone (D2)', async () => {
    const ann = behind('ann', '203.0.113.21', NAT_KINDS['port-restricted']);
    const ben = behind('ben', '203.0.113.22', NAT_KINDS['symmetric-random']);
    await gather(ann, ben);
    await Promise.all([up(ann, '--policy', 'relay-only'), up(ben, '--policy', 'relay-only')]);
    for (const each of [ann, ben]) {
      await until(each, ({ strategy, dataPlane }) => strategy === 'relay' && dataPlane === 'splice');
    }
    expect(await pingByKernels(ann, ben)).toContain('20 packets transmitted, 20 received');
  });

  it('carries a direct path between two hosts with both families in their kernels alone (D1)', async () => {
    const ann = node('ann', lab.host('ann', '203.0.113.21'));
    const ben = node('ben', lab.host('ben', '203.0.113.22'));
    for (const [at, { host }] of [ann, ben].entries()) {
      await host.run('ip', ['addr', 'add', `2600:db8::${at + 21}/64`, 'dev', 'eth0', 'nodad']);
    }
    await gather(ann, ben);
    await Promise.all([up(ann), up(ben)]);
    // Two paths are equally fast: the ends may take different ones until one of them has nominated its own (RFC 8445 §8).
    const uses = async () =>
      (await Promise.all([peer(ann), peer(ben)])).map(({ strategy, dataPlane, endpoint }) => [
        strategy,
        dataPlane,
        isIPv6(endpoint?.replace(/^\[(.*)\]:\d+$/, '$1') ?? '') ? 'IPv6' : 'IPv4',
      ]);
    await expect
      .poll(uses, { interval: 500 })
      .toSatisfy(([a, b]: string[][]) => a![0] === 'direct' && a![1] === 'splice' && isDeepStrictEqual(a, b));
    expect(await pingByKernels(ann, ben)).toContain('20 packets transmitted, 20 received');
  });

  it('connects again after the process of a member was killed and started anew, which removes what it left; data passes with --no-splice at one end (D1, C13)', async () => {
    const ann = node('ann', lab.host('ann', '203.0.113.21'));
    const ben = node('ben', lab.host('ben', '203.0.113.22'));
    await gather(ann, ben);
    const first = await up(ann);
    await up(ben);
    await until(ben, ({ status }) => status === 'connected');
    const exit = once(first, 'exit');
    first.kill('SIGKILL');
    await exit;
    // The next start removes what the killed process left.
    await up(ann, '--no-splice');
    // The new process knows of no connection but a new one; ben may not have noticed the restart yet.
    for (const each of [ann, ben]) await until(each, ({ status }) => status === 'connected');
    expect((await ping(ben, ann)).stdout).toContain('5 received');
    const planes: [Node, string, string][] = [
      [ann, 'hop', 'splice-off'],
      [ben, 'splice', 'spliced'],
    ];
    for (const [each, plane, reason] of planes) {
      await until(each, ({ dataPlane, dataPlaneReason }) => dataPlane === plane && dataPlaneReason === reason);
      const { stdout } = await each.party.run('status');
      expect([each.party.name, stdout.includes(` ${plane} `)]).toEqual([each.party.name, true]);
    }
    const lost = await Promise.all([ping(ann, ben, 20, '0.1'), ping(ben, ann, 20, '0.1')]);
    for (const { stdout } of lost) expect(stdout).toContain('20 packets transmitted, 20 received');
    expect((await ann.party.run('why', 'ben')).stdout).toContain('(splice-off)');
  });
});
