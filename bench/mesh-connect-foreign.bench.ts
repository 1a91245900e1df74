import type { GridMember, Place } from '../test/system/support/mesh-grid.ts';
import { bestOf, MeshGrid } from '../test/system/support/mesh-grid.ts';
import type { LabHost } from '../test/system/support/lab.ts';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { type Attempt, FOREIGN, ForeignGrid, install } from './support/foreign-grid.ts';
import { isInstalled } from './support/program.ts';
import { sleep } from './support/relay-load.ts';

const PAIRS: readonly (readonly [Place, Place])[] = [
  ['open', 'open'],
  ['full cone', 'full cone'],
  ['port-restricted', 'port-restricted'],
  ['symmetric, random', 'port-restricted'],
  ['symmetric, random', 'symmetric, random'],
  ['UDP blocked', 'open'],
];
/** What takes longer did not connect. */
const LIMIT_MS = 20_000;
/** The next attempt begins when there is an echo, or after this time: a direct path is waited for beside it. */
const ECHO_MS = 3_000;
/** As in a process that runs for long: relays and NATs are known. */
const SETTLE_MS = 2_500;
/** Since the others say that they have announced themselves and hold a reservation. */
const FOREIGN_SETTLE_MS = 1_000;
const OURS = 'towpath';

interface Pair {
  readonly places: readonly [Place, Place];
  readonly ours: readonly [GridMember, GridMember];
  readonly hosts: readonly [LabHost, LabHost];
}

export const bench: Bench = {
  about: `time from connect to the first echo and to the first direct path, behind the kernel's NATs, without delay; beside hyperdht and js-libp2p (installed from npm when it runs)`,
  async run({ quick, print }) {
    const missing = ['wireguard-go', 'wg', 'ip', 'nft', 'npm'].filter((tool) => !isInstalled(tool));
    if (missing.length > 0) throw new Error(`mesh-connect-foreign needs ${missing.join(', ')}.`);
    const folder = install(print);
    const grid = await MeshGrid.open();
    try {
      const foreign = await ForeignGrid.open(grid.lab, folder);
      const pairs: Pair[] = [];
      for (const [at, places] of PAIRS.entries()) {
        const ours = [await grid.member(`o${at}a`, places[0]), await grid.member(`o${at}b`, places[1])] as const;
        pairs.push({ places, ours, hosts: [foreign.host(places[0]), foreign.host(places[1])] });
      }
      const attempts = new Map<string, Attempt[]>();
      for (let round = 0; round < (quick ? 1 : 3); round++) {
        const waiting: Promise<void>[] = [];
        for (const pair of pairs) {
          for (const program of [OURS, ...FOREIGN] as const) {
            const { echo, attempt } =
              program === OURS
                ? ourAttempt(pair, round)
                : await foreign.connect(program, pair.hosts, { settleMs: FOREIGN_SETTLE_MS, forMs: LIMIT_MS });
            const kept = attempt.then((outcome) => {
              const key = keyOf(pair.places, program);
              attempts.set(key, [...(attempts.get(key) ?? []), outcome]);
              print(`${key}: ${JSON.stringify(outcome)}`);
            });
            waiting.push(kept);
            await Promise.race([echo, kept, sleep(ECHO_MS + (program === OURS ? SETTLE_MS : 0))]);
          }
        }
        await Promise.all(waiting);
        print(summary(attempts));
      }
      return rows(attempts);
    } finally {
      await grid.close();
    }
  },
};

/** Both members connect to each other, as daemons of a party do. */
function ourAttempt({ places, ours: [a, b] }: Pair, round: number): { echo: Promise<void>; attempt: Promise<Attempt> } {
  const until = bestOf(...places) === 'direct' ? 'direct' : 'echo';
  const order = { id: round + 1, until, forMs: LIMIT_MS, settleMs: SETTLE_MS } as const;
  const [first, second] = [a.obey({ ...order, peer: b.name }), b.obey({ ...order, peer: a.name })];
  const attempt = Promise.all([first.result, second.result]).then(([{ firstEchoMs, directMs, error }]) => {
    for (const member of [a, b]) member.release();
    return { echoMs: firstEchoMs, directMs, error };
  });
  return { echo: first.echo, attempt };
}

function keyOf(places: readonly [Place, Place], program: string): string {
  return `${places.join(' × ')}: ${program}`;
}

function median(attempts: readonly Attempt[], which: 'echoMs' | 'directMs'): number | undefined {
  const samples = attempts.flatMap((attempt) => attempt[which] ?? []);
  return samples.length === 0 ? undefined : percentile(samples, 0.5);
}

function count(attempts: readonly Attempt[], which: 'echoMs' | 'directMs'): string {
  return `${attempts.filter((attempt) => attempt[which] !== undefined).length} of ${attempts.length}`;
}

/** A Markdown table: a row for each pair and program. */
function summary(attempts: ReadonlyMap<string, readonly Attempt[]>): string {
  const lines = PAIRS.flatMap((places) =>
    [OURS, ...FOREIGN].map((program) => {
      const all = attempts.get(keyOf(places, program)) ?? [];
      const ms = (which: 'echoMs' | 'directMs') => median(all, which)?.toFixed(0) ?? '–';
      const cells = [count(all, 'echoMs'), ms('echoMs'), count(all, 'directMs'), ms('directMs')];
      return [places.join(' × '), program, ...cells];
    }),
  );
  const head = ['pair', 'program', 'connected', 'first echo, ms', 'direct', 'first direct path, ms'];
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function rows(attempts: ReadonlyMap<string, readonly Attempt[]>): BenchRow[] {
  return PAIRS.flatMap((places) =>
    FOREIGN.flatMap((program) => {
      const ours = attempts.get(keyOf(places, OURS)) ?? [];
      const theirs = attempts.get(keyOf(places, program)) ?? [];
      return (['echoMs', 'directMs'] as const).flatMap((which) => {
        const value = median(ours, which);
        const baseline = median(theirs, which);
        if (value === undefined) return [];
        const what = which === 'echoMs' ? 'first echo' : 'first direct path';
        const metric = `${what}, median; ours in ${count(ours, which)}, theirs in ${count(theirs, which)}`;
        const fields = { case: keyOf(places, program), metric, value, unit: 'ms' };
        return [row(baseline === undefined ? fields : { ...fields, baseline })];
      });
    }),
  );
}
