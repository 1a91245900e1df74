import { labAvailable } from '../test/system/support/lab.ts';
import { PLACES } from '../test/system/support/three-way.ts';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { measurePairs, type Pair, type PairOutcome } from './support/kernel-pairs.ts';
import { type PairOptions, type RaceTimes, SERVER_RTT_MS, SimulatedPair } from './support/simulated-pair.ts';

const DIRECT_GOAL_MS: number = 4 * SERVER_RTT_MS + 50;
const RELAY_GOAL_MS: number = 3 * SERVER_RTT_MS + 50;
const LOSS_RATIOS = [0, 0.02];

/** Time limit of all pairs of real NATs. */
const PAIRS_MS = 300_000;
const ALL_PAIRS: readonly Pair[] = PLACES.flatMap((camera) => PLACES.map((client) => ({ client, camera })));
/** A sequential NAT uses a new port for every client, so the port that the server knows, from which the next client predicts, becomes outdated. */
const LATER_PAIR: Pair = {
  client: 'port-restricted',
  camera: 'symmetric-sequential',
  after: ['open', 'port-restricted'],
};
/** Direct by hole punching, direct by port prediction, and three reasons for a relay. */
const TELLING_PAIRS: readonly Pair[] = [
  { client: 'port-restricted', camera: 'port-restricted' },
  { client: 'symmetric-sequential', camera: 'port-restricted' },
  { client: 'symmetric-random', camera: 'port-restricted' },
  { client: 'udp-blocked', camera: 'port-restricted' },
  { client: 'full-cone', camera: 'symmetric-random' },
  { client: 'symmetric-random', camera: 'symmetric-random' },
];

/** Time to reach a camera that is known only to servers. */
export const bench: Bench = {
  about:
    'LAN, P2P and relay at once, client and camera behind port-restricted NATs, simulated; beside the same ways one after the other with the limits of the vendor’s library (LAN 1.45 s, P2P 4.5 s, relay); then every pair of the kernel’s NATs',
  async run({ quick, print }) {
    const rows: BenchRow[] = [];
    for (const lossRatio of LOSS_RATIOS) {
      for (const where of [{ direct: true }, { direct: false }, { direct: false, relayElsewhere: true }]) {
        const more = await simulated({ ...where, lossRatio }, quick ? 30 : 300);
        for (const { case: name, metric, value } of more) print(`  ${name}: ${metric} ${value} ms`);
        rows.push(...more);
      }
    }
    return [...rows, ...(await kernel(quick ? TELLING_PAIRS : [...ALL_PAIRS, LATER_PAIR], print))];
  },
};

async function simulated(options: Omit<PairOptions, 'seed'>, seeds: number): Promise<BenchRow[]> {
  const races: RaceTimes[] = [];
  const baselines: number[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    races.push(await withPair({ ...options, seed }, (pair) => pair.race()));
    baselines.push(await withPair({ ...options, seed }, (pair) => pair.oneAfterTheOther()));
  }
  const { direct, lossRatio, relayElsewhere } = options;
  const place = relayElsewhere ? ', relay and rendezvous apart' : '';
  const ends = direct ? 'punches pass' : `punches get lost${place}`;
  const loss = lossRatio === 0 ? 'no loss' : `${lossRatio * 100} % lost between each end and the server`;
  const name = `RTT ${SERVER_RTT_MS} ms, ${ends}, ${loss}, ${seeds} races`;
  const all = (pick: (times: RaceTimes) => number | undefined) =>
    races.map((times) => pick(times) ?? Number.POSITIVE_INFINITY);
  const limit = direct ? DIRECT_GOAL_MS : RELAY_GOAL_MS;
  const state = direct ? 'direct' : 'relay carries';
  const times = all((each) => (direct ? each.direct : each.relay));
  const figure = (share: number) => ({
    case: name,
    value: percentile(times, share),
    unit: 'ms',
    baseline: percentile(baselines, share),
  });
  const goal = (value: number) => ({ goal: `≤ ${limit} ms`, met: value <= limit });
  const [median, p99] = [figure(0.5), figure(0.99)];
  const login = percentile(
    all((each) => each.loggedIn),
    0.5,
  );
  return [
    row({ ...median, metric: `${state}, median`, ...goal(median.value) }),
    // Lost packets are retransmitted after a round trip: with loss the goal applies to the median, not to the slowest.
    row({ ...p99, metric: `${state}, p99`, ...(lossRatio === 0 ? goal(p99.value) : {}) }),
    row({
      case: name,
      metric: 'first path, p99',
      value: percentile(
        all((each) => each.first),
        0.99,
      ),
      unit: 'ms',
    }),
    row({ case: name, metric: 'logged in over the first path, median', value: login, unit: 'ms' }),
  ];
}

async function withPair<T>(options: PairOptions, use: (pair: SimulatedPair) => Promise<T>): Promise<T> {
  const pair = await SimulatedPair.open(options);
  try {
    return await use(pair);
  } finally {
    await pair.close();
  }
}

async function kernel(pairs: readonly Pair[], print: (line: string) => void): Promise<BenchRow[]> {
  if (!labAvailable()) {
    const metric = 'left out: needs root, iproute2 and nftables';
    return [row({ case: 'pairs of the kernel’s NATs', metric, value: 0, unit: 'pairs' })];
  }
  const rows: BenchRow[] = [];
  await measurePairs(pairs, PAIRS_MS, (outcome) => {
    const made = pairRow(outcome);
    rows.push(made);
    print(`  ${made.case}: ${made.metric} ${made.value} ms, ${made.met ? 'as expected' : 'not as expected'}`);
  });
  return rows;
}

function pairRow({ client, camera, after, direct, result, reason, leftOut }: PairOutcome): BenchRow {
  const served = after === undefined ? '' : `, which has served ${after.length} other clients`;
  const name = `kernel NATs: client ${client}, camera ${camera}${served}`;
  const expected = { unit: 'ms', goal: direct ? 'direct' : 'reached' };
  if (leftOut) return row({ ...expected, case: name, metric: 'left out: no time left', value: 0 });
  if (result === undefined)
    return row({ ...expected, case: name, metric: `not reached: ${reason}`, value: 0, met: false });
  const { firstKind, kind, connectedMs } = result;
  const kinds = firstKind === kind ? kind : `${firstKind}, then ${kind}`;
  const met = !direct || kind !== 'relay';
  return row({ ...expected, case: name, metric: `logged in by ${kinds}`, value: connectedMs, met });
}
