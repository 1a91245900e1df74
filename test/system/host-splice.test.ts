import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PYTHON } from './support/python.ts';
import { finished, Lab, type LabHost, labAvailable, says } from './support/lab.ts';

const SPLICE = new URL('./support/host-splice.ts', import.meta.url).pathname;
const LOAD = new URL('./support/udp-load.py', import.meta.url).pathname;
const WIREGUARD = 51_820;
const PATH = { a: 40_000, b: 40_001 };
const ADDRESS = { 4: { a: '203.0.113.30', b: '203.0.113.31' }, 6: { a: '2001:db8::30', b: '2001:db8::31' } } as const;
/** The first bytes of a handshake initiation, a data message, and a Binding request. */
const HANDSHAKE = '01000000';
const DATA = '04000000';
const STUN = '000100002112a442';

type Name = 'a' | 'b';
/** The program that holds a host's splice. */
interface Splice {
  readonly child: ChildProcess;
  ask(line: string): Promise<Record<string, unknown>>;
}

const available = labAvailable() && spawnSync(PYTHON, ['-V']).error === undefined;

describe.skipIf(!available && process.env.CI !== 'true')(
  'the splice of two hosts that drop by default (needs root, iproute2, nftables, python3)',
  () => {
    let lab: Lab;
    let hosts: Record<Name, LabHost>;
    let splices: Record<Name, Splice>;

    beforeEach(async () => {
      lab = new Lab();
      hosts = { a: lab.host('a', ADDRESS[4].a), b: lab.host('b', ADDRESS[4].b) };
      for (const name of ['a', 'b'] as const) {
        await hosts[name].run('ip', ['addr', 'add', `${ADDRESS[6][name]}/64`, 'dev', 'eth0', 'nodad']);
        lab.nft(
          hosts[name].namespace,
          `table inet firewall { chain input { type filter hook input priority 0; policy drop;
             ct state established,related accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; iif lo accept; udp dport ${PATH[name]} accept; }; }`,
        );
      }
      splices = { a: await open('a'), b: await open('b') };
    });

    afterEach(() => lab.close());

    async function open(name: Name): Promise<Splice> {
      const child = hosts[name].spawn(process.execPath, [SPLICE, String(WIREGUARD)], {}, 'pipe');
      const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
      const read = async () => JSON.parse((await lines.next()).value ?? '{}') as Record<string, unknown>;
      expect(await read()).toEqual({ open: true });
      const ask = (line: string) => {
        child.stdin!.write(`${line}\n`);
        return read();
      };
      return { child, ask };
    }

    const other = (name: Name): Name => (name === 'a' ? 'b' : 'a');

    /** Tells the splice of `at` about its peer. */
    const tell = (at: Name, command: string, family: 4 | 6 = 4) =>
      splices[at].ask(`${command} ${ADDRESS[family][other(at)]} ${PATH[other(at)]} ${PATH[at]}`);

    async function send(
      from: Name,
      port: number,
      prefix: string,
      { count = 20, family = 4 as 4 | 6 } = {},
    ): Promise<void> {
      const to = other(from);
      const load = [ADDRESS[family][from], port, ADDRESS[family][to], PATH[to], count, 200, 1_000, prefix].map(String);
      expect((await hosts[from].run(PYTHON, [LOAD, 'send', ...load])).stderr).toBe('');
    }

    /** Counts what reaches a port of the host meanwhile. */
    async function counted(at: Name, port: number, meanwhile: () => Promise<void>, family: 4 | 6 = 4) {
      const child = hosts[at].spawn(PYTHON, [LOAD, 'count', ADDRESS[family][at], String(port)]);
      const done = finished(child, 60_000);
      await says(child, 'ready');
      await meanwhile();
      child.kill('SIGTERM');
      return (JSON.parse((await done).stdout.split('\n')[1]!) as { sources: Record<string, number> }).sources;
    }

    test.each([4, 6] as const)(
      'IPv%i: data passes between private ports, seen as the path ports; STUN reaches the path socket (D1)',
      async (family) => {
        for (const name of ['a', 'b'] as const) {
          await tell(name, 'addOut', family);
          expect(await tell(name, 'addIn', family)).toEqual({ in: true, out: true });
        }
        // The first packet of each end opens its own firewall; the other end's is dropped before that.
        expect(await counted('b', WIREGUARD, () => send('a', WIREGUARD, HANDSHAKE, { family }), family)).toEqual({});
        const seenByA = { [`${ADDRESS[family].b}:${PATH.b}`]: 20 };
        expect(await counted('a', WIREGUARD, () => send('b', WIREGUARD, DATA, { family }), family)).toEqual(seenByA);
        const seenByB = { [`${ADDRESS[family].a}:${PATH.a}`]: 20 };
        expect(await counted('b', WIREGUARD, () => send('a', WIREGUARD, DATA, { family }), family)).toEqual(seenByB);
        expect(await counted('b', PATH.b, () => send('a', PATH.a, STUN, { family }), family)).toEqual(seenByB);
        expect(await tell('a', 'counters', family)).toMatchObject({ outPackets: 40, inPackets: 20 });
      },
    );

    test('moves in both directions at the receiving end alone, and nothing of strangers passes', async () => {
      for (const name of ['a', 'b'] as const) await tell(name, 'addOut');
      const seen = { [`${ADDRESS[4].a}:${PATH.a}`]: 20 };
      // Not in the first rule yet: the path socket gets it, and hands it on as the hop does.
      expect(await counted('b', PATH.b, () => send('a', WIREGUARD, DATA))).toEqual(seen);
      await tell('b', 'addIn');
      await send('b', WIREGUARD, DATA, { count: 1 });
      expect(await counted('b', WIREGUARD, () => send('a', WIREGUARD, DATA))).toEqual(seen);
      expect(await counted('b', PATH.b, () => send('a', WIREGUARD, DATA))).toEqual({});
      // Another port of the same host is no peer.
      expect(await counted('b', WIREGUARD, () => send('a', 41_000, DATA))).toEqual({});
      await tell('b', 'removeIn');
      expect(await counted('b', PATH.b, () => send('a', WIREGUARD, DATA))).toEqual(seen);
      await tell('a', 'removeOut');
      expect(await counted('b', PATH.b, () => send('a', WIREGUARD, DATA))).toEqual({
        [`${ADDRESS[4].a}:${WIREGUARD}`]: 20,
      });
    });

    test('flushing the rule set does not touch the tables, which have an owner; kill -9 leaves none', async () => {
      await tell('a', 'addOut');
      lab.nft(hosts.a.namespace, 'flush ruleset');
      expect(tables('a')).toContain('towpath-splice');
      expect(await counted('b', PATH.b, () => send('a', WIREGUARD, DATA))).toEqual({
        [`${ADDRESS[4].a}:${PATH.a}`]: 20,
      });
      process.kill(splices.a.child.pid!, 'SIGKILL');
      await expect.poll(() => tables('a'), { timeout: 5_000 }).not.toContain('towpath-splice');
    });

    function tables(name: Name): string {
      return execFileSync('ip', ['netns', 'exec', hosts[name].namespace, 'nft', 'list', 'tables'], {
        encoding: 'utf8',
      });
    }
  },
);
