import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, percentile, row } from './support/bench.ts';

const root = join(import.meta.dirname, '..');
const HELP_MORE_MS = 120;
const STATUS_MS = 200;

/** Starts of the command line. */
export const bench: Bench = {
  about:
    'starting the packaged command line (needs dpkg-deb), in turns with its own Node that runs nothing; status asks a daemon with one camera',
  async run({ quick, print }) {
    const folder = mkdtempSync(join(tmpdir(), 'towpath-start-'));
    let daemon: ChildProcess | undefined;
    try {
      print('  building the package');
      const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
      const build = [join(root, 'packaging/deb/build.ts'), '--arch', arch, '--output', folder];
      execFileSync(process.execPath, build, { stdio: 'ignore' });
      const file = readdirSync(folder).find((name) => name.endsWith('.deb'))!;
      execFileSync('dpkg-deb', ['-x', join(folder, file), join(folder, 'installed')]);
      const lib = join(folder, 'installed/usr/lib/towpath');
      const node = join(lib, 'bin/node');
      const env = { PATH: process.env.PATH, HOME: folder, TOWPATH_HOME: join(folder, 'home'), NO_COLOR: '1' };
      const command = (...args: string[]) => [join(lib, 'bin/towpath.js'), ...args];
      const start = (...args: string[]): number => {
        const startedAt = performance.now();
        const { status, stderr } = spawnSync(node, args, { env, encoding: 'utf8' });
        if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`);
        return performance.now() - startedAt;
      };
      start(...command('camera', 'add', 'feeder', '127.0.0.1', '--ports', '1'));
      daemon = spawn(node, command('up', '--api-port', '0'), { env, stdio: 'ignore' });
      while (!existsSync(join(folder, 'home/towpath.sock'))) {
        if (daemon.exitCode !== null) throw new Error(`The daemon ended with ${daemon.exitCode}.`);
        await sleep(50);
      }
      const [bare, help, status]: [number[], number[], number[]] = [[], [], []];
      for (let turn = 0; turn < (quick ? 10 : 60); turn++) {
        bare.push(start('-e', '0'));
        help.push(start(...command('--help')));
        status.push(start(...command('status')));
      }
      const baseline = percentile(bare, 0.5);
      const more = percentile(
        help.map((ms, turn) => ms - bare[turn]!),
        0.5,
      );
      const median = percentile(status, 0.5);
      const goalOf = (met: boolean, goal: string) => ({ goal, met });
      return [
        row({
          ...{ case: 'towpath --help', metric: 'start to end, median', value: percentile(help, 0.5), unit: 'ms' },
          ...{ baseline, ...goalOf(more <= HELP_MORE_MS, `≤ ${HELP_MORE_MS} ms more in the middle pair`) },
        }),
        row({ case: 'towpath --help', metric: 'more than Node, middle pair', value: more, unit: 'ms' }),
        row({
          ...{ case: 'towpath status', metric: 'start to end, median', value: median, unit: 'ms' },
          ...{ baseline, ...goalOf(median <= STATUS_MS, `≤ ${STATUS_MS} ms`) },
        }),
        row({
          ...{ case: 'towpath status', metric: 'start to end, fastest', value: Math.min(...status), unit: 'ms' },
          baseline: Math.min(...bare),
        }),
      ];
    } finally {
      if (daemon !== undefined && daemon.exitCode === null) {
        const ended = once(daemon, 'exit');
        daemon.kill('SIGTERM');
        await ended;
      }
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
