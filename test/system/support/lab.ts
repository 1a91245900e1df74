/**
 * Networks made of Linux namespaces, with the kernel's own NAT: hosts on a small internet and behind NATs of every
 * kind of RFC 4787. Needs root, iproute2 and nftables. Everything is gone after `close()`.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

export type Behaviour = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

export interface NatKind {
  mapping: Behaviour;
  filtering: Behaviour;
  /** How external ports are chosen. `preserving` only with endpoint-independent mapping. @default preserving or random */
  ports?: 'preserving' | 'sequential' | 'random' | undefined;
  /** No UDP passes at all; TCP does. */
  udpBlocked?: boolean;
}

export type NatKindName =
  | 'full-cone'
  | 'restricted-cone'
  | 'port-restricted'
  | 'symmetric-sequential'
  | 'symmetric-random'
  | 'udp-blocked';

/** The kinds that tests use. */
export const NAT_KINDS: Record<NatKindName, NatKind> = {
  'full-cone': { mapping: 'endpoint-independent', filtering: 'endpoint-independent' },
  'restricted-cone': { mapping: 'endpoint-independent', filtering: 'address-dependent' },
  'port-restricted': { mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' },
  'symmetric-sequential': {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'sequential',
  },
  'symmetric-random': {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'random',
  },
  'udp-blocked': {
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
    udpBlocked: true,
  },
};

/** True when namespaces and nftables can be used here. */
export function labAvailable(): boolean {
  if (process.getuid?.() !== 0) return false;
  return ['ip', 'nft'].every((tool) => spawnSync(tool, ['-V'], { stdio: 'ignore' }).error === undefined);
}

export class LabHost {
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  readonly #children = new Set<ChildProcess>();

  constructor(name: string, namespace: string, address: string) {
    this.name = name;
    this.namespace = namespace;
    this.address = address;
  }

  /** Starts a program inside the host. */
  spawn(
    program: string,
    args: readonly string[],
    env: Record<string, string> = {},
    stdin: 'ignore' | 'pipe' = 'ignore',
  ): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.namespace, program, ...args], {
      stdio: [stdin, 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Starts the `towpath` command line inside the host. */
  towpath(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
    return this.spawn(process.execPath, ['packages/towpath/bin/towpath.js', ...args], env);
  }

  /** Runs a program to its end and returns its output. @throws when it takes longer than `timeoutMs`. */
  async run(
    program: string,
    args: readonly string[],
    { timeoutMs = 30_000, env = {} }: { timeoutMs?: number; env?: Record<string, string> } = {},
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    return finished(this.spawn(program, args, env), timeoutMs);
  }

  /** Ends every program that was started here. */
  async stopAll(): Promise<void> {
    const ending = [...this.#children].map((child) => once(child, 'exit'));
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(ending);
  }
}

/** Collects the output of a child until it ends. */
export async function finished(
  child: ChildProcess,
  timeoutMs: number,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const out = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => {
    out.stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    out.stderr += chunk;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(timer);
  if (signal === 'SIGKILL') throw new Error(`Took longer than ${timeoutMs} ms.\n${out.stdout}\n${out.stderr}`);
  return { code, ...out };
}

/** Resolves when the child has printed `text` (a substring or a pattern) on either stream. */
export function says(child: ChildProcess, text: string | RegExp, timeoutMs = 10_000): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = '';
    const stop = () => {
      clearTimeout(timer);
      child.stdout?.off('data', onData);
      child.stderr?.off('data', onData);
      child.off('exit', onExit);
    };
    const onData = (chunk: Buffer) => {
      seen += chunk;
      if (typeof text === 'string' ? !seen.includes(text) : !text.test(seen)) return;
      stop();
      resolve(seen);
    };
    const onExit = () => {
      stop();
      reject(new Error(`Ended before it said ${text}:\n${seen}`));
    };
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`Did not say ${text} within ${timeoutMs} ms:\n${seen}`));
    }, timeoutMs);
    child.stdout?.on('data', onData);
    child.stderr?.on('data', onData);
    child.once('exit', onExit);
  });
}

/** A router with NAT between its own network and the lab's internet. */
export class LabNat {
  readonly lab: Lab;
  readonly namespace: string;
  readonly outside: string;
  readonly #number: number;
  #hosts = 0;

  constructor(lab: Lab, namespace: string, outside: string, number: number) {
    this.lab = lab;
    this.namespace = namespace;
    this.outside = outside;
    this.#number = number;
  }

  /** A host behind this NAT. */
  host(name: string): LabHost {
    const { address, gateway } = this.place();
    return this.lab.attach(name, this.namespace, address, gateway);
  }

  /** The next free address inside, and the NAT's own. */
  place(): { address: string; gateway: string } {
    this.#hosts++;
    return { address: `10.${this.#number}.0.${this.#hosts + 1}`, gateway: `10.${this.#number}.0.1` };
  }

  /** Forgets every mapping, as a NAT does that restarts. */
  flush(rules: string): void {
    this.lab.nft(this.namespace, rules);
  }
}

/** A small internet, 203.0.113.0/24, on one bridge. */
export class Lab {
  readonly #prefix: string;
  readonly #namespaces: string[] = [];
  readonly #hosts: LabHost[] = [];
  readonly #internet: string;
  #links = 0;
  #nats = 0;

  constructor() {
    this.#prefix = `tp${process.pid.toString(36)}${labCount()}`;
    this.#internet = this.#namespace('inet');
    this.#bridge(this.#internet);
  }

  /** The namespace of the internet's bridge. */
  get internet(): string {
    return this.#internet;
  }

  /** A host with an address of its own on the internet; `extra` addresses are added to it. */
  host(name: string, address: string, ...extra: string[]): LabHost {
    const host = this.attach(name, this.#internet, address, undefined);
    for (const other of extra) ip('-n', host.namespace, 'addr', 'add', `${other}/24`, 'dev', 'eth0');
    return host;
  }

  /** A NAT with the given outside address. `servers` are the addresses that address-dependent mapping tells apart. */
  nat(name: string, outside: string, kind: NatKind, servers: readonly string[] = []): LabNat {
    const number = ++this.#nats;
    const namespace = this.#namespace(name);
    this.#bridge(namespace, `10.${number}.0.1/24`);
    this.#plug(this.#internet, namespace, 'wan');
    ip('-n', namespace, 'addr', 'add', `${outside}/24`, 'dev', 'wan');
    ip('-n', namespace, 'link', 'set', 'wan', 'up');
    execFileSync('ip', ['netns', 'exec', namespace, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    this.nft(namespace, natRules(outside, kind, servers));
    return new LabNat(this, namespace, outside, number);
  }

  /** Puts a host onto the bridge of `bridgeNamespace`. */
  attach(name: string, bridgeNamespace: string, address: string, gateway: string | undefined): LabHost {
    const namespace = this.#namespace(name);
    this.#plug(bridgeNamespace, namespace, 'eth0');
    ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    if (gateway) ip('-n', namespace, 'route', 'add', 'default', 'via', gateway);
    const host = new LabHost(name, namespace, address);
    this.#hosts.push(host);
    return host;
  }

  /** Gives a host one more interface, on the network inside `nat`. */
  join(host: LabHost, nat: LabNat, device: string, address: string): void {
    this.#plug(nat.namespace, host.namespace, device);
    ip('-n', host.namespace, 'addr', 'add', address, 'dev', device);
    ip('-n', host.namespace, 'link', 'set', device, 'up');
  }

  /** Gives a host one more interface, on the network behind another NAT; returns the address of that NAT inside. */
  plug(host: LabHost, nat: LabNat, device: string): string {
    const { address, gateway } = nat.place();
    this.#plug(nat.namespace, host.namespace, device);
    ip('-n', host.namespace, 'addr', 'add', `${address}/24`, 'dev', device);
    ip('-n', host.namespace, 'link', 'set', device, 'up');
    return gateway;
  }

  /** A host on a network of its own behind another host, which forwards for it; `prefix` is that network's, `192.168.77`. */
  behind(router: LabHost, name: string, device: string, prefix: string): LabHost {
    const namespace = this.#namespace(name);
    ip('link', 'add', device, 'netns', router.namespace, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip('-n', router.namespace, 'addr', 'add', `${prefix}.1/24`, 'dev', device);
    ip('-n', router.namespace, 'link', 'set', device, 'up');
    ip('-n', namespace, 'addr', 'add', `${prefix}.2/24`, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    ip('-n', namespace, 'route', 'add', 'default', 'via', `${prefix}.1`);
    execFileSync('ip', ['netns', 'exec', router.namespace, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    const host = new LabHost(name, namespace, `${prefix}.2`);
    this.#hosts.push(host);
    return host;
  }

  /** Loads nftables rules into a namespace. */
  nft(namespace: string, rules: string): void {
    execFileSync('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], { input: rules });
  }

  async close(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.stopAll()));
    for (const namespace of this.#namespaces) {
      endProcesses(namespace);
      spawnSync('ip', ['netns', 'del', namespace]);
    }
  }

  #namespace(name: string): string {
    const namespace = `${this.#prefix}-${name}`;
    ip('netns', 'add', namespace);
    this.#namespaces.push(namespace);
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    return namespace;
  }

  #bridge(namespace: string, address?: string): void {
    ip('-n', namespace, 'link', 'add', 'br0', 'type', 'bridge');
    if (address) ip('-n', namespace, 'addr', 'add', address, 'dev', 'br0');
    ip('-n', namespace, 'link', 'set', 'br0', 'up');
  }

  #plug(bridgeNamespace: string, namespace: string, device: string): void {
    const port = `p${++this.#links}`;
    ip('link', 'add', port, 'netns', bridgeNamespace, 'type', 'veth', 'peer', 'name', device, 'netns', namespace);
    ip('-n', bridgeNamespace, 'link', 'set', port, 'master', 'br0');
    ip('-n', bridgeNamespace, 'link', 'set', port, 'up');
  }
}

/** Kills what a program that was killed has left in a namespace, such as wireguard-go, which would keep the namespace. */
function endProcesses(namespace: string): void {
  const { stdout } = spawnSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' });
  for (const pid of (stdout ?? '').split('\n').map(Number)) {
    if (!Number.isInteger(pid) || pid <= 1) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

let labs = 0;
function labCount(): number {
  return labs++;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/**
 * The rules of a kind. `mapped` learns external port → inside endpoint from every packet that leaves, `contacted`
 * learns whom each external port has talked to; what comes in is let through by looking there.
 */
function natRules(outside: string, kind: NatKind, servers: readonly string[]): string {
  const inbound = {
    'endpoint-independent': 'iifname "wan" meta l4proto udp dnat to udp dport map @mapped',
    'address-dependent': 'iifname "wan" meta l4proto udp udp dport . ip saddr @contacted dnat to udp dport map @mapped',
    'address-and-port-dependent': '',
  }[kind.filtering];
  return `
table ip towpath
delete table ip towpath
table ip towpath {
  map mapped { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 5m; size 65535; }
  set contacted { type inet_service . ipv4_addr; flags dynamic,timeout; timeout 5m; size 65535; }
  chain prerouting { type nat hook prerouting priority dstnat;
    ${inbound}
  }
  chain postrouting { type nat hook postrouting priority srcnat;
    ${mappingRules(outside, kind, servers).join('\n    ')}
    oifname "wan" masquerade
  }
  chain learn { type filter hook postrouting priority 300;
    oifname "wan" meta l4proto udp update @mapped { udp sport : ct original ip saddr . ct original proto-src }
    oifname "wan" meta l4proto udp update @contacted { udp sport . ip daddr }
  }
  chain input { type filter hook input priority 0;
    iifname "wan" ct state new drop
  }
  chain forward { type filter hook forward priority 0;
    ${kind.udpBlocked ? 'meta l4proto udp drop' : ''}
    iifname "wan" ct status dnat accept
    iifname "wan" ct state new drop
  }
}
`;
}

function mappingRules(outside: string, kind: NatKind, servers: readonly string[]): string[] {
  const udp = 'oifname "wan" meta l4proto udp';
  switch (kind.mapping) {
    case 'endpoint-independent':
      // A range makes the kernel choose by the inside port alone, so the mapping stays endpoint-independent.
      return kind.ports && kind.ports !== 'preserving' ? [`${udp} snat to ${outside}:20000-29999`] : [];
    case 'address-dependent':
      return servers.map(
        (server, at) => `${udp} ip daddr ${server} snat to ${outside}:${20_000 + at * 2_000}-${21_999 + at * 2_000}`,
      );
    case 'address-and-port-dependent': {
      if (kind.ports !== 'sequential') return [`${udp} masquerade fully-random`];
      const ports = Array.from({ length: 256 }, (_, at) => `${at} : ${30_000 + at}`).join(', ');
      return [`${udp} snat to ${outside} : numgen inc mod 256 map { ${ports} }`];
    }
    default:
      return kind.mapping satisfies never;
  }
}
