/** A relay of `towpath relay serve` in a lab, a peer that counts what arrives, and clients with a plain port. */
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Endpoint } from '@towpath/net';
import { expect } from 'vitest';
import { PYTHON } from './python.ts';
import { finished, Lab, type LabHost, labAvailable, says } from './lab.ts';

/** The relay. */
export const R = '203.0.113.10';
export const R6 = '2001:db8::10';
export const PEER = '203.0.113.31';
export const PEER6 = '2001:db8::31';
export const PEER_PORT = 5_000;
const PORT = 3_478;
const CLIENT = new URL('./plain-client.ts', import.meta.url).pathname;
const LOAD = new URL('./udp-load.py', import.meta.url).pathname;
const FETCH = 'fetch("http://127.0.0.1:9000/metrics").then((r) => r.text()).then((t) => process.stdout.write(t))';

export function turnLabAvailable(): boolean {
  const missing = [PYTHON, 'turnutils_uclient'].filter((tool) => spawnSync('which', [tool]).status !== 0);
  return labAvailable() && missing.length === 0;
}

export interface TurnLabClient {
  child: ChildProcess;
  relayed: Endpoint;
  plain: Endpoint;
  local: Endpoint;
  ask<Result>(line: string): Promise<Result>;
}

type Metrics = Readonly<Record<string, number>>;

export class TurnLab {
  readonly lab: Lab = new Lab();
  readonly folder: string = mkdtempSync(join(tmpdir(), 'towpath-relay-'));
  readonly peer: LabHost = this.lab.host('peer', PEER);
  /** Where the relay runs; a test may put it elsewhere. */
  relay: LabHost = this.lab.host('relay', R);

  static async open(): Promise<TurnLab> {
    const made = new TurnLab();
    for (const [host, address] of [
      [made.relay, R6],
      [made.peer, PEER6],
    ] as const) {
      await host.run('ip', ['addr', 'add', `${address}/64`, 'dev', 'eth0', 'nodad']);
    }
    writeFileSync(join(made.folder, 'password'), 'wonderland\n', { mode: 0o600 });
    return made;
  }

  async close(): Promise<void> {
    await this.lab.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Starts the relay; returns it with what it says about its data plane. */
  async serve(
    args: readonly string[],
    { addresses = [R, R6], wrap = [] }: { addresses?: readonly string[]; wrap?: readonly string[] } = {},
  ): Promise<{ child: ChildProcess; plane: string; reason: string; metrics(): Promise<Metrics> }> {
    const user = ['--user', 'alice', '--password-file', join(this.folder, 'password')];
    const peers = ['--allow-peer', '203.0.113.0/24', '2001:db8::/32', '10.0.0.0/8'];
    const all = [
      'relay',
      'serve',
      '--address',
      ...addresses,
      ...user,
      ...peers,
      '--metrics-port',
      '9000',
      '--json',
      ...args,
    ];
    const [program = process.execPath, ...before] = [...wrap, process.execPath];
    const child = this.relay.spawn(program, [...before, 'packages/towpath/bin/towpath.js', ...all]);
    const said = await says(child, '"what":"metrics"');
    const line = said.split('\n').find((each) => each.includes('"data-plane"'))!;
    const metrics = async () => {
      const { stdout } = await this.relay.run(process.execPath, ['-e', FETCH]);
      const lines = stdout.split('\n').filter((each) => each.startsWith('towpath_turn_'));
      const named = (line: string) =>
        line
          .split(' ')[0]!
          .slice('towpath_turn_'.length)
          .replace(/_total$/, '');
      return Object.fromEntries(lines.map((each) => [named(each), Number(each.split(' ')[1])]));
    };
    return { child, ...(JSON.parse(line) as { plane: string; reason: string }), metrics };
  }

  async connect(
    host: LabHost,
    to: Endpoint,
    server: string = R,
    { username, password }: { username: string; password: string } = { username: 'alice', password: 'wonderland' },
  ): Promise<TurnLabClient> {
    const args = [CLIENT, server, String(PORT), username, password, to.address, String(to.port)];
    const child = host.spawn(process.execPath, args, {}, 'pipe');
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const read = async () => JSON.parse((await lines.next()).value ?? '{}');
    const first = (await read()) as { relayed: Endpoint; plain: Endpoint; local: Endpoint };
    const ask = <Result>(line: string): Promise<Result> => {
      child.stdin!.write(`${line}\n`);
      return read() as Promise<Result>;
    };
    return { child, ...first, ask };
  }

  /** Counts at the peer what a client sends meanwhile. */
  async counted(
    while_: () => Promise<unknown>,
    [address, port]: [string, number] = [PEER, PEER_PORT],
    at: LabHost = this.peer,
  ): Promise<{ packets: number; sources: Record<string, number> }> {
    const child = at.spawn(PYTHON, [LOAD, 'count', address, String(port)]);
    const done = finished(child, 60_000);
    await says(child, 'ready');
    await while_();
    child.kill('SIGTERM');
    const { stdout } = await done;
    return JSON.parse(stdout.split('\n')[1]!) as { packets: number; sources: Record<string, number> };
  }

  async send(host: LabHost, from: [string, number], to: Endpoint, count = 20, prefix = '45'): Promise<void> {
    const load = [from[0], from[1], to.address, to.port, count, 200, 1_000, prefix].map(String);
    expect((await host.run(PYTHON, [LOAD, 'send', ...load])).stderr).toBe('');
  }

  async inKernel(metrics: () => Promise<Metrics>, sessions: number): Promise<void> {
    await expect.poll(async () => (await metrics()).kernel_sessions, { timeout: 5_000 }).toBe(sessions);
  }

  /** The nftables tables in the relay's namespace. */
  tables(): string {
    const args = ['netns', 'exec', this.relay.namespace, 'nft', 'list', 'tables'];
    return execFileSync('ip', args, { encoding: 'utf8' });
  }

  /** The nft that runs in the relay's namespace. */
  nftPid(): number {
    const pids = execFileSync('ip', ['netns', 'pids', this.relay.namespace], { encoding: 'utf8' }).split('\n');
    const found = pids.find(
      (pid) => pid !== '' && execFileSync('ps', ['-o', 'comm=', '-p', pid], { encoding: 'utf8' }).trim() === 'nft',
    );
    return Number(found);
  }
}
