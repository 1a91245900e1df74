import { type Bench, type BenchRow, row } from './support/bench.ts';
import { NatsServer } from './support/nats.ts';
import { isInstalled } from './support/program.ts';
import { Worker } from './support/worker.ts';
import type { ControlLoadResults, ControlLoadTask } from './workers/control-load.ts';

const MEMORY_GOAL_KB = 25;
const P50_GOAL_MS = 2;
const P99_GOAL_MS = 15;
const NATS_P99_GOAL_MS = 25;
const JOINS_GOAL = 500;
const SYNC_GOAL_MS = 300;

interface Plan {
  connected: number;
  signalling: number;
  forSeconds: number;
  joins: number;
  members: number;
  settleMs: number;
}

const PER_SECOND = 1_000;
const FULL: Plan = {
  connected: 10_000,
  signalling: 5_000,
  forSeconds: 5,
  joins: 2_000,
  members: 1_000,
  settleMs: 2_000,
};
const QUICK: Plan = { connected: 500, signalling: 200, forSeconds: 1, joins: 200, members: 200, settleMs: 200 };

/** Capacity and speed of the control plane; nodes and servers run in separate processes. */
export const bench: Bench = {
  about:
    'a control server with its nodes in another process; beside bare WebSockets (memory, latency of an echo), bare SQLite inserts (joins) and bare Ed25519 verification (first sync)',
  async run({ quick, print }) {
    const plan = quick ? QUICK : FULL;
    const rows: BenchRow[] = [];
    for (const part of [connected, signalling, joins, sync]) {
      for (const result of await part(plan)) {
        rows.push(result);
        print(`  ${result.case}: ${result.metric} ${result.value} ${result.unit}`);
      }
    }
    return rows;
  },
};

async function measure<What extends keyof ControlLoadResults>(
  what: What,
  count: number,
  { settleMs, forSeconds }: Plan,
  nats?: string,
): Promise<ControlLoadResults[What]> {
  const task: ControlLoadTask = { measure: what, count, settleMs, perSecond: PER_SECOND, forSeconds, nats };
  const { worker, first } = await Worker.start<ControlLoadResults[What]>('control-load', task);
  await using _worker = worker;
  return first;
}

async function connected(plan: Plan): Promise<BenchRow[]> {
  const count = plan.connected;
  const ours = await measure('connections', count, plan);
  const bare = await measure('bareConnections', count, plan);
  const fields = { case: `${count} WebSockets`, unit: 'KB' };
  // A server that has just stored many statements has free pages, which connections then reuse: memory hardly grows.
  const larger = (each: { residentKb: number; heapKb: number }) => Math.max(each.residentKb, each.heapKb);
  const [value, baseline] = [larger(ours), larger(bare)];
  const met = ours.nodes === count && value <= MEMORY_GOAL_KB;
  const memory = { value, baseline, goal: `≤ ${MEMORY_GOAL_KB} KB`, met };
  const opened = { value: count / ours.seconds, baseline: bare.perSecond };
  return [
    row({ ...fields, metric: 'memory each, the larger of resident and heap', ...memory }),
    row({ ...fields, metric: 'resident memory each', value: ours.residentKb, baseline: bare.residentKb }),
    row({ ...fields, metric: 'heap each', value: ours.heapKb, baseline: bare.heapKb }),
    row({ ...fields, metric: 'opened, with a signed request each', unit: '/s', ...opened }),
  ];
}

async function signalling(plan: Plan): Promise<BenchRow[]> {
  const count = plan.signalling;
  const name = `${count} connected, ${PER_SECOND} signals/s`;
  const bare = await measure('bareEcho', count, plan);
  const one = await measure('signalling', count, plan);
  const rows = signalRows(`${name}, one server`, one, bare, { p50Ms: P50_GOAL_MS, p99Ms: P99_GOAL_MS });
  const across = `${name}, two servers on NATS`;
  if (!isInstalled('nats-server')) {
    const metric = 'node to node, p99';
    const goal = `≤ ${NATS_P99_GOAL_MS} ms`;
    return [
      ...rows,
      row({ case: `not measured, nats-server is not installed: ${across}`, metric, value: 0, unit: 'ms', goal }),
    ];
  }
  await using nats = await NatsServer.start();
  const two = await measure('signalling', count, plan, nats.address);
  return [...rows, ...signalRows(across, two, bare, { p99Ms: NATS_P99_GOAL_MS })];
}

function signalRows(
  name: string,
  ours: ControlLoadResults['signalling'],
  bare: ControlLoadResults['bareEcho'],
  goals: { p50Ms?: number; p99Ms: number },
): BenchRow[] {
  const latency = (metric: string, key: 'p50Ms' | 'p99Ms') => {
    const [value, goal] = [ours[key], goals[key]];
    const compared = goal === undefined ? {} : { goal: `≤ ${goal} ms`, met: value <= goal };
    return row({ case: name, metric, value, unit: 'ms', baseline: bare[key], ...compared });
  };
  const arrived = { value: (100 * ours.arrived) / ours.sent, goal: '100 %', met: ours.arrived === ours.sent };
  return [
    latency('node to node, p50', 'p50Ms'),
    latency('node to node, p99', 'p99Ms'),
    row({ case: name, metric: 'arrived', unit: '%', ...arrived }),
  ];
}

async function joins(plan: Plan): Promise<BenchRow[]> {
  const ours = await measure('joins', plan.joins, plan);
  const bare = await measure('bareInserts', plan.joins, plan);
  const fields = { case: `${ours.joins} joins over HTTP, 16 at a time, 20 into each party` };
  const met = ours.perSecond >= JOINS_GOAL;
  const rate = { value: ours.perSecond, baseline: bare.perSecond, goal: `≥ ${JOINS_GOAL}/s`, met };
  return [
    row({ ...fields, metric: 'joins', unit: '/s', ...rate }),
    row({ ...fields, metric: 'one join, p99', unit: 'ms', value: ours.p99Ms }),
  ];
}

async function sync(plan: Plan): Promise<BenchRow[]> {
  const ours = await measure('sync', plan.members, plan);
  const { ms: baseline, signatures } = await measure('bareVerification', plan.members, plan);
  const name = `${plan.members} members, ${signatures} signatures`;
  const goal = `≤ ${SYNC_GOAL_MS} ms`;
  const first = (what: string, value: number) => {
    const fields = { case: `${name}, ${what}`, metric: 'first sync, verified', unit: 'ms' };
    return row({ ...fields, value, baseline, goal, met: value <= SYNC_GOAL_MS });
  };
  const alone = { case: name, metric: 'verification alone, on one thread', unit: 'ms', value: ours.oneThreadMs };
  return [
    first('a checkpoint at the end', ours.checkpointMs),
    first('no checkpoint', ours.uncheckedMs),
    row({ ...alone, baseline }),
  ];
}
