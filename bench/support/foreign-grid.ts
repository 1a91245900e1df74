import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Lab, type LabHost, says } from '../../test/system/support/lab.ts';
import { PLACES, type Place } from '../../test/system/support/mesh-grid.ts';
import { sleep } from './relay-load.ts';

export const FOREIGN = [
  'hyperdht',
  'js-libp2p, circuit relay and DCUtR over TCP',
  'js-libp2p, WebRTC signalled over a circuit relay',
] as const;
export type Foreign = (typeof FOREIGN)[number];

/** What one attempt came to; times in ms since the call, undefined for what did not happen. */
export interface Attempt {
  readonly echoMs: number | undefined;
  readonly directMs: number | undefined;
  readonly error: string | undefined;
}

const SOURCES = join(import.meta.dirname, '..', 'foreign');
/** Both libraries treat the addresses that are set aside for documentation as private. Nothing leaves the namespaces. */
const PREFIX = '11.22.33';
const RELAY = `${PREFIX}.10`;
const DHT_NODES = Array.from({ length: 10 }, (_, at) => `${PREFIX}.${11 + at}`);
const FIRST_MEMBER = 30;
const START_MS = 8_000;

/** Installs what package.json in bench/foreign names. @returns the folder */
export function install(print: (line: string) => void): string {
  const pinned = createHash('sha256')
    .update(readFileSync(join(SOURCES, 'package-lock.json')))
    .digest('hex');
  const folder = join(tmpdir(), `towpath-bench-foreign-${pinned.slice(0, 8)}`);
  mkdirSync(folder, { recursive: true });
  cpSync(SOURCES, folder, { recursive: true });
  if (!existsSync(join(folder, 'node_modules', '.package-lock.json'))) {
    print(`installing hyperdht and js-libp2p into ${folder}`);
    execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: folder, stdio: 'inherit' });
  }
  return folder;
}

/** Servers of the foreign programs, and pairs of hosts behind the NATs of the lab on which their members run. */
export class ForeignGrid {
  readonly #lab: Lab;
  readonly #folder: string;
  /** What members need to know to find the servers. */
  #dht: object = {};
  #libp2p = '';
  #hosts = 0;

  static async open(lab: Lab, folder: string): Promise<ForeignGrid> {
    const grid = new ForeignGrid(lab, folder);
    const host = lab.host('foreign', RELAY, ...DHT_NODES);
    const secret = join(folder, 'turn.secret');
    writeFileSync(secret, 'foreign-secret-foreign-secret', { mode: 0o600 });
    // Answers STUN, which WebRTC asks for.
    const relaying = host.towpath(['relay', 'serve', '--address', RELAY, '--secret-file', secret]);
    await says(relaying, /tcp /, 60_000);
    grid.#dht = await grid.#start<object>(host, 'hyperdht-nodes.js', { addresses: DHT_NODES, relay: RELAY });
    grid.#libp2p = await grid.#start<string>(host, 'libp2p-relay.js', { address: RELAY });
    return grid;
  }

  private constructor(lab: Lab, folder: string) {
    this.#lab = lab;
    this.#folder = folder;
  }

  host(place: Place): LabHost {
    const at = this.#hosts++;
    const address = `${PREFIX}.${FIRST_MEMBER + at}`;
    const kind = PLACES[place];
    const name = `f${at}`;
    return kind
      ? this.#lab.nat(`n${name}`, address, kind, [RELAY, ...DHT_NODES]).host(name)
      : this.#lab.host(name, address);
  }

  /**
   * Starts a member on either host, lets them settle, and connects the first to the second.
   * @returns when the first echo has come or the time is over; `attempt` later, when there is a direct path as well
   */
  async connect(
    program: Foreign,
    [from, to]: readonly [LabHost, LabHost],
    { settleMs, forMs }: { settleMs: number; forMs: number },
  ): Promise<{ echo: Promise<void>; attempt: Promise<Attempt> }> {
    const members = [from, to].map((host) => {
      const [file, options] = this.#member(program, host);
      return new ForeignMember(host, join(this.#folder, file), options);
    });
    const [first] = members as [ForeignMember, ForeignMember];
    const ready = await Promise.all(members.map((member) => member.ready));
    const end = () => Promise.all(members.map((member) => member.close()));
    if (ready.includes(undefined)) {
      await end();
      const attempt = { echoMs: undefined, directMs: undefined, error: 'a member did not start in time' };
      return { echo: Promise.resolve(), attempt: Promise.resolve(attempt) };
    }
    await sleep(settleMs);
    const attempt = first.connect(String(ready[1]), forMs).then(async (outcome) => {
      await end();
      return outcome;
    });
    return { echo: first.echo, attempt };
  }

  #member(program: Foreign, { address }: LabHost): [file: string, options: object] {
    if (program === 'hyperdht') return ['hyperdht-member.js', { ...this.#dht, relayAddress: RELAY }];
    const over = program.includes('WebRTC') ? 'webrtc' : 'dcutr';
    const open = address.startsWith(PREFIX);
    return ['libp2p-member.js', { relay: this.#libp2p, stun: RELAY, over, address, open }];
  }

  /** Starts a server. @returns what it says when it is ready */
  async #start<T>(host: LabHost, file: string, options: object): Promise<T> {
    const server = host.spawn(process.execPath, [join(this.#folder, file), JSON.stringify(options)]);
    const said = await says(server, /"ready".*\n/, 30_000);
    return JSON.parse(said.split('\n').find((line) => line.includes('"ready"'))!).ready;
  }
}

class ForeignMember {
  /** Its address, or undefined when it does not start in time. */
  readonly ready: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #echo = Promise.withResolvers<void>();
  readonly #direct = Promise.withResolvers<void>();
  #echoMs: number | undefined;
  #directMs: number | undefined;
  #error: string | undefined;

  constructor(host: LabHost, program: string, options: object) {
    this.#child = host.spawn(process.execPath, [program, JSON.stringify(options)], {}, 'pipe');
    const ready = Promise.withResolvers<unknown>();
    this.ready = Promise.race([ready.promise, sleep(START_MS)]);
    createInterface({ input: this.#child.stdout! }).on('line', (text) => {
      const line = JSON.parse(text);
      if ('ready' in line) ready.resolve(line.ready);
      if ('error' in line) this.#error ??= line.error;
      if ('echoMs' in line) {
        this.#echoMs = line.echoMs;
        this.#echo.resolve();
      }
      if ('directMs' in line) {
        this.#directMs = line.directMs;
        this.#direct.resolve();
      }
    });
    this.#child.stderr?.resume();
    this.#child.once('exit', () => {
      ready.resolve(undefined);
      this.#echo.resolve();
      this.#direct.resolve();
    });
  }

  get echo(): Promise<void> {
    return this.#echo.promise;
  }

  async connect(target: string, forMs: number): Promise<Attempt> {
    this.#child.stdin!.write(`${target}\n`);
    await Promise.race([Promise.all([this.#echo.promise, this.#direct.promise]), sleep(forMs)]);
    return { echoMs: this.#echoMs, directMs: this.#directMs, error: this.#error };
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
