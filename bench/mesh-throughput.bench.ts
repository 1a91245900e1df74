import type { GridMember } from '../test/system/support/mesh-grid.ts';
import { MeshGrid } from '../test/system/support/mesh-grid.ts';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { connectPair, raiseFirewall } from './support/mesh-lab.ts';
import { BareHopTunnel, PlainWireGuard } from './support/plain-wireguard.ts';
import { threadSeconds } from './support/processor.ts';
import { isInstalled } from './support/program.ts';
import { sleep } from './support/relay-load.ts';
import { TcpFlow } from './support/tcp-flow.ts';

const PLAIN_GOAL = 0.95;
const COTURN_GOAL = 0.9;
const DAEMON_GOAL_PERCENT = 1;
const ADDED_P50_MS = 0.15;
const ADDED_P99_MS = 1;
const PLAIN_PORT = 51_900;
const FLOW_PORT = 9_000;
const CONNECT_MS = 40_000;
/** The daemons compare paths and test the MTU after the first echo; a relayed path becomes plain and spliced meanwhile. */
const SETTLE_MS = 6_000;

interface Plan {
  rounds: number;
  seconds: number;
  pings: number;
}

const FULL: Plan = { rounds: 10, seconds: 2, pings: 500 };
const QUICK: Plan = { rounds: 2, seconds: 1, pings: 50 };

type Pair = readonly [GridMember, GridMember];

/** One direction through a tunnel between two hosts. */
interface Direction {
  name: string;
  from: GridMember;
  to: GridMember;
  address: string;
}

interface Context {
  plan: Plan;
  print: (line: string) => void;
}

export const bench: Bench = {
  about:
    'TCP through the tunnel between two members behind port-restricted NATs with host firewalls: spliced beside plain wireguard-go, through the hop beside a bare two-socket hop, relayed by our TURN server beside coturn; medians of alternating runs',
  async run({ quick, print }) {
    const context: Context = { plan: quick ? QUICK : FULL, print };
    await using stack = new AsyncDisposableStack();
    const grid = stack.adopt(await MeshGrid.open(), (one) => one.close());
    const direct = await pairOf(grid, 'd', true);
    const hop = await pairOf(grid, 'h', false);
    const rows = [...(await measureDirect(direct, context)), ...(await measureHop(hop, context))];
    if (!isInstalled('turnserver')) return rows;
    const other = stack.adopt(await MeshGrid.open({ coturn: true }), (one) => one.close());
    return [...rows, ...(await measureRelay(await pairOf(grid, 'r', true), await pairOf(other, 'c', true), context))];
  },
};

async function pairOf(grid: MeshGrid, name: string, splice: boolean): Promise<Pair> {
  const members = ['1', '2'].map((end) => grid.member(`${name}${end}`, 'port-restricted', { splice }));
  const [a, b] = await Promise.all(members);
  raiseFirewall(grid, [a!, b!]);
  return [a!, b!];
}

async function measureDirect(pair: Pair, context: Context): Promise<BenchRow[]> {
  const results = await connectPair(pair, { id: 1, until: 'splice', forMs: CONNECT_MS });
  requirePlane(results, 'splice');
  await sleep(SETTLE_MS);
  const [a, b] = pair;
  await using plain = await PlainWireGuard.open([
    { host: a.host, listenPort: PLAIN_PORT, endpoint: { address: b.nat!.outside, port: PLAIN_PORT } },
    { host: b.host, listenPort: PLAIN_PORT, endpoint: { address: a.nat!.outside, port: PLAIN_PORT } },
  ]);
  const daemons: number[] = [];
  const measured = await alternate(
    [
      { name: 'plain', from: a, to: b, address: plain.addresses[1] },
      { name: 'spliced', from: a, to: b, address: b.address },
    ],
    context,
    daemons,
  );
  release(pair);
  const [value, baseline] = [median(measured.get('spliced')), median(measured.get('plain'))];
  const percent = 100 * median(daemons);
  return [
    row({
      case: 'direct, spliced, beside plain wireguard-go',
      ...throughput(value, baseline),
      goal: `≥ ${PLAIN_GOAL} ×`,
      met: value >= PLAIN_GOAL * baseline,
    }),
    row({
      case: 'direct, spliced',
      metric: 'processor time of the busier daemon, of one core',
      unit: '%',
      value: percent,
      goal: `≤ ${DAEMON_GOAL_PERCENT} %`,
      met: percent <= DAEMON_GOAL_PERCENT,
    }),
  ];
}

async function measureHop(pair: Pair, context: Context): Promise<BenchRow[]> {
  requirePlane(await connectPair(pair, { id: 2, until: 'direct', forMs: CONNECT_MS }), 'hop');
  await sleep(SETTLE_MS);
  const [a, b] = pair;
  const ends = [
    { host: a.host, outside: a.nat!.outside },
    { host: b.host, outside: b.nat!.outside },
  ] as const;
  await using bare = await BareHopTunnel.open(ends);
  await using plain = await PlainWireGuard.open([
    { host: a.host, listenPort: PLAIN_PORT, endpoint: { address: b.nat!.outside, port: PLAIN_PORT } },
    { host: b.host, listenPort: PLAIN_PORT, endpoint: { address: a.nat!.outside, port: PLAIN_PORT } },
  ]);
  const through = (name: string, address: string) => ({ name, from: a, to: b, address });
  const measured = await alternate([through('bare', bare.addresses[1]), through('hop', b.address)], context);
  const [plainMs, hopMs] = [await pings(a, plain.addresses[1], context), await pings(a, b.address, context)];
  release(pair);
  const [value, baseline] = [median(measured.get('hop')), median(measured.get('bare'))];
  const latency = (share: number, limitMs: number) => {
    const [hop, direct] = [percentile(hopMs, share), percentile(plainMs, share)];
    return row({
      case: 'direct through the hop, beside plain wireguard-go',
      metric: `round trip, p${100 * share}`,
      unit: 'ms',
      value: hop,
      baseline: direct,
      // A round trip passes four hops; what one end adds one way is half of what its two add to it.
      goal: `≤ ${limitMs} ms more each way`,
      met: (hop - direct) / 2 <= limitMs,
    });
  };
  return [
    row({
      case: 'direct through the hop, beside a bare two-socket hop',
      ...throughput(value, baseline),
      goal: '≥ 1 ×',
      met: value >= baseline,
    }),
    latency(0.5, ADDED_P50_MS),
    latency(0.99, ADDED_P99_MS),
  ];
}

async function measureRelay(ours: Pair, coturns: Pair, context: Context): Promise<BenchRow[]> {
  const order = { id: 3, until: 'echo', forMs: CONNECT_MS, policy: 'relay-only' } as const;
  await Promise.all([connectPair(ours, order), connectPair(coturns, order)]);
  await sleep(SETTLE_MS);
  const direction = (name: string, [from, to]: Pair) => ({ name, from, to, address: to.address });
  const measured = await alternate([direction('coturn', coturns), direction('ours', ours)], context);
  for (const pair of [ours, coturns]) release(pair);
  const [value, baseline] = [median(measured.get('ours')), median(measured.get('coturn'))];
  return [
    row({
      case: 'relayed by our TURN server, beside coturn',
      ...throughput(value, baseline),
      goal: `≥ ${COTURN_GOAL} ×`,
      met: value >= COTURN_GOAL * baseline,
    }),
  ];
}

/** Runs a flow in each direction in turn. @param daemons gets the share of a core that the busier of the last way's two used */
async function alternate(
  directions: readonly Direction[],
  { plan, print }: Context,
  daemons: number[] = [],
): Promise<Map<string, number[]>> {
  await using stack = new AsyncDisposableStack();
  const flows: { direction: Direction; flow: TcpFlow }[] = [];
  for (const direction of directions) {
    const flow = await TcpFlow.open(direction.from.host, direction.to.host, {
      address: direction.address,
      port: FLOW_PORT,
    });
    stack.defer(() => flow.close());
    flows.push({ direction, flow });
  }
  const measured = new Map<string, number[]>();
  for (let round = 0; round < plan.rounds; round++) {
    // In the other order every second time: what the one leaves behind meets both alike.
    for (const { direction, flow } of round % 2 === 0 ? flows : flows.toReversed()) {
      const ends = [direction.from.pid, direction.to.pid];
      const before = ends.map(threadSeconds);
      const startedMs = performance.now();
      const mbits = await flow.run(plan.seconds);
      const tookS = (performance.now() - startedMs) / 1_000;
      measured.set(direction.name, [...(measured.get(direction.name) ?? []), mbits]);
      if (direction === directions.at(-1))
        daemons.push(Math.max(...ends.map((pid, at) => threadSeconds(pid) - before[at]!)) / tookS);
    }
    const last = [...measured].map(([name, all]) => `${name} ${Math.round(all.at(-1) ?? 0)} Mbit/s`);
    print(`round ${round + 1} of ${plan.rounds}: ${last.join(', ')}`);
  }
  return measured;
}

async function pings(from: GridMember, address: string, { plan }: Context): Promise<number[]> {
  const args = ['-c', String(plan.pings), '-i', '0.01', '-W', '2', address];
  const { stdout } = await from.host.run('ping', args);
  return [...stdout.matchAll(/time=([\d.]+) ms/g)].map(([, ms]) => Number(ms));
}

function throughput(
  value: number,
  baseline: number,
): Pick<BenchRow, 'metric' | 'unit' | 'value'> & { baseline: number } {
  return { metric: 'TCP through the tunnel', unit: 'Mbit/s', value, baseline };
}

function requirePlane(results: readonly { dataPlane: string; dataPlaneReason: string }[], plane: string): void {
  for (const { dataPlane, dataPlaneReason } of results) {
    if (dataPlane !== plane) throw new Error(`The data plane is ${dataPlane}: ${dataPlaneReason}`);
  }
}

function release(pair: Pair): void {
  for (const member of pair) member.release();
}

function median(samples: readonly number[] | undefined): number {
  return percentile(samples ?? [], 0.5);
}
