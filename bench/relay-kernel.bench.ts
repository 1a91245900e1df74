import { SystemClock, SystemRandom } from '@towpath/core';
import { KernelRelay, NodeSystem, type RelaySession, STUN_PATTERN } from '@towpath/splice';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import type { LabHost } from '../test/system/support/lab.ts';
import { RelayLab, type Route } from './support/relay-lab.ts';
import { isInstalled } from './support/program.ts';
import { type WireGuardRounds, wireGuardRounds } from './support/wireguard-relay.ts';

const MANY = 10_000;
const ROUTING_GOAL = 0.85;
const MANY_GOAL = 0.9;
const COTURN_GOAL = 3;
const PROCESSOR_GOAL = 0.3;
const MOVE_GOAL_MS = 5;
const MOVES_PER_SECOND = 1_000;
/** What is offered per second when looking for the rate at which most arrives; 0: as much as the sender can. */
const OFFERED = [0, 240_000, 200_000, 170_000, 145_000, 120_000, 100_000, 80_000, 60_000];
const OFFERED_SECONDS = 0.5;

interface Plan {
  rounds: number;
  seconds: number;
  wireGuardSeconds: number;
  moves: number;
}

const FULL: Plan = { rounds: 10, seconds: 0.8, wireGuardSeconds: 2, moves: 5_000 };
const QUICK: Plan = { rounds: 2, seconds: 0.5, wireGuardSeconds: 1, moves: 1_000 };

/** What one way of getting datagrams from A to B carried, by round. */
interface Measured {
  perSecond: number[];
  secondsPerMillion: number[];
}

export const bench: Bench = {
  about:
    'datagrams of 1,000 bytes from one namespace to another through relays that have one core, each at the offered rate at which it carries most: in the kernel, in user space, coturn (channels), beside IP routing; WireGuard through the relay beside WireGuard routed; medians of alternating runs',
  async run({ quick, print }) {
    const plan = quick ? QUICK : FULL;
    await using lab = await RelayLab.open();
    const bare = await open(lab.relay);
    const crowded = await open(lab.crowded);
    try {
      await bare.open('measured', lab.session(lab.relay));
      await crowded.open('measured', lab.session(lab.crowded));
      const others = Array.from({ length: MANY - 1 }, (_, at) => other(lab.crowded.address, at));
      await Promise.all(others.map((each, at) => crowded.open(`other ${at}`, each)));
      await lab.startServers({ coturn: isInstalled('turnserver') });
      const offered = new Map<string, number>();
      for (const route of lab.routes) offered.set(route.name, await bestOffer(lab, route));
      print(`offered per second: ${[...offered].map(([name, rate]) => `${name} ${rate || 'no limit'}`).join(', ')}`);
      const results = new Map<string, Measured>();
      for (let round = 0; round < plan.rounds; round++) {
        for (const route of lab.routes) {
          const found = results.get(route.name) ?? { perSecond: [], secondsPerMillion: [] };
          results.set(route.name, found);
          const { perSecond, secondsPerMillion } = await lab.measure(route, plan.seconds, offered.get(route.name));
          found.perSecond.push(perSecond);
          found.secondsPerMillion.push(secondsPerMillion);
        }
        const last = [...results].map(([name, { perSecond }]) => `${name} ${Math.round(perSecond.at(-1) ?? 0)}`);
        print(`round ${round + 1} of ${plan.rounds}: ${last.join(', ')}`);
      }
      const wireGuard =
        isInstalled('wireguard-go') && isInstalled('wg')
          ? await wireGuardRounds(lab, bare, { rounds: plan.rounds, seconds: plan.wireGuardSeconds }, print)
          : undefined;
      const moved = await moves(bare, lab.relay.address, plan.moves);
      return [...rows(results), ...wireGuardRows(wireGuard), moved];
    } finally {
      bare.dispose();
      crowded.dispose();
    }
  },
};

/** A server that shares its core with the packets that arrive carries less when more is offered than it can carry; the kernel does not. */
async function bestOffer(lab: RelayLab, route: Route): Promise<number> {
  if (!route.served) return 0;
  let best = { offer: 0, perSecond: 0 };
  for (const offer of OFFERED) {
    const { perSecond } = await lab.measure(route, OFFERED_SECONDS, offer);
    if (perSecond > best.perSecond) best = { offer, perSecond };
  }
  return best.offer;
}

function open({ namespace, address }: LabHost): Promise<KernelRelay> {
  const system = new NodeSystem(['ip', 'netns', 'exec', namespace]);
  const components = { system, clock: new SystemClock(), random: new SystemRandom() };
  return KernelRelay.open(components, { form: 'netdev', addresses: [address], control: [STUN_PATTERN] });
}

function rows(results: ReadonlyMap<string, Measured>): BenchRow[] {
  const rate = (name: string) => median(results.get(name)?.perSecond ?? []);
  const cost = (name: string) => median(results.get(name)?.secondsPerMillion ?? []);
  const kernel = 'towpath, kernel';
  const compare = (name: string, baseline: string, goal: number): BenchRow[] => {
    if (!results.has(baseline)) return [];
    const fields = { metric: 'arrived', unit: 'packets/s', value: rate(name), baseline: rate(baseline) };
    const met = rate(name) >= goal * rate(baseline);
    return [row({ case: caseOf(name, baseline), ...fields, goal: `≥ ${goal} ×`, met })];
  };
  const compareCost = (baseline: string, goal?: number): BenchRow[] => {
    if (!results.has(baseline)) return [];
    const fields = { unit: 's', value: cost(kernel), baseline: cost(baseline) };
    const met = goal === undefined ? {} : { goal: `≤ ${goal} ×`, met: cost(kernel) <= goal * cost(baseline) };
    return [row({ case: caseOf(kernel, baseline), metric: 'processor time per million packets', ...fields, ...met })];
  };
  return [
    ...compare(kernel, 'routing', ROUTING_GOAL),
    ...compare(kernel, 'coturn', COTURN_GOAL),
    ...compare(kernel, 'towpath, user space', COTURN_GOAL),
    ...compare('many sessions', 'one session', MANY_GOAL),
    ...compareCost('routing'),
    ...compareCost('coturn', PROCESSOR_GOAL),
    ...compareCost('towpath, user space', PROCESSOR_GOAL),
  ];
}

function caseOf(name: string, baseline: string): string {
  if (name === 'many sessions') return `${MANY} sessions in the maps, beside one`;
  return `TURN plain relaying in the kernel, beside ${baseline}`;
}

function wireGuardRows(found: WireGuardRounds | undefined): BenchRow[] {
  if (found === undefined) return [];
  const [value, baseline] = [median(found.relayed), median(found.routed)];
  const met = value >= ROUTING_GOAL * baseline;
  const fields = {
    metric: 'TCP through the tunnel',
    unit: 'Mbit/s',
    value,
    baseline,
    goal: `≥ ${ROUTING_GOAL} ×`,
    met,
  };
  return [
    row({ case: 'wireguard-go through the relay, both ends spliced, beside plain wireguard-go routed', ...fields }),
  ];
}

/** Opens sessions at a steady rate, each of which is closed a second later. */
async function moves(relay: KernelRelay, address: string, count: number): Promise<BenchRow> {
  const took: number[] = [];
  const closing: Promise<unknown>[] = [];
  const startedMs = performance.now();
  for (let at = 0; at < count; at++) {
    const waitMs = startedMs + (1_000 * at) / MOVES_PER_SECOND - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const askedMs = performance.now();
    const opened = relay.open(`move ${at}`, other(address, at));
    closing.push(
      opened.then(() => {
        took.push(performance.now() - askedMs);
        return new Promise((resolve) => setTimeout(() => resolve(relay.close(`move ${at}`)), 1_000));
      }),
    );
  }
  const perSecond = Math.round((1_000 * count) / (performance.now() - startedMs));
  await Promise.all(closing);
  const value = median(took);
  return row({
    case: `moving a session into the kernel, ${perSecond} per second (p99 ${percentile(took, 0.99).toFixed(1)} ms)`,
    metric: 'time to confirmed, median',
    unit: 'ms',
    value,
    goal: `≤ ${MOVE_GOAL_MS} ms`,
    met: value <= MOVE_GOAL_MS,
  });
}

function other(relay: string, at: number): RelaySession {
  const end = (first: number, port: number) => ({
    remote: { address: `203.0.113.${first + (at % 50)}`, port: 10_000 + at },
    local: { address: relay, port },
  });
  return { a: end(100, 7_011), b: end(160, 7_012) };
}

function median(samples: readonly number[]): number {
  return percentile(samples, 0.5);
}
