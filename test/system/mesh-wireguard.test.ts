import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { SeededRandom, silentLog } from '@towpath/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recoverLeftovers } from '../../packages/mesh/src/index.ts';
import { type LabHost, says } from './support/lab.ts';
import { HOSTS, HostCommands, processes, WireGuardLab, wireGuardAvailable } from './support/wireguard-lab.ts';
import type { WireGuardNodeOptions } from './support/wireguard-node.ts';

describe.skipIf(!wireGuardAvailable())('WireGuard interfaces (C4)', () => {
  let lab: WireGuardLab;
  beforeEach(() => {
    lab = new WireGuardLab();
  });
  afterEach(() => lab.close());

  it('carry traffic, report statistics, keep the key off every command line, and are gone after the end', async () => {
    const { nodes } = lab;
    const before = await state(nodes[0].host);
    const children = nodes.map((node) => lab.start(node));
    await Promise.all(children.map((child) => says(child, 'up', 60_000)));
    const ping = await nodes[0].host.run('ping', ['-c', '3', '-i', '0.2', '-W', '5', nodes[0].options.peer.address]);
    expect(ping.stdout).toContain('3 packets transmitted, 3 received');
    expect(readFileSync(nodes[0].options.hostsPath, 'utf8')).toContain('10.66.0.3\talice.home.internal');

    const reported = says(children[0]!, /"listenPort"/);
    children[0]!.kill('SIGUSR2');
    const device = JSON.parse((await reported).trim().split('\n').at(-1)!);
    expect(device).toMatchObject({ listenPort: 51_820, peers: [{ endpoint: nodes[0].options.peer.endpoint }] });
    expect(device.peers[0].receivedBytes).toBeGreaterThan(300);
    expect(Math.abs(device.peers[0].lastHandshakeMs - Date.now())).toBeLessThan(60_000);

    const secret = nodes[0].options.privateKey;
    const commandLines = runningCommandLines().filter((line) => !line.includes('wireguard-node.ts'));
    expect(commandLines.some((line) => line.includes(secret))).toBe(false);

    const ended = children.map((child) => once(child, 'exit'));
    for (const child of children) child.kill('SIGTERM');
    expect(await Promise.all(ended)).toEqual([
      [0, null],
      [0, null],
    ]);
    expect(await state(nodes[0].host)).toBe(before);
    expect(leftBehind(nodes[0].options)).toEqual([]);
  });

  it('leave a route alone that the machine has to the same network (C14)', async () => {
    const [node] = lab.nodes;
    await node.host.run('ip', ['route', 'add', '192.168.43.0/24', 'dev', 'eth0']);
    const before = await state(node.host);
    const child = lab.start(node);
    await says(child, 'up', 60_000);
    const routes = await node.host.run('ip', ['route', 'show', '192.168.43.0/24']);
    expect(routes.stdout).toMatch(/^192\.168\.43\.0\/24 dev eth0 /);
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(await state(node.host)).toBe(before);
  });

  it('leave nothing behind when the process is killed at any moment and the next one recovers', async () => {
    const [node] = lab.nodes;
    const { host, options } = node;
    const components = { commands: new HostCommands(host), log: silentLog };
    const before = await state(host);
    const random = new SeededRandom(7);
    const interfacesSeen: boolean[] = [];
    for (let turn = 0; turn < 12; turn++) {
      const child = lab.start(node);
      // From before the first step to after the last; the later turns aim at the time when things are made.
      const isUp = says(child, 'up', 60_000);
      await Promise.race([isUp, delay(turn === 0 ? 60_000 : 150 + random.next() * 500)]);
      isUp.catch(() => {});
      const exit = once(child, 'exit');
      // `ip netns exec` replaces itself with the program, so the child is the node.
      child.kill('SIGKILL');
      await exit;
      interfacesSeen.push((await host.run('ip', ['link', 'show', 'dev', options.name])).code === 0);
      expect((await recoverLeftovers(components, options.stateFolder)).failed).toEqual([]);
      // A wireguard-go that was being started would be visible by now.
      await delay(100);
      expect(await state(host)).toBe(before);
      expect(leftBehind(options)).toEqual([]);
    }
    expect(interfacesSeen[0]).toBe(true);
  });

  it('are not made when one with the name exists, which is left as it is', async () => {
    const { nodes } = lab;
    const { host, options } = nodes[0];
    await host.run('ip', ['tuntap', 'add', 'mode', 'tun', 'name', options.name]);
    const child = lab.start(nodes[0]);
    await says(child, 'Towpath has no record of making it', 60_000);
    expect((await host.run('ip', ['link', 'show', 'dev', options.name])).code).toBe(0);
  });
});

/** Interfaces, IPv4 addresses and routes of a host; its IPv6 addresses change by themselves after the start. */
async function state(host: LabHost): Promise<string> {
  const links = await host.run('ip', ['-json', 'link', 'show']);
  const names = JSON.parse(links.stdout).map(({ ifname }: { ifname: string }) => ifname);
  const addresses = await host.run('ip', ['-4', '-oneline', 'address']);
  const routes = await host.run('ip', ['-4', 'route', 'show', 'table', 'all']);
  return [...names, addresses.stdout, routes.stdout].join('\n');
}

/** What a node has left outside its namespace. */
function leftBehind({ name, stateFolder, hostsPath }: WireGuardNodeOptions): string[] {
  const left: string[] = [];
  if (existsSync(stateFolder)) left.push(...readdirSync(stateFolder));
  if (existsSync(`/var/run/wireguard/${name}.sock`)) left.push('socket');
  if (readFileSync(hostsPath, 'utf8') !== HOSTS) left.push('hosts block');
  if (existsSync(`${hostsPath}.towpath-${name}`)) left.push('hosts draft');
  if (runningCommandLines().some((line) => line.includes(`wireguard-go -f ${name}`))) left.push('wireguard-go');
  return left;
}

function runningCommandLines(): string[] {
  return processes().map(({ line }) => line);
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
