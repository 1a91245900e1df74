import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'tsdown';
import { NODE_FLAGS } from '../packages/towpath/src/commands/daemon/unit.ts';
import { type Bench, type BenchRow, row } from './support/bench.ts';
import { command } from './support/bench-line.ts';
import { HERE } from './support/loopback.ts';
import { Worker } from './support/worker.ts';
import type { EmulatorsReady, EmulatorsTask } from './workers/emulators.ts';
import type { IdleDaemonReport, IdleDaemonTask } from './workers/idle-daemon.ts';
import type { IdlePeersTask } from './workers/idle-peers.ts';

const PEERS = 50;
const CAMERAS = 3;
const GOAL_MB = 120;
const GOAL_SHARE = 0.01;

/** Memory and processor time of a daemon at rest. */
export const bench: Bench = {
  about:
    'memory and processor time of a built daemon with 50 peers and 3 cameras at rest, with the flags of its systemd unit, beside a Node that does nothing; WireGuard is left out',
  async run({ quick, print }) {
    await using parts = new AsyncDisposableStack();
    const root = mkdtempSync(join(tmpdir(), 'towpath-idle-'));
    parts.defer(() => rmSync(root, { recursive: true, force: true }));
    const program = await builtWorker();
    parts.defer(() => rmSync(program.folder, { recursive: true, force: true }));
    const home = join(root, 'home');
    const peersTask: IdlePeersTask = { home, peers: PEERS };
    parts.use((await Worker.start('idle-peers', peersTask)).worker);
    print(`  ${PEERS} peers`);
    const emulatorsTask: EmulatorsTask = { kind: 'camera', count: CAMERAS, items: 30, photoBytes: 256 * 1_024 };
    const emulators = await Worker.start<EmulatorsReady>('emulators', emulatorsTask);
    parts.use(emulators.worker);
    for (const [n, port] of emulators.first.ports.entries())
      await command(home, 'camera', 'add', `camera${n}`, HERE, '--ports', String(port), '--search-port', '1');
    const rows: BenchRow[] = [];
    const bare = bareBytes();
    for (const flags of [NODE_FLAGS, []]) {
      // Each one downloads the same pictures first.
      rmSync(join(home, 'pictures'), { recursive: true, force: true });
      const task: IdleDaemonTask = {
        home,
        peers: PEERS,
        cameras: CAMERAS,
        settleMs: quick ? 10_000 : 60_000,
        holdMs: quick ? 10_000 : 120_000,
      };
      const started = await Worker.start<IdleDaemonReport>(program.file, task, flags);
      await started.worker[Symbol.asyncDispose]();
      rows.push(...rowsOf(started.first, flags, bare));
    }
    return rows;
  },
};

function rowsOf(report: IdleDaemonReport, flags: readonly string[], bare: number): BenchRow[] {
  const name = `${report.peers} peers, ${report.cameras} cameras, ${flags.length === 0 ? 'no flags' : flags.join(' ')}`;
  const megabytes = report.residentBytes / 1e6;
  const isGoal = flags.length > 0;
  return [
    row({
      case: name,
      metric: 'resident memory',
      value: megabytes,
      unit: 'MB',
      baseline: bare / 1e6,
      ...(isGoal && { goal: `≤ ${GOAL_MB} MB`, met: megabytes <= GOAL_MB }),
    }),
    row({ case: name, metric: 'heap in use', value: report.heapBytes / 1e6, unit: 'MB' }),
    row({
      case: name,
      metric: 'processor time',
      value: report.cpuShare * 100,
      unit: '% of a core',
      ...(isGoal && { goal: `< ${GOAL_SHARE * 100} %`, met: report.cpuShare < GOAL_SHARE }),
    }),
  ];
}

/** The worker as a package contains it: without types, whose removal costs memory in a clone. */
async function builtWorker(): Promise<{ folder: string; file: string }> {
  const repository = join(import.meta.dirname, '..');
  const folder = mkdtempSync(join(repository, 'node_modules', '.idle-'));
  await build({
    cwd: repository,
    entry: { daemon: join(import.meta.dirname, 'workers/idle-daemon.ts') },
    outDir: folder,
    format: 'esm',
    platform: 'node',
    deps: { alwaysBundle: /^@towpath\//, neverBundle: /^(?!@towpath\/|@oxc-project\/)[@a-z]/ },
    outExtensions: () => ({ js: '.js' }),
    dts: false,
    logLevel: 'error',
    config: false,
  });
  if (!readdirSync(folder).includes('daemon.js')) throw new Error('The worker was not built.');
  return { folder, file: join(folder, 'daemon.js') };
}

function bareBytes(): number {
  return Number(execFileSync(process.execPath, ['-p', 'process.memoryUsage().rss'], { encoding: 'utf8' }));
}
