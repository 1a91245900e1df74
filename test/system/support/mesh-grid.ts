import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { GridEvent, GridLine, GridNodeOptions, GridOrder, GridResult } from './grid-node.ts';
import { finished, Lab, type LabHost, type LabNat, NAT_KINDS, type NatKind, says } from './lab.ts';
import { PartyHost } from './party.ts';

/** Where a member of the grid stands. */
export type Place =
  | 'open'
  | 'full cone'
  | 'address-restricted'
  | 'port-restricted'
  | 'port-restricted, other ports'
  | 'address-symmetric'
  | 'symmetric, sequential'
  | 'symmetric, random'
  | 'UDP blocked';

export const PLACES: Readonly<Record<Place, NatKind | undefined>> = {
  open: undefined,
  'full cone': NAT_KINDS['full-cone'],
  'address-restricted': NAT_KINDS['restricted-cone'],
  'port-restricted': NAT_KINDS['port-restricted'],
  'port-restricted, other ports': { ...NAT_KINDS['port-restricted'], ports: 'random' },
  'address-symmetric': { mapping: 'address-dependent', filtering: 'address-and-port-dependent' },
  'symmetric, sequential': NAT_KINDS['symmetric-sequential'],
  'symmetric, random': NAT_KINDS['symmetric-random'],
  'UDP blocked': NAT_KINDS['udp-blocked'],
};

export const ALL_PLACES: readonly Place[] = Object.keys(PLACES) as Place[];

/** The best class of path that two places allow. */
export function bestOf(a: Place, b: Place): 'direct' | 'relay' {
  if ([a, b].includes('UDP blocked')) return 'relay';
  const hard: readonly Place[] = ['address-symmetric', 'symmetric, sequential', 'symmetric, random'];
  if (!hard.includes(a) || !hard.includes(b)) return 'direct';
  // Two ends that choose a port for each destination cannot predict each other's, unless both count. The lab's
  // address-symmetric NAT keeps the port for addresses other than its servers'.
  return a === b && a !== 'symmetric, random' ? 'direct' : 'relay';
}

/** What became of one pair, as its first member saw it. */
export interface GridCell extends GridResult {
  a: Place;
  b: Place;
  /** The second member began so much later, ms. */
  delayMs: number;
  other: GridResult;
  pings: { sent: number; received: number };
}

const SERVER = '203.0.113.10';
const SECOND_RELAY = '203.0.113.11';
const THIRD_RELAY = '203.0.113.12';
const TURN_SECRET = 'grid-secret-grid-secret-grid-secret';

/** A member of the grid: a process in a namespace of its own. */
export class GridMember {
  readonly name: string;
  readonly host: LabHost;
  address = '';
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, (line: GridLine) => void>();
  readonly ready: Promise<void>;
  /** Changes of the peer since the last order, oldest first. */
  readonly events: (GridEvent & { atMs: number })[] = [];
  /** The NAT in front of the host. */
  readonly nat: LabNat | undefined;
  #text = '';

  constructor(name: string, host: LabHost, nat: LabNat | undefined, options: GridNodeOptions) {
    this.name = name;
    this.nat = nat;
    this.host = host;
    const program = ['test/system/support/grid-node.ts', JSON.stringify(options)];
    this.#child = host.spawn(process.execPath, program, {}, 'pipe');
    this.#child.stderr?.on('data', (chunk) => {
      this.#text += chunk;
    });
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.#child.once('exit', () => ready.reject(new Error(`${name} ended: ${this.#text}`)));
    createInterface({ input: this.#child.stdout! }).on('line', (text) => {
      const line: GridLine = JSON.parse(text);
      if ('ready' in line) {
        this.address = line.address;
        ready.resolve();
      } else if ('event' in line) this.events.push({ ...line.event, atMs: Date.now() });
      else this.#waiting.get(`${line.id} ${'echo' in line}`)?.(line);
    });
  }

  /** Gives an order; both promises resolve with what the member says about it. */
  obey(order: GridOrder): { echo: Promise<void>; result: Promise<GridResult> } {
    const echo = new Promise<void>((resolve) => {
      this.#waiting.set(`${order.id} true`, () => resolve());
    });
    const result = new Promise<GridResult>((resolve, reject) => {
      this.#waiting.set(`${order.id} false`, (line) => 'result' in line && resolve(line.result));
      this.#child.once('exit', () => reject(new Error(`${this.name} ended: ${this.#text}`)));
    });
    this.events.length = 0;
    this.#send(order);
    return { echo, result };
  }

  get pid(): number {
    return this.#child.pid!;
  }

  release(): void {
    this.#send('release');
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }

  #send(what: GridOrder | 'release'): void {
    this.#child.stdin!.write(`${JSON.stringify(what)}\n`);
  }
}

/** A control server with two relays, and members behind NATs that are connected pair by pair. */
export class MeshGrid {
  readonly lab: Lab = new Lab();
  readonly server: LabHost;
  /** Relays of their own, by address. */
  readonly relays: Map<string, ChildProcess> = new Map();
  serving: ChildProcess | undefined;
  #startRelay: (address: string) => ChildProcess = () => {
    throw new Error('This grid has no relays of its own');
  };
  #startServing: () => ChildProcess = () => {
    throw new Error('This grid has no control server');
  };
  readonly #folder = mkdtempSync(join(tmpdir(), 'towpath-grid-'));
  readonly #members: GridMember[] = [];
  #invite = '';
  #orders = 0;
  #places = 0;

  private constructor() {
    this.server = this.lab.host('server', SERVER);
  }

  /**
   * @param options.builtin the control server is one of the two relays
   * @param options.coturn the only relay is coturn
   */
  static async open({
    builtin = true,
    coturn = false,
  }: {
    builtin?: boolean;
    coturn?: boolean;
  } = {}): Promise<MeshGrid> {
    const grid = new MeshGrid();
    try {
      if (coturn) await grid.#serveWithCoturn();
      else await grid.#serve(builtin);
      return grid;
    } catch (error) {
      await grid.close();
      throw error;
    }
  }

  /** A member in a place of its own. */
  async member(name: string, place: Place, options: Partial<GridNodeOptions> = {}): Promise<GridMember> {
    const at = this.#places++;
    const outside = `203.0.113.${20 + at}`;
    const kind = PLACES[place];
    const nat = kind && this.lab.nat(`n${name}`, outside, kind, [SERVER, SECOND_RELAY]);
    const host = nat?.host(name) ?? this.lab.host(name, outside);
    const stateFolder = join(this.#folder, name);
    const member = new GridMember(name, host, nat, {
      name,
      server: SERVER,
      invite: this.#invite,
      stateFolder,
      ...options,
    });
    this.#members.push(member);
    await member.ready;
    return member;
  }

  /** Connects two members, with a ping from the first answered echo on. */
  async connect(
    a: GridMember,
    b: GridMember,
    { until, forMs, delayMs = 0, policy }: Omit<GridOrder, 'id' | 'peer'> & { delayMs?: number },
  ): Promise<{ first: GridResult; second: GridResult; pings: GridCell['pings'] }> {
    const id = ++this.#orders;
    const order = { id, until, forMs, policy };
    const first = a.obey({ ...order, peer: b.name });
    if (delayMs > 0) await sleep(delayMs);
    const second = b.obey({ ...order, peer: a.name });
    const pinging = first.echo.then(() => a.host.spawn('ping', ['-i', '0.1', '-W', '2', b.address]));
    const outcome = { first: await first.result, second: await second.result };
    const pings = outcome.first.firstEchoMs === undefined ? { sent: 0, received: 0 } : await pingsOf(await pinging);
    a.release();
    b.release();
    return { ...outcome, pings };
  }

  /** Starts the relay of this address, after it was killed too. */
  async relayAgain(address: string): Promise<void> {
    const child = this.#startRelay(address);
    this.relays.set(address, child);
    await says(child, /tcp /, 60_000);
  }

  /** Starts the control server, after it was killed too. */
  async serveAgain(): Promise<void> {
    this.serving = this.#startServing();
    await says(this.serving, /serving/, 60_000);
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.close()));
    await this.lab.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #serveWithCoturn(): Promise<void> {
    const configuration = join(this.#folder, 'turnserver.conf');
    const lines = [
      ...[`listening-ip=${SECOND_RELAY}`, `relay-ip=${SECOND_RELAY}`, 'listening-port=3478', 'realm=example.org'],
      ...['use-auth-secret', `static-auth-secret=${TURN_SECRET}`, 'no-tls', 'no-dtls', 'no-cli', 'log-file=stdout'],
      ...[`pidfile=${join(this.#folder, 'turnserver.pid')}`, `userdb=${join(this.#folder, 'turndb')}`],
    ];
    writeFileSync(configuration, `${lines.join('\n')}\n`);
    this.relays.set(SECOND_RELAY, this.lab.host('relay', SECOND_RELAY).spawn('turnserver', ['-c', configuration]));
    await this.#found(this.#secret(), '--relay', `turn:${SECOND_RELAY}:3478`, '--no-builtin-relay');
  }

  #secret(): string {
    const secret = join(this.#folder, 'turn.secret');
    writeFileSync(secret, TURN_SECRET, { mode: 0o600 });
    return secret;
  }

  async #serve(builtin: boolean): Promise<void> {
    const secret = this.#secret();
    const third = this.lab.host('relay2', THIRD_RELAY);
    const second = this.lab.host('relay', SECOND_RELAY);
    this.#startRelay = (address) =>
      (address === THIRD_RELAY ? third : second).towpath([
        ...['relay', 'serve', '--address', address, '--secret-file', secret],
        ...['--allow-peer', '203.0.113.0/24'],
      ]);
    const others = builtin ? [] : [`turn:${THIRD_RELAY}:3478`, '--no-builtin-relay'];
    await Promise.all([SECOND_RELAY, ...(builtin ? [] : [THIRD_RELAY])].map((address) => this.relayAgain(address)));
    await this.#found(secret, '--relay', `turn:${SECOND_RELAY}:3478`, ...others);
  }

  /** Starts the control server and creates the party. */
  async #found(secret: string, ...relays: string[]): Promise<void> {
    const party = new PartyHost('founder', this.server, this.#folder);
    this.#startServing = () =>
      party.start(
        ...['serve', '--open', '--address', SERVER, '--allow-peer', '203.0.113.0/24'],
        ...['--turn-secret-file', secret, ...relays],
      );
    await this.serveAgain();
    await party.told('party', 'create', 'grid', '--server', SERVER, '--as', 'founder');
    const { code } = await party.told<{ code: string }>('party', 'invite', '--uses', '64');
    this.#invite = code;
  }
}

/** Ends a ping and counts; the last ones may still be on their way. */
async function pingsOf(child: ChildProcess): Promise<GridCell['pings']> {
  await sleep(300);
  child.kill('SIGINT');
  const { stdout } = await finished(child, 5_000);
  const answered = new Set([...stdout.matchAll(/icmp_seq=(\d+)/g)].map(([, sequence]) => Number(sequence)));
  return { sent: Math.max(0, ...answered), received: answered.size };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
