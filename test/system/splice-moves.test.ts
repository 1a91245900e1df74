import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { SystemRandom } from '@towpath/core';
import { generateWireGuardKey, toHex } from '@towpath/membership';
import { afterEach, describe, expect, it } from 'vitest';
import { interfaceNameFor } from '../../packages/mesh/src/index.ts';
import { finished, Lab, type LabHost, NAT_KINDS } from './support/lab.ts';
import type { SpliceNodeOptions, SpliceOrder, SpliceState } from './support/splice-node.ts';
import { childrenOf, pause } from './support/survival.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

/** Moves of each end, and pings in all; 100 and 10,000 are in bench/RESULTS.md. */
const MOVES = Number(process.env.TOWPATH_MOVES ?? 20);
const PINGS = 100 * MOVES;
const PING_MS = 20;

/** As ufw has it with "default deny incoming": what was not asked for is dropped, but for echo requests. */
const FIREWALL = `table inet firewall {
  chain input { type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    ct state invalid drop
    icmp type echo-request accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, echo-request } accept
  }
}`;

/** A router with a LAN of its own behind it: forwards, masquerades, and drops what comes in unasked. */
const ROUTER = `${FIREWALL}
table inet router {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan0" accept
  }
  chain post { type nat hook postrouting priority srcnat;
    oifname "eth0" masquerade
  }
}`;

class End {
  readonly host: LabHost;
  readonly address: string;
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(host: LabHost, options: SpliceNodeOptions) {
    this.host = host;
    this.address = options.address;
    this.child = host.spawn(
      process.execPath,
      ['test/system/support/splice-node.ts', JSON.stringify(options)],
      {},
      'pipe',
    );
    this.child.stderr?.pipe(process.stderr);
    this.#lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  async read(): Promise<SpliceState> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.host.name} ended.`);
    return JSON.parse(value);
  }

  tell(order: SpliceOrder): Promise<SpliceState> {
    this.child.stdin!.write(`${JSON.stringify(order)}\n`);
    return this.read();
  }
}

describe.skipIf(!wireGuardAvailable())('moves between hop and splice', () => {
  let lab: Lab;
  let folder: string;
  let a: End;
  let b: End;
  const ends: End[] = [];

  afterEach(async () => {
    for (const end of ends) end.child.stdin!.end();
    await Promise.all(ends.splice(0).map(({ child }) => finished(child, 20_000).catch(() => {})));
    await lab.close();
    rmSync(folder, { recursive: true });
  });

  /** Two hosts, where each is reached at, and a tunnel between them that the hop carries. */
  async function open(hosts: [LabHost, LabHost], at: [string, string], family: 4 | 6 = 4): Promise<void> {
    folder = mkdtempSync(join(tmpdir(), 'towpath-moves-'));
    const keys = hosts.map(() => generateWireGuardKey(new SystemRandom()));
    const end = (own: 0 | 1) => {
      const other = own === 0 ? 1 : 0;
      return new End(hosts[own], {
        interfaceName: interfaceNameFor(`${process.pid}`.padStart(32, '0'), `${own + 7}`.padStart(32, '0')),
        stateFolder: join(folder, `${own}`),
        privateKey: toHex(keys[own]!.privateKey),
        peerKey: toHex(keys[other]!.publicKey),
        address: `10.66.0.${2 + own}`,
        peerAddress: `10.66.0.${2 + other}`,
        family,
        port: 40_000 + own,
        remote: { address: at[other], port: 40_000 + other },
      });
    };
    [a, b] = [end(0), end(1)];
    ends.push(a, b);
    await Promise.all([a.read(), b.read()]);
    await expect.poll(() => reaches(), { timeout: 30_000, interval: 500 }).toBe(true);
  }

  const reaches = async () =>
    (await a.host.run('ping', ['-c', '1', '-W', '1', b.address])).stdout.includes('1 received');

  function ping(from: End, to: End, count: number): Promise<{ sent: number; lost: number[] }> {
    const child = from.host.spawn('ping', ['-c', `${count}`, '-i', `${PING_MS / 1_000}`, '-W', '3', to.address]);
    return finished(child, count * PING_MS * 5 + 60_000).then(({ stdout }) => {
      const answered = new Set([...stdout.matchAll(/icmp_seq=(\d+)/g)].map(([, sequence]) => Number(sequence)));
      const lost = Array.from({ length: count }, (_, at) => at + 1).filter((sequence) => !answered.has(sequence));
      return { sent: count, lost };
    });
  }

  /** Moves both ends at random moments while both ping, and counts what is lost. */
  async function losesNothing(): Promise<void> {
    const pauseMs = (2 * (PINGS / 2) * PING_MS) / MOVES;
    const before = await Promise.all([a.tell('state'), b.tell('state')]);
    const pings = [ping(a, b, PINGS / 2), ping(b, a, PINGS / 2)];
    // The pings end a little later than the last move.
    const order = { moves: MOVES, pauseMs: pauseMs * 0.9 };
    const after = await Promise.all([a.tell(order), b.tell(order)]);
    const results = await Promise.all(pings);
    expect(results.map(({ lost }) => lost)).toEqual([[], []]);
    for (const [at, state] of after.entries()) {
      expect(state.toSplice + state.toHop - before[at]!.toSplice - before[at]!.toHop).toBe(MOVES);
      expect(state.probes).toBeGreaterThan(before[at]!.probes);
    }
  }

  const time = 60_000 + PINGS * PING_MS * 3;

  it('lose nothing behind NATs, on hosts that drop by default and are routers themselves (D1, D4)', {
    timeout: time,
  }, async () => {
    lab = new Lab();
    const nats = [
      lab.nat('na', '203.0.113.61', NAT_KINDS['port-restricted']),
      lab.nat('nb', '203.0.113.62', NAT_KINDS['port-restricted']),
    ] as const;
    const hosts: [LabHost, LabHost] = [nats[0].host('a'), nats[1].host('b')];
    const clients = hosts.map((host, at) => lab.behind(host, `client${at}`, 'lan0', `192.168.${77 + at}`));
    for (const host of hosts) lab.nft(host.namespace, ROUTER);
    const server = lab.host('server', '203.0.113.99');
    await open(hosts, [nats[0].outside, nats[1].outside]);
    await losesNothing();
    // What the hosts forward for others still passes.
    expect(await Promise.all([a.tell('splice'), b.tell('splice')])).toMatchObject([
      { kind: 'splice' },
      { kind: 'splice' },
    ]);
    for (const client of clients) {
      expect((await client.run('ping', ['-c', '2', '-W', '2', server.address])).stdout).toContain('2 received');
    }
  });

  it('lose nothing over IPv6, on hosts that drop by default (D1, D4)', { timeout: time }, async () => {
    lab = new Lab();
    const hosts: [LabHost, LabHost] = [lab.host('a', '203.0.113.61'), lab.host('b', '203.0.113.62')];
    const addresses: [string, string] = ['2001:db8::61', '2001:db8::62'];
    for (const [at, host] of hosts.entries()) {
      await host.run('ip', ['addr', 'add', `${addresses[at]}/64`, 'dev', 'eth0', 'nodad']);
      lab.nft(host.namespace, FIREWALL);
    }
    await open(hosts, addresses, 6);
    await losesNothing();
  });

  it('a rule set that another program flushes changes nothing; a table that is gone is made again within a second (D1)', async () => {
    lab = new Lab();
    const hosts: [LabHost, LabHost] = [lab.host('a', '203.0.113.61'), lab.host('b', '203.0.113.62')];
    for (const host of hosts) lab.nft(host.namespace, FIREWALL);
    await open(hosts, ['203.0.113.61', '203.0.113.62']);
    expect(await Promise.all([a.tell('splice'), b.tell('splice')])).toMatchObject([
      { kind: 'splice' },
      { kind: 'splice' },
    ]);
    const flushed = ping(a, b, 100);
    await pause(500);
    lab.nft(hosts[0].namespace, 'flush ruleset');
    lab.nft(hosts[1].namespace, 'flush ruleset');
    expect((await flushed).lost).toEqual([]);
    expect([await a.tell('state'), await b.tell('state')]).toMatchObject([{ kind: 'splice' }, { kind: 'splice' }]);

    const before = tables(hosts[0]);
    const pings = ping(a, b, 300);
    await pause(500);
    // Of the splice, and of the party filter.
    const holders = childrenOf(a.child.pid!, 'nft -j -n -i');
    expect(holders).toHaveLength(2);
    const killedAt = performance.now();
    for (const holder of holders) process.kill(holder, 'SIGKILL');
    await expect
      .poll(() => tables(hosts[0]).filter((table) => !before.includes(table)), { timeout: 5_000, interval: 20 })
      .toHaveLength(2);
    const repairedMs = Math.round(performance.now() - killedAt);
    await expect.poll(async () => (await a.tell('state')).kind, { timeout: 10_000 }).toBe('splice');
    const { lost } = await pings;
    // Listing the tables takes a moment itself.
    expect(repairedMs).toBeLessThan(1_000);
    expect(lost.length * PING_MS).toBeLessThan(1_000);
  });

  it('what is sent on two paths is delivered once, in order', async () => {
    lab = new Lab();
    const hosts: [LabHost, LabHost] = [lab.host('a', '203.0.113.61'), lab.host('b', '203.0.113.62')];
    await open(hosts, ['203.0.113.61', '203.0.113.62']);
    const before = await Promise.all([a.tell('twice'), b.tell('twice')]);
    const { stdout } = await a.host.run('ping', ['-c', '200', '-i', '0.01', '-W', '2', b.address]);
    const after = await Promise.all([a.tell('state'), b.tell('state')]);
    // Each end's hop was given every packet twice …
    for (const [at, { received }] of after.entries())
      expect(received - before[at]!.received).toBeGreaterThanOrEqual(400);
    // … and WireGuard, which refuses a counter that it has seen, hands on one.
    const answered = [...stdout.matchAll(/icmp_seq=(\d+)/g)].map(([, sequence]) => Number(sequence));
    expect(answered).toEqual(Array.from({ length: 200 }, (_, at) => at + 1));
    expect(stdout).not.toContain('DUP');
  });

  function tables({ namespace }: LabHost): string[] {
    const text = execFileSync('ip', ['netns', 'exec', namespace, 'nft', 'list', 'tables'], { encoding: 'utf8' });
    return text.split('\n').filter((line) => line.includes('towpath-splice'));
  }
});
