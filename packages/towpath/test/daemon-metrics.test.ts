import { readFileSync } from 'node:fs';
import { VirtualClock } from '@towpath/core/testing';
import type { ConnectionStatus } from '@towpath/mesh';
import { expect, test } from 'vitest';
import { DaemonMetrics } from '../src/daemon/metrics/daemon-metrics.ts';
import { racesOf } from '../src/daemon/parties/races.ts';
import { explain } from '../src/daemon/parties/why.ts';

const peer: ConnectionStatus = {
  peerId: 'a'.repeat(32),
  name: 'ben',
  virtualIp: '10.66.1.2',
  endpoint: '203.0.113.9:4000',
  strategy: 'direct',
  latencyMs: 12,
  connectedAt: undefined,
  status: 'connected',
  reason: 'echo-answered',
  online: true,
  path: { id: 'p1', kind: 'p2p', relay: undefined },
  pathReason: 'first',
  refusedBy: undefined,
  policy: 'auto',
  peerPolicy: undefined,
  isRefusedByPeer: false,
  relayReason: undefined,
  dataPlane: 'splice',
  dataPlaneReason: 'spliced',
  lossRatio: 0.25,
  mtuBytes: 1_420,
  receivedBytes: 1_000,
  sentBytes: 10,
  lastHandshakeAt: undefined,
};

function metricsOf(clock: VirtualClock): DaemonMetrics {
  return new DaemonMetrics({ clock, source: { parties: () => [], cameras: () => [], subscribers: () => 2 } });
}

/** `name{labels}` → value, and the types of all metrics. */
async function read(metrics: DaemonMetrics): Promise<{ values: Map<string, number>; types: Map<string, string> }> {
  const lines = (await metrics.page()).split('\n');
  const values = new Map(
    lines.flatMap((line) => {
      const match = /^(\w+(?:\{.*\})?) (\S+)$/.exec(line);
      return match === null ? [] : [[match[1]!, Number(match[2])] as const];
    }),
  );
  const types = new Map(
    lines.flatMap((line) => {
      const match = /^# TYPE (\S+) (\S+)$/.exec(line);
      return match === null ? [] : [[match[1]!, match[2]!] as const];
    }),
  );
  return { values, types };
}

test('time by class and data plane, switches, bytes, echoes and races of peers are counted (A10)', async () => {
  const clock = new VirtualClock();
  const metrics = metricsOf(clock);
  const races = racesOf([
    { atMs: 1_000, what: 'attempt', label: '192.168.1.2:4000', reason: 'requested' },
    { atMs: 1_010, what: 'attempt', label: '203.0.113.9:4000', reason: 'requested' },
    { atMs: 1_050, what: 'success', label: '203.0.113.9:4000', reason: 'first' },
    { atMs: 3_000, what: 'failure', label: '192.168.1.2:4000', reason: 'timed-out' },
  ]);
  expect(races).toMatchObject([
    {
      elapsedMs: 50,
      running: false,
      winner: '203.0.113.9:4000',
      attempts: [{ kind: 'lan', state: 'failed', endedMs: 2_000 }, { kind: 'p2p' }],
    },
  ]);
  metrics.peers.changed('camp', 'path', 'first', peer);
  await clock.advance(10_000);
  metrics.peers.sampled('camp', { ...peer, receivedBytes: 1_500 }, races);
  metrics.peers.changed('camp', 'path', 'faster', {
    ...peer,
    strategy: 'relay',
    dataPlane: 'hop',
    receivedBytes: 1_500,
  });
  await clock.advance(5_000);
  // The interface was made again: its counters begin at 0.
  metrics.peers.sampled('camp', { ...peer, status: 'failed', receivedBytes: 40 }, races);
  const { values } = await read(metrics);
  expect(values.get('towpath_path_seconds_total{class="direct",data_plane="splice"}')).toBe(10);
  expect(values.get('towpath_path_seconds_total{class="relay",data_plane="hop"}')).toBe(5);
  expect(values.get('towpath_path_switches_total{reason="faster"}')).toBe(1);
  expect(values.get('towpath_peer_bytes_total{party="camp",peer="ben",direction="received"}')).toBe(540);
  expect(values.get('towpath_echo_samples_total{result="answered"}')).toBe(1);
  expect(values.get('towpath_echo_samples_total{result="lost"}')).toBe(1);
  expect(values.get('towpath_peer_echo_loss_ratio{party="camp",peer="ben"}')).toBe(0.25);
  // One race, although it was seen twice.
  expect(values.get('towpath_race_seconds_count{kind="p2p",outcome="won"}')).toBe(1);
  metrics.peers.removed('camp', peer);
  expect([...(await read(metrics)).values.keys()].filter((name) => name.includes('latency_seconds{'))).toEqual([]);
});

test('every expression of the Grafana dashboard uses metrics that exist, by their type', async () => {
  const text = readFileSync(new URL('../../../deploy/grafana/towpath.json', import.meta.url), 'utf8');
  const dashboard = JSON.parse(text) as { title: string; panels: { title: string; targets: { expr: string }[] }[] };
  const { types } = await read(metricsOf(new VirtualClock()));
  const used = new Set<string>();
  for (const { title, targets } of dashboard.panels) {
    for (const { expr } of targets) {
      for (const [name = ''] of expr.matchAll(/towpath_\w+/g)) {
        const base = name.replace(/_(bucket|sum|count)$/, '');
        const metric = types.has(name) ? name : base;
        expect([title, name, types.has(metric)]).toEqual([title, name, true]);
        const isCounted = new RegExp(`(rate|increase)\\(${name}\\{`).test(expr);
        expect([title, name, isCounted]).toEqual([title, name, types.get(metric) !== 'gauge']);
        used.add(metric);
      }
    }
  }
  // Nothing is measured that nobody can see.
  expect([...types.keys()].filter((name) => !used.has(name))).toEqual([]);
});

test('counters end with _total, and every metric says what it is', async () => {
  const metrics = metricsOf(new VirtualClock());
  const { types } = await read(metrics);
  const page = await metrics.page();
  for (const [name, type] of types) {
    expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
    expect(page).toMatch(new RegExp(`# HELP ${name} \\S+`));
  }
});

test('why says what makes a relayed path direct, by its reason, and what to do about a peer that is not reached (D4)', () => {
  const relayed = explain(
    {
      ...peer,
      strategy: 'relay',
      relayReason: 'hard-nats',
      path: { id: 'r', kind: 'relay', relay: 'turn:203.0.113.1' },
    },
    [],
  );
  expect(relayed).toMatchObject({ verdict: 'relayed', reason: { code: 'hard-nats' } });
  expect(relayed.next.join(' ')).toContain('port mapping');
  const offline = explain({ ...peer, status: 'failed', online: false, reason: 'peer-offline', path: undefined }, []);
  expect(offline).toMatchObject({
    verdict: 'unreachable',
    reason: { code: 'peer-offline' },
    next: [expect.stringContaining('towpath up')],
  });
  expect(explain(peer, [])).toMatchObject({ verdict: 'direct', next: [] });
  const [slow] = explain({ ...peer, status: 'degraded', reason: 'echo-slow', latencyMs: 181 }, []).next;
  expect(slow).toContain('took 200 ms or more, and are not below 180 ms again');
  const [lost] = explain({ ...peer, status: 'degraded', reason: 'echo-lost' }, []).next;
  expect([lost?.includes('not answered'), lost?.includes(' ms')]).toEqual([true, false]);
});

test('why names the policy that does not allow the paths on which a peer answers, and how to change it first (C13, D4)', () => {
  const refused: ConnectionStatus = {
    ...peer,
    ...{ status: 'connecting', reason: 'path-new', pathReason: 'policy', refusedBy: 'lan-only', path: undefined },
  };
  const { verdict, reason, summary, details, next } = explain(refused, []);
  expect([verdict, reason.code, summary]).toEqual([
    'unreachable',
    'policy',
    'ben answers, but only on paths that the policy lan-only does not allow.',
  ]);
  expect(next[0]).toContain('--policy auto');
  expect([...details, ...next].join(' ')).not.toMatch(/netcheck|Add a relay|a moment ago/);
  expect(explain({ ...refused, refusedBy: 'direct-only' }, []).next).toHaveLength(1);
  // A peer that has left, or is offline, does not answer at all.
  for (const left of [{ reason: 'peer-left' }, { reason: 'peer-offline', online: false }] as const)
    expect(explain({ ...refused, ...left }, [])).toMatchObject({ reason: { code: left.reason } });
});

test('why names the policies of both ends, and whose forbids the paths (C13, D4)', () => {
  const theirs: ConnectionStatus = {
    ...peer,
    status: 'failed',
    reason: 'reconnect-failed',
    peerPolicy: 'lan-only',
    isRefusedByPeer: true,
  };
  const [viaPath, noPath] = [explain(theirs, []), explain({ ...theirs, path: undefined, policy: 'relay-only' }, [])];
  expect(viaPath).toEqual({
    verdict: 'unreachable',
    reason: expect.objectContaining({ code: 'policy' }),
    summary: 'ben is not reached: its policy lan-only does not allow the paths to it that work.',
    details: ['The policy here is auto, that of ben is lan-only.'],
    next: ['On ben, start with --policy auto; in the configuration there, policy: auto.'],
  });
  expect(noPath.summary).toBe(
    'ben is not reached: its policy lan-only does not allow any path that the policy here allows.',
  );
  const both = explain({ ...theirs, path: undefined, policy: 'relay-only', refusedBy: 'relay-only' }, []);
  expect(both.next.slice(0, 2).map((step) => step.slice(0, 10))).toEqual(['On ben, st', 'Start with']);
  const relayed = { ...peer, strategy: 'relay', relayReason: 'policy', peerPolicy: 'relay-only' } as const;
  expect(explain(relayed, []).next[0]).toContain('On ben, start with');
  expect(explain({ ...relayed, policy: 'relay-only' }, []).next[0]).toBe('Start without --policy relay-only.');
});

test('why says that a relay refused an address, and how to allow it where it does not forward there (D4)', () => {
  const failed = {
    ...peer,
    status: 'failed',
    reason: 'reconnect-failed',
    path: undefined,
    endpoint: undefined,
  } as const;
  const told = (reason: string) =>
    explain(failed, [{ atMs: 0, what: 'failure', label: '198.51.100.3:45677 from turn:192.0.2.1:3478', reason }]);
  const forbidden = told('relay-forbids');
  expect(forbidden.details).toEqual([
    '198.51.100.3:45677 from turn:192.0.2.1:3478 was refused by the relay, which does not forward to private or special networks (relay-forbids).',
  ]);
  expect(forbidden.next.join(' ')).toContain('--allow-peer NETWORK');
  const refused = told('stun-refused');
  expect(refused.details.join(' ')).toContain('was refused by the relay (stun-refused)');
  expect(refused.next.join(' ')).not.toContain('--allow-peer');
  expect(told('timed-out').details.join(' ')).toContain('did not answer (timed-out)');
});
