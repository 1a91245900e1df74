import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { HeldSessions } from './support/held-sessions.ts';
import { closeFlows, type Flow, joinSession, openFlow, reserve, uidOf } from './support/relay-ends.ts';
import { type Forwarded, pace, saturate, sleep } from './support/relay-load.ts';
import { Worker } from './support/worker.ts';
import type { ForwarderQuestion, ForwarderReady, ForwarderTask, ForwarderUsage } from './workers/forwarder.ts';

const RATIO_GOAL = 0.85;
/** Sessions at once while throughput is measured: one camera that downloads, and a busy relay. */
const FLOWS = [1, 50];

const PACE_PER_SECOND = 10_000;
const ADDED_GOAL_MS = 1;
const TURN_MS = 100;
const WARM_UP_TURNS = 10;

const HELD = 10_000;
/** Memory is counted from here on: the code is compiled, and what is allocated once exists. */
const FIRST = 1_000;
const HELD_GOAL_BYTES: number = 8 * 1024;
const SETTLE_MS = 2_000;

/** Cost of the relay per packet, its added latency, and its memory per session. */
export const bench: Bench = {
  about:
    'the relay in a process of its own, 1,200-byte session packets, beside a bare dgram forwarder that takes turns with it',
  async run({ quick, print }) {
    const rows: BenchRow[] = [];
    for (const flows of FLOWS) rows.push(...(await throughput(flows, quick ? 3 : 11, quick ? 500 : 1_000)));
    rows.push(...(await latency(quick ? 20 : 150)));
    rows.push(...(await held()));
    for (const { case: name, metric, value, unit } of rows) print(`  ${name}: ${metric} ${value} ${unit}`);
    return rows;
  },
};

/** A forwarder in a process of its own. */
class Forwarder implements AsyncDisposable {
  readonly port: number;
  readonly #worker: Worker;

  private constructor(worker: Worker, port: number) {
    this.#worker = worker;
    this.port = port;
  }

  static async start(kind: ForwarderTask['kind'], execArgv: readonly string[] = []): Promise<Forwarder> {
    const { worker, first } = await Worker.start<ForwarderReady>('forwarder', { kind }, execArgv);
    return new Forwarder(worker, first.port);
  }

  ask(question: ForwarderQuestion = {}): Promise<ForwarderUsage> {
    return this.#worker.ask(question);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#worker[Symbol.asyncDispose]();
  }
}

/** One session per flow, set up over the wire. The device is the source, as in a download. */
function relayFlows(relay: Forwarder, count: number): Promise<Flow[]> {
  return series(count, (n) =>
    openFlow(async ({ source, sink }) => {
      const reservation = await reserve(sink, relay.port, uidOf(n));
      await joinSession({ client: sink, device: source }, uidOf(n), reservation);
      return reservation.port;
    }),
  );
}

async function bareFlows(bare: Forwarder, count: number): Promise<Flow[]> {
  const flows = await series(count, () => openFlow(() => bare.port));
  await bare.ask({ routes: flows.map(({ source, sink }) => [source.address().port, sink.address().port]) });
  return flows;
}

interface Throughput {
  perSecond: number;
  /** Packets per second of the forwarder's processor time. */
  perCpuSecond: number;
  lostRatio: number;
}

async function throughput(count: number, rounds: number, forMs: number): Promise<BenchRow[]> {
  await using relay = await Forwarder.start('relay');
  await using bare = await Forwarder.start('bare');
  const through = await relayFlows(relay, count);
  const beside = await bareFlows(bare, count);
  const ours: Throughput[] = [];
  const theirs: Throughput[] = [];
  // Both alternate, so that other load affects them equally. The first round is a warm-up.
  for (let round = 0; round <= rounds; round++) {
    ours.push(await forwardingOf(relay, through, forMs));
    theirs.push(await forwardingOf(bare, beside, forMs));
  }
  closeFlows([...through, ...beside]);
  const medianOf = (all: readonly Throughput[], pick: (one: Throughput) => number) =>
    percentile(all.slice(1).map(pick), 0.5);
  const name = `${count === 1 ? 'one session' : `${count} sessions`}, as fast as it goes, medians of ${rounds} turns each`;
  const compared = (metric: string, pick: (one: Throughput) => number) => {
    const [value, baseline] = [medianOf(ours, pick), medianOf(theirs, pick)];
    const met = value / baseline >= RATIO_GOAL;
    return row({ case: name, metric, value, unit: 'packets/s', baseline, goal: `≥ ${RATIO_GOAL} of bare`, met });
  };
  const costUs = (all: readonly Throughput[]) => 1e6 / medianOf(all, ({ perCpuSecond }) => perCpuSecond);
  const lost = (all: readonly Throughput[]) => 100 * medianOf(all, ({ lostRatio }) => lostRatio);
  return [
    compared('per second of the forwarder’s processor time', ({ perCpuSecond }) => perCpuSecond),
    compared('arrived per second', ({ perSecond }) => perSecond),
    row({ case: name, metric: 'processor time', value: costUs(ours), unit: 'µs/packet', baseline: costUs(theirs) }),
    row({ case: name, metric: 'lost', value: lost(ours), unit: '%', baseline: lost(theirs) }),
  ];
}

async function forwardingOf(forwarder: Forwarder, flows: readonly Flow[], forMs: number): Promise<Throughput> {
  const before = await forwarder.ask();
  const { packets, perSecond, lost }: Forwarded = await saturate(flows, forMs);
  const after = await forwarder.ask();
  const perCpuSecond = (1e6 * packets) / (after.cpuUs - before.cpuUs);
  return { perSecond, perCpuSecond, lostRatio: lost / (packets + lost) };
}

/** Intervals are short, so that some of them are free of other load. */
async function latency(turns: number): Promise<BenchRow[]> {
  await using relay = await Forwarder.start('relay');
  await using bare = await Forwarder.start('bare');
  const flows = [
    await openFlow(({ sink }) => sink.address().port),
    ...(await relayFlows(relay, 1)),
    ...(await bareFlows(bare, 1)),
  ];
  const p50: number[][] = flows.map(() => []);
  const p99: number[][] = flows.map(() => []);
  for (let turn = -WARM_UP_TURNS; turn < turns; turn++) {
    for (const [at, flow] of flows.entries()) {
      const delays = [...(await pace(flow, PACE_PER_SECOND, TURN_MS))];
      if (turn < 0) continue;
      p50[at]?.push(percentile(delays, 0.5));
      p99[at]?.push(percentile(delays, 0.99));
    }
  }
  closeFlows(flows);
  const name = `${PACE_PER_SECOND.toLocaleString('en')} packets/s on loopback, ${turns} turns of ${TURN_MS} ms each`;
  const added = (metric: string, of: readonly number[][], share: number) => {
    const [direct = 0, ours = 0, theirs = 0] = of.map((each) => percentile(each, share));
    return { case: name, metric, value: ours - direct, unit: 'ms', baseline: theirs - direct };
  };
  const quietest = added('added, p99 in the quietest tenth of turns', p99, 0.1);
  return [
    row({ ...added('added, p50 in the median turn', p50, 0.5) }),
    row({ ...quietest, goal: `≤ ${ADDED_GOAL_MS} ms`, met: quietest.value <= ADDED_GOAL_MS }),
    row({ ...added('added, p99 in the median turn', p99, 0.5) }),
  ];
}

async function held(): Promise<BenchRow[]> {
  const gc = ['--expose-gc'];
  await using records = await Forwarder.start('records', gc);
  const recordsBefore = await records.ask({ records: FIRST, collect: true });
  const recordsAfter = await records.ask({ records: HELD, collect: true });
  await using relay = await Forwarder.start('relay', gc);
  await using sessions = await HeldSessions.open(relay.port);
  await sessions.grow(FIRST);
  const before = await settled(relay);
  await sessions.grow(HELD);
  const after = await settled(relay);
  const name = `${HELD.toLocaleString('en')} sessions held, each client at an address of its own, bytes beyond the first ${FIRST.toLocaleString('en')}`;
  const each = (pick: (usage: ForwarderUsage) => number) => ({
    value: (pick(after) - pick(before)) / (HELD - FIRST),
    baseline: (pick(recordsAfter) - pick(recordsBefore)) / (HELD - FIRST),
  });
  const fields = { case: name, unit: 'bytes/session', goal: `≤ ${HELD_GOAL_BYTES} bytes` };
  const rss = each((usage) => usage.rss);
  const heap = each((usage) => usage.heap);
  return [
    row({
      case: name,
      metric: 'held at the end',
      value: after.sessions,
      unit: 'sessions',
      goal: `${HELD}`,
      met: after.sessions === HELD,
    }),
    row({ ...fields, ...rss, metric: 'resident', met: rss.value <= HELD_GOAL_BYTES }),
    row({ ...fields, ...heap, metric: 'heap and external', met: heap.value <= HELD_GOAL_BYTES }),
  ];
}

async function settled(relay: Forwarder): Promise<ForwarderUsage> {
  await sleep(SETTLE_MS);
  return relay.ask({ collect: true });
}

async function series<T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  for (let n = 0; n < count; n++) made.push(await make(n));
  return made;
}
