import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished, type LabHost } from './lab.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** Where commands run. */
const FOLDER = '/srv';

/**
 * A host of the lab with the files of this machine and a layer of its own for what is written, so that documented commands
 * run with the paths that they name. This repository is at `/opt/towpath`, and `towpath` and Node 24 are installed.
 */
export class Machine implements Disposable {
  readonly host: LabHost;
  readonly #layers = mkdtempSync(join(tmpdir(), 'towpath-machine-'));
  readonly #root: string;

  /** @param names lines of `/etc/hosts`, as `198.51.100.7 towpath.example.org` */
  constructor(host: LabHost, names: readonly string[] = []) {
    this.host = host;
    this.#root = join(this.#layers, 'root');
    mount('-t', 'tmpfs', 'tmpfs', this.#layers);
    const [upper, work] = ['upper', 'work'].map((name) => join(this.#layers, name));
    for (const folder of [upper!, work!, this.#root]) mkdirSync(folder);
    mount('-t', 'overlay', 'overlay', '-o', `lowerdir=/,upperdir=${upper},workdir=${work}`, this.#root);
    mount('-t', 'proc', 'proc', this.path('/proc'));
    mount('--bind', '/dev', this.path('/dev'));
    for (const folder of ['/tmp', '/run', '/opt', FOLDER]) mount('-t', 'tmpfs', 'tmpfs', this.path(folder));
    mkdirSync(this.path('/opt/towpath'));
    mount('--bind', ROOT, this.path('/opt/towpath'));
    for (const file of ['/usr/bin/node', '/usr/local/bin/node']) {
      rmSync(this.path(file), { force: true });
      symlinkSync('/opt/towpath/node_modules/node/bin/node', this.path(file));
    }
    const start = '#!/bin/sh\nexec node /opt/towpath/packages/towpath/bin/towpath.js "$@"\n';
    writeFileSync(this.path('/usr/local/bin/towpath'), start, { mode: 0o755 });
    writeFileSync(this.path('/etc/hosts'), ['127.0.0.1 localhost', ...names, ''].join('\n'));
  }

  /** Where a file of this machine is in the host's file system. */
  path(path: string): string {
    return join(this.#root, path);
  }

  /** Writes a file into the folder where commands run, for its owner only. */
  write(name: string, text: string): void {
    writeFileSync(join(this.path(FOLDER), name), text, { mode: 0o600 });
  }

  /** Starts a line of a shell. Its standard input is a pipe. */
  start(line: string, env: Record<string, string> = {}): ChildProcess {
    const fixed = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LC_ALL=C'];
    const variables = [...fixed, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
    const text = `hostname ${this.host.name} && cd ${FOLDER} && ${line}`;
    const inside = ['unshare', '--uts', 'chroot', this.#root, '/bin/sh', '-c', text];
    return this.host.spawn('env', ['-i', ...variables, ...inside], {}, 'pipe');
  }

  /** Runs a line of a shell to its end. @throws when it takes longer than 60 s or does not end with 0. */
  async run(line: string, env: Record<string, string> = {}, input = ''): Promise<string> {
    const child = this.start(line, env);
    child.stdin?.end(input);
    const { code, stdout, stderr } = await finished(child, 60_000);
    if (code !== 0) throw new Error(`"${line}" ended with ${code}:\n${stdout}\n${stderr}`);
    return stdout;
  }

  /** Removes all that was written; the programs must have ended. */
  [Symbol.dispose](): void {
    for (const folder of ['/opt/towpath', '/opt', '/tmp', '/run', FOLDER, '/dev', '/proc', '/'])
      spawnSync('umount', ['-l', this.path(folder)]);
    spawnSync('umount', ['-l', this.#layers]);
    rmSync(this.#layers, { recursive: true, force: true });
  }
}

function mount(...args: string[]): void {
  execFileSync('mount', args);
}
