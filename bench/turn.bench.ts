import { cpus } from 'node:os';
import { TurnAllocation } from '@towpath/stun';
import { type Bench, type BenchRow, row } from './support/bench.ts';
import { HERE, realComponents } from './support/loopback.ts';
import { residentBytes } from './support/processor.ts';
import { isInstalled } from './support/program.ts';
import { sleep } from './support/relay-load.ts';
import { TurnRelay, USER } from './support/turn-relays.ts';
import { runUclient, type UclientRun } from './support/uclient.ts';

const RATIO_GOAL = 0.9;
const SCALING_GOAL = 1.7;
const MEMORY_GOAL_BYTES: number = 15 * 1024;

const WORKERS = 2;
/** A load counts as carried without loss when at most this share is missing: the tool may not wait for its last messages. */
const LOSS_FREE = 0.005;
/** Fewer idle cores than this count as none. */
const IDLE_CORES = 0.1;
/** Every message passes the relay twice: in and out. */
const PASSES = 2;

/** Memory is counted from here on: the code is compiled, and what is allocated once exists. */
const FIRST_ALLOCATIONS = 300;
const SETTLE_MS = 1_000;
/** Requests in flight at a time. */
const AT_ONCE = 50;

interface Step {
  clients: number;
  rounds: number;
}

interface Plan {
  /** From few clients to many; the last step is more than one worker, or two, can carry. */
  steps: readonly Step[];
  messages: number;
  allocations: number;
  /** All relays at the same time instead of alternating. */
  together: boolean;
}

const FULL: Plan = {
  steps: [
    { clients: 20, rounds: 1 },
    { clients: 40, rounds: 2 },
    { clients: 120, rounds: 1 },
  ],
  messages: 2_500,
  allocations: 2_000,
  together: false,
};
const QUICK: Plan = { steps: [{ clients: 10, rounds: 1 }], messages: 1_000, allocations: 2_000, together: true };

/** Rate and memory of our TURN server, beside coturn. */
export const bench: Bench = {
  about:
    'channel data of 1,000 bytes from client to client by coturn’s turnutils_uclient, our TURN server beside coturn in alternating runs, one worker each; the same with two workers; memory per allocation',
  async run({ quick, print }) {
    const plan = quick ? QUICK : FULL;
    const rows: BenchRow[] = [];
    const coturn = ['turnserver', 'turnutils_uclient'].every(isInstalled);
    if (coturn) rows.push(...(await relaying(plan, print)));
    else rows.push(unmeasured('relayed packets', `≥ ${RATIO_GOAL} × coturn`, '/s'));
    rows.push(...(await memory(plan.allocations, coturn)));
    for (const { case: name, metric, value, unit } of rows) print(`  ${name}: ${metric} ${value} ${unit}`);
    return rows;
  },
};

function unmeasured(metric: string, goal: string, unit: string): BenchRow {
  const name = 'not measured: coturn’s turnserver and turnutils_uclient are not installed';
  return row({ case: name, metric, value: 0, unit, goal });
}

/** Means of several runs. */
interface Load {
  clients: number;
  /** Number of relayed packets. */
  perSecond: number;
  /** The same over the whole run. */
  overall: number;
  loss: number;
  cpuPerMillion: number;
  cores: UclientRun['cores'];
}

async function relaying(plan: Plan, print: (line: string) => void): Promise<BenchRow[]> {
  await using ours = await TurnRelay.towpath(1);
  await using theirs = await TurnRelay.coturn();
  await using workers = await TurnRelay.towpath(WORKERS);
  const loads: { one: Load; coturn: Load }[] = [];
  let two: Load | undefined;
  for (const step of plan.steps) {
    const relays = step === plan.steps.at(-1) ? [ours, theirs, workers] : [ours, theirs];
    const runs = await takeTurns(relays, step, plan, print);
    loads.push({ one: means(runs.get(ours), step.clients), coturn: means(runs.get(theirs), step.clients) });
    if (relays.includes(workers)) two = means(runs.get(workers), step.clients);
  }
  const last = loads.at(-1);
  const carried = loads.findLast(({ one, coturn }) => one.loss <= LOSS_FREE && coturn.loss <= LOSS_FREE);
  return [
    ...loads.flatMap(({ one, coturn }) => besideRows(one, coturn)),
    ratioRow(carried),
    ...(two === undefined || last === undefined ? [] : scalingRows(last.one, two)),
  ];
}

/** Alternating, so that other load on the machine affects all of them equally. */
async function takeTurns(
  relays: readonly TurnRelay[],
  { clients, rounds }: Step,
  { messages, together }: Plan,
  print: (line: string) => void,
): Promise<Map<TurnRelay, UclientRun[]>> {
  const runs = new Map<TurnRelay, UclientRun[]>(relays.map((relay) => [relay, []]));
  const once = async (relay: TurnRelay) => {
    const run = await runUclient(relay, clients, messages);
    runs.get(relay)?.push(run);
    print(
      `  ${relay.name}, ${clients} clients: ${run.received} of ${run.sent} arrived, ${Math.round(run.perSecond)}/s`,
    );
  };
  for (let round = 0; round < rounds; round++) {
    if (together) await Promise.all(relays.map(once));
    else for (const relay of relays) await once(relay);
  }
  return runs;
}

function means(runs: readonly UclientRun[] = [], clients: number): Load {
  const of = (pick: (run: UclientRun) => number) => runs.reduce((sum, run) => sum + pick(run), 0) / runs.length;
  return {
    clients,
    perSecond: of((run) => PASSES * run.perSecond),
    overall: of((run) => PASSES * run.overallPerSecond),
    loss: of((run) => 1 - run.received / run.sent),
    cpuPerMillion: of((run) => (1e6 * run.serverSeconds) / (PASSES * run.received)),
    cores: {
      server: of((run) => run.cores.server),
      clients: of((run) => run.cores.clients),
      idle: of((run) => run.cores.idle),
    },
  };
}

function besideRows(one: Load, coturn: Load): BenchRow[] {
  const name = `${one.clients} clients`;
  const beside = (metric: string, pick: (load: Load) => number, unit: string) =>
    row({ case: name, metric, value: pick(one), baseline: pick(coturn), unit });
  return [
    beside('relayed packets', (load) => load.perSecond, '/s'),
    beside('loss', (load) => 100 * load.loss, '%'),
    beside('server’s processor time per million relayed packets', (load) => load.cpuPerMillion, 's'),
  ];
}

function ratioRow(carried: { one: Load; coturn: Load } | undefined): BenchRow {
  const goal = `≥ ${RATIO_GOAL} × coturn`;
  const fields = { metric: 'relayed packets, from the first to the last', unit: '/s', goal };
  if (carried === undefined) return row({ ...fields, case: 'no load was carried without loss by both', value: 0 });
  const { one, coturn } = carried;
  const name = `${one.clients} clients, the highest load that both carried without loss`;
  const [value, baseline] = [one.overall, coturn.overall];
  return row({ ...fields, case: name, value, baseline, met: value >= RATIO_GOAL * baseline });
}

/** Two workers beside one. Without a third core for the client tool, the rows say which programs shared the two. */
function scalingRows(one: Load, two: Load): BenchRow[] {
  const name = `${WORKERS} workers beside one, ${two.clients} clients, ${cpus().length} cores`;
  const [value, baseline] = [two.perSecond, one.perSecond];
  const scaled = { value, baseline, goal: `≥ ${SCALING_GOAL} × one worker`, met: value >= SCALING_GOAL * baseline };
  const beside = (metric: string, pick: (load: Load) => number, unit: string) =>
    row({ case: name, metric, value: pick(two), baseline: pick(one), unit });
  return [
    row({ case: `${name}${whatStops(two)}`, metric: 'relayed packets', unit: '/s', ...scaled }),
    beside('relayed packets per second of the servers’ processor time', (load) => 1e6 / load.cpuPerMillion, '/s'),
    beside('loss', (load) => 100 * load.loss, '%'),
    beside('kept busy by the server', ({ cores }) => cores.server, 'cores'),
    beside('kept busy by the client tool', ({ cores }) => cores.clients, 'cores'),
    beside('idle, without which nothing scales', ({ cores }) => cores.idle, 'cores'),
  ];
}

function whatStops({ loss, cores }: Load): string {
  if (loss <= LOSS_FREE) return '; they lose nothing, so that what the tool sends is the limit';
  return cores.idle < IDLE_CORES ? '; the tool shares the cores with them, and none is left idle' : '';
}

async function memory(count: number, coturn: boolean): Promise<BenchRow[]> {
  const value = await memoryEach(await TurnRelay.towpath(1), count);
  const baseline = coturn ? await memoryEach(await TurnRelay.coturn(), count) : undefined;
  const fields = { metric: 'resident memory per allocation', unit: 'KB', value: value / 1_024 };
  const goal = { goal: `≤ ${MEMORY_GOAL_BYTES / 1_024} KB`, met: value <= MEMORY_GOAL_BYTES };
  const compared = baseline === undefined ? {} : { baseline: baseline / 1_024 };
  const beside = coturn ? '' : '; coturn is not installed';
  return [row({ case: `${count} allocations${beside}`, ...fields, ...compared, ...goal })];
}

async function memoryEach(started: TurnRelay, count: number): Promise<number> {
  await using relay = started;
  const components = realComponents(relay.port);
  const held: TurnAllocation[] = [];
  const grow = async (to: number) => {
    const server = { address: HERE, port: relay.port };
    const init = { server, credentials: USER, handlers: { onData() {} } };
    while (held.length < to) {
      const asked = Array.from({ length: Math.min(AT_ONCE, to - held.length) }, () =>
        TurnAllocation.connect(components, init),
      );
      held.push(...(await Promise.all(asked)));
    }
    await sleep(SETTLE_MS);
    return residentBytes(relay.pid);
  };
  const before = await grow(FIRST_ALLOCATIONS);
  const after = await grow(FIRST_ALLOCATIONS + count);
  await Promise.all(held.map((allocation) => allocation.close()));
  return (after - before) / count;
}
