import { type ChildProcess, fork } from 'node:child_process';
import { Lab, type LabHost, labAvailable } from '../test/system/support/lab.ts';
import { type Bench, type BenchRow, row } from './support/bench.ts';
import { sleep } from './support/relay-load.ts';
import type { MeshIdleLine, MeshIdleOrder, MeshIdleTask } from './workers/mesh-idle.ts';

const WORKER = new URL('./workers/mesh-idle.ts', import.meta.url).pathname;
const GOAL_PERCENT_PER_100 = 1;
const GOAL_KB = 10;
const LIMIT_MS = 90_000;
/** Connected at the same time; more would measure the queue of the machine. */
const AT_ONCE = 25;

interface Plan {
  /** Memory is counted from here on: the code is compiled, and what is allocated once exists. */
  first: number;
  all: number;
  settleMs: number;
  /** A path counts as idle when it has carried nothing for 45 s. */
  idleMs: number;
  holdMs: number;
}

const FULL: Plan = { first: 300, all: 1_000, settleMs: 5_000, idleMs: 55_000, holdMs: 45_000 };
const QUICK: Plan = { first: 30, all: 100, settleMs: 3_000, idleMs: 0, holdMs: 5_000 };

type Usage = Extract<MeshIdleLine, { usage: unknown }>['usage'];

/** What holding so many peers costs. */
interface Cost {
  percent: number;
  heapKb: number;
  rssKb: number;
  /** Peers that answer echoes in time, and those that answer at all. */
  connected: number;
  reached: number;
}

export const bench: Bench = {
  about:
    'one process that is connected to 1,000 idle members with path sockets and echoes of their own, in another namespace, WireGuard simulated; beside one bare socket that sends each of as many peers 100 bytes every 30 s',
  async run({ quick, print }) {
    if (!labAvailable()) throw new Error('This bench needs root, iproute2 and nftables.');
    const plan = quick ? QUICK : FULL;
    const lab = new Lab();
    const children: Child[] = [];
    const start = async (host: LabHost, task: MeshIdleTask) => {
      const child = new Child(host, task);
      children.push(child);
      return child;
    };
    try {
      const [here, there] = [lab.host('hub', '203.0.113.20'), lab.host('spokes', '203.0.113.21')];
      const hub = await start(here, { role: 'hub', count: 1 });
      const spokes = await start(there, { role: 'spokes', count: plan.all });
      const bare = await start(here, { role: 'bare', count: plan.all });
      const [mine, theirs] = [await hub.next('members'), await spokes.next('members')];
      hub.onSignal = (line) => spokes.order(line);
      spokes.onSignal = (line) => hub.order(line);
      const ports = Array.from({ length: plan.all }, (_, at) => 20_000 + at);
      await bare.next('ports');
      let repeated = 0;
      const grow = async (from: number, to: number) => {
        bare.order({ ports: ports.slice(from, to) });
        await bare.next('connected');
        for (let at = from; at < to; at += AT_ONCE) {
          const some = theirs.members.slice(at, Math.min(to, at + AT_ONCE));
          const both = [spokes.next('connected'), hub.next('connected')];
          spokes.order({ connect: mine.members, only: some.map(({ id }) => id) });
          hub.order({ connect: some });
          for (const { again } of await Promise.all(both)) repeated += again;
        }
        print(`${to} members are connected, ${repeated} attempts were repeated`);
        await sleep(plan.settleMs);
      };
      await grow(0, plan.first);
      const before = [await hub.usage(), await bare.usage()];
      await grow(plan.first, plan.all);
      await sleep(plan.idleMs);
      const after = [await hub.usage(), await bare.usage()];
      await sleep(plan.holdMs);
      const end = [await hub.usage(), await bare.usage()];
      const costs = [0, 1].map((at) => costOf(plan, before[at]!, after[at]!, end[at]!));
      return rows(plan, costs[0]!, costs[1]!);
    } finally {
      for (const child of children) child.kill();
      await lab.close();
    }
  },
};

function costOf({ first, all, holdMs }: Plan, before: Usage, after: Usage, end: Usage): Cost {
  return {
    percent: (100 * (end.cpuBeforeMs - after.cpuAfterMs)) / holdMs,
    heapKb: (after.heapBytes - before.heapBytes) / (all - first) / 1_024,
    rssKb: (after.rssBytes - before.rssBytes) / (all - first) / 1_024,
    connected: end.connected,
    reached: end.reached,
  };
}

function rows({ all }: Plan, ours: Cost, bare: Cost): BenchRow[] {
  const name = `${all} idle peers`;
  const per100 = ({ percent }: Cost) => (100 * percent) / all;
  return [
    row({
      case: name,
      metric: 'processor time of one core for each 100 peers',
      unit: '%',
      value: per100(ours),
      baseline: per100(bare),
      goal: `≤ ${GOAL_PERCENT_PER_100} %`,
      met: per100(ours) <= GOAL_PERCENT_PER_100,
    }),
    row({
      case: name,
      metric: 'heap and external memory each',
      unit: 'KB',
      value: ours.heapKb,
      baseline: bare.heapKb,
      goal: `≤ ${GOAL_KB} KB`,
      met: ours.heapKb <= GOAL_KB,
    }),
    row({ case: name, metric: 'resident memory each', unit: 'KB', value: ours.rssKb, baseline: bare.rssKb }),
    row({
      case: name,
      metric: 'connected at the end',
      unit: 'peers',
      value: ours.connected,
      goal: `${all}`,
      met: ours.connected === all,
    }),
    row({ case: name, metric: 'connected at the end, or answering late', unit: 'peers', value: ours.reached }),
  ];
}

/** A process of the bench inside a namespace. */
class Child {
  onSignal: ((line: Extract<MeshIdleLine, { signal: unknown }>) => void) | undefined;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, (line: MeshIdleLine) => void>();
  readonly #seen = new Map<string, MeshIdleLine>();

  constructor({ namespace }: LabHost, task: MeshIdleTask) {
    this.#child = fork(WORKER, [JSON.stringify(task)], {
      execPath: 'ip',
      execArgv: ['netns', 'exec', namespace, process.execPath, '--expose-gc'],
    });
    this.#child.on('message', (line: MeshIdleLine) => {
      if ('signal' in line) this.onSignal?.(line);
      for (const kind of Object.keys(line)) {
        const waiting = this.#waiting.get(kind);
        this.#waiting.delete(kind);
        if (waiting) waiting(line);
        else if (kind !== 'signal') this.#seen.set(kind, line);
      }
    });
  }

  order(order: MeshIdleOrder): void {
    this.#child.send(order);
  }

  async usage(): Promise<Usage> {
    const answer = this.next('usage');
    this.order({ usage: true });
    return (await answer).usage;
  }

  /** The next line of a kind, or the last one that nobody has waited for. */
  async next<Kind extends string>(kind: Kind): Promise<Extract<MeshIdleLine, Record<Kind, unknown>>> {
    const { promise, resolve, reject } = Promise.withResolvers<MeshIdleLine>();
    const seen = this.#seen.get(kind);
    this.#seen.delete(kind);
    if (seen) resolve(seen);
    else this.#waiting.set(kind, resolve);
    const timer = setTimeout(() => reject(new Error(`No ${kind} within ${LIMIT_MS} ms.`)), LIMIT_MS);
    const ended = () => reject(new Error(`A process ended before it said ${kind}.`));
    this.#child.once('exit', ended);
    try {
      return (await promise) as Extract<MeshIdleLine, Record<Kind, unknown>>;
    } finally {
      clearTimeout(timer);
      this.#child.off('exit', ended);
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
