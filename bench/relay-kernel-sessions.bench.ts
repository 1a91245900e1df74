import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { SystemClock } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { timeLimitedCredentials } from '@towpath/stun/server';
import { Lab, type LabHost, says } from '../test/system/support/lab.ts';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { processorSeconds, threadSeconds } from './support/processor.ts';
import { sleep } from './support/relay-load.ts';
import type { SessionsDone, SessionsTask } from './workers/turn-sessions.ts';

const SERVER = '203.0.113.10';
const PORT = 3_478;
const REALM = 'towpath';
const SECRET = 'a secret that is long enough';
const METRICS_PORT = 9_000;
const PER_SECOND = 1_000;
const KEEP_EVERY = 10;
/** The server lets one user have 64 ports for plain relaying. */
const USERS = 40;
const MAX_OPENING = 100;
/** A server's code is compiled while it runs: sessions before the first that counts. */
const WARM_UP = 2_000;
const PLENTY = '1000000';
const LIFETIME_MS = 3_600_000;
const TOWPATH = 'packages/towpath/bin/towpath.js';
const LOAD = new URL('./workers/turn-sessions.ts', import.meta.url).pathname;
const FETCH = `fetch("http://127.0.0.1:${METRICS_PORT}/metrics").then((r) => r.text()).then((t) => process.stdout.write(t))`;
const SETTLE_MS = 250;
const SETTLE_TRIES = 40;

/** Sessions of a TURN server whose data the kernel forwards, opened and ended. */
export const bench: Bench = {
  about:
    'sessions of a TURN server of its own process, whose data the kernel forwards: opened at 1,000 per second by a client in another process, nine in ten of them ended within 0.2 s; then the kernel’s maps beside the sessions that the client has',
  async run({ quick, print }) {
    const lab = new Lab();
    const folder = mkdtempSync(join(tmpdir(), 'towpath-sessions-'));
    try {
      return await measure(lab, folder, quick ? 3_000 : 10_000, print);
    } finally {
      await lab.close();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function measure(lab: Lab, folder: string, count: number, print: (line: string) => void): Promise<BenchRow[]> {
  const host = lab.host('relay', SERVER);
  // Peers need not be there: nothing is sent to them.
  const addresses = ['203.0.113.30', '203.0.113.31'];
  const client = lab.host('clients', addresses[0]!, ...addresses.slice(1));
  const server = await serve(host, folder);
  const wallMs = new SystemClock().wallTime();
  const users = Array.from({ length: USERS }, (_, at) =>
    timeLimitedCredentials(SECRET, `user-${at}`, LIFETIME_MS, wallMs),
  );
  const peers = Array.from({ length: 50 }, (_, at) => `203.0.113.${160 + at}`);
  const task = {
    server: { address: SERVER, port: PORT },
    ...{ realm: REALM, users, addresses, peers, count, keepEvery: KEEP_EVERY },
    ...{ perSecond: PER_SECOND, maxOpening: MAX_OPENING },
  };
  await (await Load.start(client, { ...task, count: WARM_UP })).finish();
  const load = await Load.start(client, task);
  const before = await server.usage();
  const done = await load.next<SessionsDone>();
  const after = await server.usage();
  print(`${Math.round(done.perSecond)} per second, ${done.repeated} requests sent again`);
  const kept = await server.differences(done.open);
  await load.finish();
  const none = await server.differences([]);
  await server.end();
  const used = (name: 'server' | 'nft') => after[name] - before[name];
  const name = `${count} sessions, one in ${KEEP_EVERY} left open`;
  const median = percentile([...done.openMs], 0.5);
  const p99 = percentile([...done.openMs], 0.99);
  return [
    row({
      case: name,
      metric: 'opened and ended',
      value: done.perSecond,
      unit: '/s',
      goal: `≥ ${PER_SECOND}/s`,
      met: done.perSecond >= 0.99 * PER_SECOND,
    }),
    row({
      case: name,
      metric: 'per second of the server process’s time, which is one core of its own',
      value: count / used('server'),
      unit: '/s',
      goal: `≥ ${PER_SECOND}/s`,
      met: count / used('server') >= PER_SECOND,
    }),
    row({
      case: name,
      metric: 'processor time of nft and ip for each',
      value: (1e6 * used('nft')) / count,
      unit: 'µs',
    }),
    row({ case: name, metric: 'from the first request to the verified port, median', value: median, unit: 'ms' }),
    row({ case: name, metric: 'the same, p99', value: p99, unit: 'ms' }),
    ...differenceRows(`${done.open.length} sessions left open`, kept),
    ...differenceRows('all sessions ended', none),
  ];
}

function differenceRows(name: string, differences: number): BenchRow[] {
  const metric = 'entries of the kernel that belong to no session, and sessions without theirs';
  return [row({ case: name, metric, value: differences, unit: '', goal: '0', met: differences === 0 })];
}

/** The load, in a process of its own. */
class Load {
  readonly #lines: AsyncIterator<string>;
  readonly #write: (line: string) => void;

  private constructor(lines: AsyncIterator<string>, write: (line: string) => void) {
    this.#lines = lines;
    this.#write = write;
  }

  static async start(host: LabHost, task: SessionsTask): Promise<Load> {
    const child = host.spawn(process.execPath, [LOAD, JSON.stringify(task)], {}, 'pipe');
    child.stderr!.pipe(process.stderr);
    return new Load(createInterface({ input: child.stdout! })[Symbol.asyncIterator](), (line) =>
      child.stdin!.write(line),
    );
  }

  async next<Answer>(): Promise<Answer> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('The load ended before its time.');
    return JSON.parse(value) as Answer;
  }

  /** Ends what is open when all else has ended. */
  async finish(): Promise<void> {
    this.#write('end\n');
    while (!(await this.#lines.next()).done);
  }
}

interface Usage {
  /** Processor time, s. */
  server: number;
  nft: number;
}

interface Server {
  end(): Promise<unknown>;
  usage(): Promise<Usage>;
  /** How many entries of the kernel belong to none of these sessions, and entries of these that are missing, once nothing is on its way. */
  differences(open: SessionsDone['open']): Promise<number>;
}

/** Our server, as an operator runs it. */
async function serve(host: LabHost, folder: string): Promise<Server> {
  const secret = join(folder, 'secret');
  writeFileSync(secret, `${SECRET}\n`, { mode: 0o600 });
  const limits = ['--max-allocations', '--user-allocations', '--user-requests', '--source-requests'];
  const place = ['--address', SERVER, '--realm', REALM, '--no-tcp', '--data-plane', 'kernel'];
  const others = ['--secret-file', secret, '--allow-peer', '203.0.113.0/24', '--metrics-port', `${METRICS_PORT}`];
  const all = [...place, ...others, ...limits.flatMap((each) => [each, PLENTY])];
  const flags = (process.env.TOWPATH_SERVER_FLAGS ?? '').split(' ').filter(Boolean);
  const child = host.spawn(process.execPath, [...flags, TOWPATH, 'relay', 'serve', ...all]);
  await says(child, /metrics .*\n/, 30_000);
  for (const stream of [child.stdout!, child.stderr!]) stream.resume();
  const pid = child.pid!;
  const metrics = async () => {
    const { stdout } = await host.run(process.execPath, ['-e', FETCH]);
    const value = (name: string) => Number(new RegExp(`^towpath_turn_${name} (\\d+)$`, 'm').exec(stdout)?.[1]);
    return { allocations: value('allocations'), sessions: value('kernel_sessions'), waiting: value('kernel_waiting') };
  };
  return {
    end: () => {
      const ended = once(child, 'exit');
      child.kill();
      return ended;
    },
    usage: async () => {
      const server = threadSeconds(pid);
      return { server, nft: processorSeconds(pid) - server };
    },
    differences: async (open) => {
      const expected = new Set(
        open.flatMap(([local, plain, peer, relayed]) => [key(local, plain), key(peer, relayed)]),
      );
      let found = 0;
      for (let tries = 0; tries < SETTLE_TRIES; tries++) {
        const { allocations, sessions, waiting } = await metrics();
        const inKernel = keysInKernel(host);
        const wrong =
          inKernel.filter((each) => !expected.has(each)).length +
          expected.size -
          inKernel.filter((each) => expected.has(each)).length;
        found = wrong + Math.abs(allocations - open.length) + Math.abs(sessions - open.length) + waiting;
        if (found === 0) return 0;
        await sleep(SETTLE_MS);
      }
      return found;
    },
  };
}

function key(from: Endpoint, to: Endpoint): string {
  return [from.address, from.port, to.address, to.port].join(' . ');
}

/** Which packets of IPv4 the kernel forwards: source and destination, as nft prints them. */
function keysInKernel(host: LabHost): string[] {
  const args = ['netns', 'exec', host.namespace, 'nft', '-j', 'list', 'maps', 'netdev'];
  const { nftables } = JSON.parse(execFileSync('ip', args, { encoding: 'utf8', maxBuffer: 1 << 28 })) as {
    nftables: {
      map?: { name: string; elem?: [{ elem?: { val: { concat: unknown[] } }; concat?: unknown[] }, unknown][] };
    }[];
  };
  const elements = nftables.find(({ map }) => map?.name === 'sessions4')?.map?.elem ?? [];
  return elements.map(([each]) => (each.elem?.val.concat ?? each.concat ?? []).join(' . '));
}
