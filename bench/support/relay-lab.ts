import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '@towpath/net';
import type { RelaySession } from '@towpath/splice';
import { Lab, type LabHost, says } from '../../test/system/support/lab.ts';
import { sleep } from './relay-load.ts';

const CLIENT = new URL('../../test/system/support/plain-client.ts', import.meta.url).pathname;
const TOWPATH = 'packages/towpath/bin/towpath.js';
const SOURCE = new URL('./udp-load.c', import.meta.url).pathname;
const A = '203.0.113.30';
const B = '203.0.113.31';
const ROUTER = '203.0.113.11';
const PORT = 5_000;
const BYTES = 1_000;
/** ChannelData of the first channel: number and length come before the data. */
const CHANNEL = `4000${BYTES.toString(16).padStart(4, '0')}`;
const CHANNEL_HEADER_BYTES = 4;
const PLAIN = '45';
/** The sender has the first core for itself; all that happens after it is the second core's work. */
const SENDER_CORE = '0';
const RELAY_CORE = '1';
/** Unit in which the kernel counts processor time, a constant of its user interface (proc(5)). */
const TICKS_PER_SECOND = 100;
/** For what is still in queues when the sender has ended. */
const DRAIN_MS = 50;

/** One way for A's datagrams to reach B. */
export interface Route {
  readonly name: string;
  readonly from: number;
  readonly to: Endpoint;
  readonly bytes: number;
  readonly prefix: string;
  /** A process shares the core with what arrives. */
  readonly served?: boolean;
}

/** What the second core carried. */
export interface Carried {
  readonly perSecond: number;
  /** Time that the second core was not idle for a million datagrams that arrived, s. */
  readonly secondsPerMillion: number;
}

/**
 * Two hosts and relays between them, in namespaces on one bridge. The load is a C program, compiled here, which lets the kernel
 * take large sends apart, on the first core. Everything that a relay's host receives is handed to the second core, where
 * servers run too; what it sends to the receiver is counted by nftables where it enters the bridge, and dropped there: the
 * rest of the way would be the same work for all.
 */
export class RelayLab implements AsyncDisposable {
  /** Hosts without a server, for tables of the bench: of one session, and of many. */
  readonly relay: LabHost;
  readonly crowded: LabHost;
  readonly a: LabHost;
  readonly b: LabHost;
  readonly routes: Route[] = [];
  readonly #lab = new Lab();
  readonly #folder: string;
  readonly #load: string;

  static async open(): Promise<RelayLab> {
    const lab = new RelayLab();
    try {
      await lab.#prepare();
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
    return lab;
  }

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'towpath-relay-lab-'));
    this.#load = join(this.#folder, 'udp-load');
    this.relay = this.#lab.host('bare', '203.0.113.10');
    this.crowded = this.#lab.host('many', '203.0.113.15');
    this.a = this.#lab.host('a', A);
    this.b = this.#lab.host('b', B);
  }

  /** The session between the two ends at a bare relay. */
  session({ address }: LabHost, port: number = PORT, first = 7_001): RelaySession {
    const local = (at: number) => ({ address, port: at });
    return {
      a: { remote: { address: A, port }, local: local(first) },
      b: { remote: { address: B, port }, local: local(first + 1) },
    };
  }

  /** Starts the relays with a server. Their clients count as verified for two minutes. */
  async startServers({ coturn }: { coturn: boolean }): Promise<void> {
    await this.#towpath('towpath, kernel', '203.0.113.12', 'kernel');
    await this.#towpath('towpath, user space', '203.0.113.13', 'user');
    if (coturn) await this.#coturn('203.0.113.14');
  }

  /** @param perSecond offered; 0: as much as one core can send */
  async measure({ from, to, bytes, prefix }: Route, seconds: number, perSecond = 0): Promise<Carried> {
    const [before, idleBefore] = [await this.#arrived(), idleSeconds()];
    const startedMs = performance.now();
    const args = [A, from, to.address, to.port, seconds, bytes, prefix, Math.round(perSecond)].map(String);
    const { code, stderr } = await this.a.run('taskset', ['-c', SENDER_CORE, this.#load, ...args]);
    if (code !== 0) throw new Error(`The load did not run: ${stderr}`);
    await sleep(DRAIN_MS);
    const [idle, tookS] = [idleSeconds() - idleBefore, (performance.now() - startedMs) / 1_000];
    const arrived = (await this.#arrived()) - before;
    return {
      perSecond: arrived / seconds,
      secondsPerMillion: (1e6 * Math.max(0, tookS - idle)) / Math.max(1, arrived),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #prepare(): Promise<void> {
    execFileSync('cc', ['-O2', '-o', this.#load, SOURCE]);
    // The bridge stands for a network: it has no rules.
    await set(this.#lab.internet, 'net.bridge.bridge-nf-call-iptables=0');
    // Taken apart by the sender's core, not by who receives.
    await this.a.run('ip', ['link', 'set', 'dev', 'eth0', 'gso_max_segs', '1']);
    this.#lab.nft(this.#lab.internet, 'add table netdev count\nadd counter netdev count arrived\n');
    const router = this.#lab.host('router', ROUTER);
    const redirects = ['all', 'eth0'].map((device) => `net.ipv4.conf.${device}.send_redirects=0`);
    await set(router.namespace, 'net.ipv4.ip_forward=1', ...redirects);
    await this.a.run('ip', ['route', 'add', `${B}/32`, 'via', ROUTER]);
    await this.b.run('ip', ['route', 'add', `${A}/32`, 'via', ROUTER]);
    for (const host of [router, this.relay, this.crowded]) await this.#relayOn(host);
    const direct = { from: PORT, bytes: BYTES, prefix: PLAIN };
    this.routes.push({ name: 'routing', ...direct, to: { address: B, port: PORT } });
    this.routes.push({ name: 'one session', ...direct, to: { address: this.relay.address, port: 7_001 } });
    this.routes.push({ name: 'many sessions', ...direct, to: { address: this.crowded.address, port: 7_001 } });
  }

  async #arrived(): Promise<number> {
    const args = ['netns', 'exec', this.#lab.internet, 'nft', 'list', 'counter', 'netdev', 'count', 'arrived'];
    return Number(/packets (\d+)/.exec(execFileSync('ip', args, { encoding: 'utf8' }))?.[1]);
  }

  /** Gives a host the second core, and counts what it sends to B. */
  async #relayOn(host: LabHost): Promise<void> {
    await onSecondCore(host);
    const port = await this.#portOf(host);
    const hook = `type filter hook ingress device ${port} priority 0; policy accept;`;
    const rule = `ip daddr ${B} udp dport ${PORT} counter name "arrived" drop`;
    this.#lab.nft(this.#lab.internet, `table netdev count {\n chain ${port} {\n ${hook}\n ${rule}\n }\n}\n`);
  }

  /** The bridge's side of a host's link. */
  async #portOf(host: LabHost): Promise<string> {
    const { stdout } = await host.run('ip', ['-j', 'link', 'show', 'eth0']);
    const [{ link_index: index }] = JSON.parse(stdout) as [{ link_index: number }];
    const ports = execFileSync('ip', ['-n', this.#lab.internet, '-j', 'link'], { encoding: 'utf8' });
    const all = JSON.parse(ports) as { ifindex: number; ifname: string }[];
    return all.find(({ ifindex }) => ifindex === index)!.ifname;
  }

  async #towpath(name: string, address: string, plane: string): Promise<void> {
    const password = join(this.#folder, 'password');
    writeFileSync(password, 'secret\n', { mode: 0o600 });
    const host = this.#lab.host(plane, address);
    await this.#relayOn(host);
    const user = ['--user', 'alice', '--password-file', password, '--allow-peer', '203.0.113.0/24'];
    const place = ['--address', address, '--data-plane', plane];
    const program = [process.execPath, TOWPATH, 'relay', 'serve', ...place, ...user];
    await says(host.spawn('taskset', ['-c', RELAY_CORE, ...program]), /data .*\n/, 30_000);
    const { plain, local } = await this.#allocate(address);
    this.routes.push({ name, from: local.port, to: plain!, bytes: BYTES, prefix: PLAIN, served: plane === 'user' });
  }

  async #coturn(address: string): Promise<void> {
    const file = join(this.#folder, 'turnserver.conf');
    const lines = [
      ...[`listening-ip=${address}`, `relay-ip=${address}`, 'listening-port=3478', 'relay-threads=1'],
      ...['lt-cred-mech', 'realm=example.org', 'user=alice:secret', 'no-tcp', 'no-tls', 'no-dtls', 'no-cli'],
      ...['log-file=stdout', `pidfile=${join(this.#folder, 'pid')}`, `userdb=${join(this.#folder, 'turndb')}`],
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const host = this.#lab.host('coturn', address);
    await this.#relayOn(host);
    host.spawn('taskset', ['-c', RELAY_CORE, 'turnserver', '-c', file]);
    const { local } = await this.#allocate(address);
    const to = { address, port: 3_478 };
    this.routes.push({
      name: 'coturn',
      from: local.port,
      to,
      bytes: BYTES + CHANNEL_HEADER_BYTES,
      prefix: CHANNEL,
      served: true,
    });
  }

  /** Allocates for one peer, and leaves the client's port to the load: permissions last for five minutes. */
  async #allocate(server: string): Promise<{ plain?: Endpoint; local: Endpoint }> {
    const args = [CLIENT, server, '3478', 'alice', 'secret', B, String(PORT)];
    const child = this.a.spawn(process.execPath, args, {}, 'pipe');
    const line = await says(child, /\}\n/, 20_000);
    child.kill('SIGKILL');
    return JSON.parse(line) as { plain?: Endpoint; local: Endpoint };
  }
}

async function onSecondCore(host: LabHost): Promise<void> {
  const mask = (1 << Number(RELAY_CORE)).toString(16);
  const { code } = await host.run('sh', ['-c', `echo ${mask} > /sys/class/net/eth0/queues/rx-0/rps_cpus`]);
  if (code !== 0) throw new Error('This kernel cannot hand received packets to another core.');
}

async function set(namespace: string, ...settings: string[]): Promise<void> {
  execFileSync('ip', ['netns', 'exec', namespace, 'sysctl', '-qw', ...settings]);
}

/**
 * How long the second core was idle so far, s. The time that is not idle is measured exactly, while what the kernel books under
 * `softirq` is only sampled.
 */
function idleSeconds(): number {
  const line = new RegExp(`^cpu${RELAY_CORE} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'utf8'))?.[1];
  const [, , , idle, waiting] = (line ?? '').split(' ').map(Number);
  return ((idle ?? 0) + (waiting ?? 0)) / TICKS_PER_SECOND;
}
