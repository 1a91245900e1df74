import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StunClient } from '@towpath/stun';
import { HERE, realComponents } from './loopback.ts';
import { Program } from './program.ts';
import { freePort } from '../../packages/net/test/free-port.ts';

export const USER = { username: 'alice', password: 'secret' };

/** The longest run of a bench; a relay whose parent is gone ends after it. */
const LIFE_SECONDS = 600;
const REALM = 'example.org';
const PLENTY = '1000000';

const TOWPATH = join(import.meta.dirname, '..', '..', 'packages', 'towpath', 'bin', 'towpath.js');

/** A TURN server in its process or processes. */
export class TurnRelay implements AsyncDisposable {
  readonly name: string;
  readonly port: number;
  readonly #program: Program;
  readonly #folder: string | undefined;

  private constructor(name: string, port: number, program: Program, folder?: string) {
    this.name = name;
    this.port = port;
    this.#program = program;
    this.#folder = folder;
  }

  /** Ours, as an operator runs it. */
  static async towpath(workers: number): Promise<TurnRelay> {
    const place = ['--address', HERE, '--port', '0', '--no-tcp', '--allow-peer', '127.0.0.0/8'];
    const limits = ['allocations', 'requests'].flatMap((what) => [`--user-${what}`, PLENTY]);
    const program = await Program.start(
      process.execPath,
      [
        TOWPATH,
        ...['relay', 'serve', '--json', '--workers', String(workers), '--for', String(LIFE_SECONDS)],
        ...[...place, ...limits, '--max-allocations', PLENTY, '--source-requests', PLENTY],
        ...['--user', USER.username, '--realm', REALM],
      ],
      { TOWPATH_RELAY_PASSWORD: USER.password },
    );
    for await (const line of program.lines()) {
      const said: { type: string; what: string; endpoints: { port: number }[] } = JSON.parse(line);
      const port = said.endpoints[0]?.port;
      if (said.what === 'udp' && port !== undefined) {
        return new TurnRelay(workers === 1 ? 'towpath' : `towpath, ${workers} workers`, port, program);
      }
    }
    throw await program.failure();
  }

  /** coturn with one relay thread, which corresponds to one worker of ours. */
  static async coturn(): Promise<TurnRelay> {
    const folder = await mkdtemp(join(tmpdir(), 'towpath-turn-bench-'));
    const port = await freePort();
    const configuration = join(folder, 'turnserver.conf');
    const lines = [
      ...[`listening-ip=${HERE}`, `relay-ip=${HERE}`, `listening-port=${port}`, 'relay-threads=1'],
      ...['lt-cred-mech', `realm=${REALM}`, `user=${USER.username}:${USER.password}`, 'allow-loopback-peers'],
      ...['no-tcp', 'no-tls', 'no-dtls', 'no-cli', 'no-rfc5780', 'log-file=stdout'],
      ...[`pidfile=${join(folder, 'turnserver.pid')}`, `userdb=${join(folder, 'turndb')}`],
    ];
    await writeFile(configuration, `${lines.join('\n')}\n`);
    const program = await Program.start('turnserver', ['-c', configuration]);
    program.ignoreOutput();
    const relay = new TurnRelay('coturn', port, program, folder);
    try {
      await using client = await StunClient.open(realComponents(), { server: { address: HERE, port } });
      // Repeated until the server listens.
      await client.binding();
      return relay;
    } catch (error) {
      await relay[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#program.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true });
  }
}
