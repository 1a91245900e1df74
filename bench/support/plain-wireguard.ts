import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LabHost, says } from '../../test/system/support/lab.ts';
import { sleep } from './relay-load.ts';

/** One end of a tunnel. */
export interface TunnelEnd {
  readonly host: LabHost;
  readonly listenPort: number;
  /** Where WireGuard sends to. */
  readonly endpoint: { readonly address: string; readonly port: number };
}

const LIMIT_MS = 20_000;
const STEP_MS = 50;
let tunnels = 0;

/** Two interfaces of wireguard-go that know each other, with nothing of ours around them. */
export class PlainWireGuard implements AsyncDisposable {
  /** Addresses inside the tunnel. */
  readonly addresses: readonly [string, string];
  readonly names: readonly [string, string];
  /** From when both interfaces were up to the first answered ping, the start of the program ping included. */
  firstEchoMs = 0;
  readonly #ends: readonly [TunnelEnd, TunnelEnd];
  readonly #children: ChildProcess[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'towpath-plain-wireguard-'));

  /** Makes the interfaces and waits until a ping has passed. */
  static async open(
    ends: readonly [TunnelEnd, TunnelEnd],
    { mtu = 1_420 }: { mtu?: number } = {},
  ): Promise<PlainWireGuard> {
    const tunnel = new PlainWireGuard(ends);
    try {
      await tunnel.#start(mtu);
    } catch (error) {
      await tunnel[Symbol.asyncDispose]();
      throw error;
    }
    return tunnel;
  }

  private constructor(ends: readonly [TunnelEnd, TunnelEnd]) {
    const number = ++tunnels;
    this.#ends = ends;
    this.addresses = [`10.99.${number}.1`, `10.99.${number}.2`];
    const name = (end: string) => `pw${process.pid.toString(36)}${number}${end}`;
    this.names = [name('a'), name('b')];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.#folder, { recursive: true });
  }

  async #start(mtu: number): Promise<void> {
    const keys = [0, 1].map(() => {
      const secret = execFileSync('wg', ['genkey'], { encoding: 'utf8' });
      return { secret, shared: execFileSync('wg', ['pubkey'], { input: secret, encoding: 'utf8' }).trim() };
    });
    for (const [at, { host, listenPort, endpoint }] of this.#ends.entries()) {
      const name = this.names[at]!;
      const file = join(this.#folder, name);
      writeFileSync(file, keys[at]!.secret, { mode: 0o600 });
      // In a session of its own as a service is, and as Towpath starts it: the scheduler shares the processors among sessions
      // (sched_autogroup_enabled), and one in the session of the load takes turns with it more cheaply, by a quarter of the throughput.
      this.#children.push(host.spawn('setsid', ['wireguard-go', '-f', name], { WG_PROCESS_FOREGROUND: '1' }));
      await until(async () => existsSync(`/var/run/wireguard/${name}.sock`), `${name} did not start`);
      const peer = ['peer', keys[1 - at]!.shared, 'allowed-ips', `${this.addresses[1 - at]}/32`];
      const to = ['endpoint', `${endpoint.address}:${endpoint.port}`, 'persistent-keepalive', '1'];
      const commands = [
        ['wg', 'set', name, 'listen-port', String(listenPort), 'private-key', file, ...peer, ...to],
        ['ip', 'address', 'add', `${this.addresses[at]}/30`, 'dev', name],
        ['ip', 'link', 'set', name, 'mtu', String(mtu), 'up'],
      ];
      for (const [program = '', ...args] of commands) {
        const { code, stderr } = await host.run(program, args);
        if (code !== 0) throw new Error(`${program} ${args[0]}: ${stderr}`);
      }
    }
    const [{ host }] = this.#ends;
    const startedMs = performance.now();
    const ping = ['-c', '1', '-W', '1', this.addresses[1]];
    await until(async () => (await host.run('ping', ping)).code === 0, 'no ping passed through plain WireGuard');
    this.firstEchoMs = performance.now() - startedMs;
  }
}

async function until(holds: () => Promise<boolean>, otherwise: string): Promise<void> {
  for (const endsAt = performance.now() + LIMIT_MS; performance.now() < endsAt; await sleep(STEP_MS)) {
    if (await holds()) return;
  }
  throw new Error(otherwise);
}

const HOP_PORTS = { wireGuard: 51_910, local: 51_911, path: 51_912 };
const HOP = new URL('../workers/bare-hop.ts', import.meta.url).pathname;

/** Two interfaces of wireguard-go with a bare hop at each end, behind NATs that keep ports. */
export class BareHopTunnel implements AsyncDisposable {
  readonly #tunnel: PlainWireGuard;
  readonly #hops: readonly ChildProcess[];

  static async open(ends: readonly [HopEnd, HopEnd]): Promise<BareHopTunnel> {
    const hops = ends.map(({ host }, at) => {
      const peer = { address: ends[1 - at]!.outside, port: HOP_PORTS.path };
      return host.spawn(process.execPath, [HOP, JSON.stringify({ ...HOP_PORTS, peer })]);
    });
    await Promise.all(hops.map((child) => says(child, 'ready')));
    const endpoint = { address: '127.0.0.1', port: HOP_PORTS.local };
    const [a, b] = ends.map(({ host }) => ({ host, listenPort: HOP_PORTS.wireGuard, endpoint }));
    return new BareHopTunnel(await PlainWireGuard.open([a!, b!]), hops);
  }

  private constructor(tunnel: PlainWireGuard, hops: readonly ChildProcess[]) {
    this.#tunnel = tunnel;
    this.#hops = hops;
  }

  get addresses(): readonly [string, string] {
    return this.#tunnel.addresses;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#hops) child.kill('SIGKILL');
    await this.#tunnel[Symbol.asyncDispose]();
  }
}

/** A host and the outside address of its NAT. */
export interface HopEnd {
  readonly host: LabHost;
  readonly outside: string;
}
