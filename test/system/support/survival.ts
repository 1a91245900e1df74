import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { PYTHON } from './python.ts';
import { processes } from './wireguard-lab.ts';
import { finished, type LabHost, says } from './lab.ts';
import type { GridEvent } from './grid-node.ts';
import type { GridMember, MeshGrid } from './mesh-grid.ts';

/** Replies of a continuous ping through the tunnel, 20 in a second, by their time of arrival. */
export class Pings {
  readonly #child: ChildProcess;
  readonly #arrivedMs: number[] = [];

  constructor(from: LabHost, to: string) {
    this.#child = from.spawn('ping', ['-D', '-i', '0.05', '-W', '1', to]);
    let rest = '';
    this.#child.stdout?.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [, seconds] = /^\[([\d.]+)\] .*bytes from/.exec(line) ?? [];
        if (seconds !== undefined) this.#arrivedMs.push(Number(seconds) * 1_000);
      }
    });
  }

  /** The longest time without a reply since `fromMs` (wall time), ms; a gap that lasts counts. */
  outageSince(fromMs: number): number {
    const times = [fromMs, ...this.#arrivedMs.filter((at) => at > fromMs), Date.now()];
    return Math.max(...times.slice(1).map((at, index) => at - times[index]!));
  }

  /** True when replies have arrived in the last moment. */
  get flowing(): boolean {
    return Date.now() - (this.#arrivedMs.at(-1) ?? 0) < 200;
  }

  async close(): Promise<void> {
    this.#child.kill('SIGINT');
    await finished(this.#child, 5_000);
  }
}

/** A TCP transfer from one member to another, which both must end without an error. */
export class Transfer {
  readonly #receiver: ChildProcess;
  readonly #sender: ChildProcess;
  readonly #ended: Promise<{ received: { code: number | null; stdout: string; stderr: string }; stderr: string }>;

  private constructor(receiver: ChildProcess, sender: ChildProcess) {
    this.#receiver = receiver;
    this.#sender = sender;
    this.#ended = Promise.all([finished(receiver, 900_000), finished(sender, 900_000)]).then(([received, sent]) => ({
      received,
      stderr: received.stderr + sent.stderr,
    }));
    // Whoever asks for the result learns of a failure. A run of single tests ends the programs without asking.
    this.#ended.catch(() => {});
  }

  /** @param blocks to send as fast as possible; without it blocks are sent until {@link end} */
  static async start(
    from: Pick<GridMember, 'host'>,
    to: Pick<GridMember, 'host' | 'address'>,
    blocks?: number,
  ): Promise<Transfer> {
    const program = ['test/system/support/tcp-transfer.py'];
    const receiver = to.host.spawn(PYTHON, [...program, 'recv', to.address, '7000']);
    await says(receiver, 'listening');
    const count = blocks === undefined ? [] : [String(blocks)];
    return new Transfer(receiver, from.host.spawn(PYTHON, [...program, 'send', to.address, '7000', ...count]));
  }

  get running(): boolean {
    return this.#receiver.exitCode === null && this.#sender.exitCode === null;
  }

  /** Ends the sender and waits until all has arrived. @returns blocks that arrived, and what the programs complained of */
  async end(): Promise<{ blocks: number; errors: string }> {
    this.#sender.kill('SIGTERM');
    return this.whole();
  }

  /** Waits until all has arrived. */
  async whole(): Promise<{ blocks: number; errors: string }> {
    const { received, stderr } = await this.#ended;
    const [, blocks = '0'] = /"blocks": (\d+)/.exec(received.stdout) ?? [];
    return { blocks: Number(blocks), errors: stderr };
  }
}

/** What is done to the connection, and undone. */
export class Disturbances {
  readonly #grid: MeshGrid;
  readonly #a: GridMember;
  readonly #b: GridMember;

  constructor(grid: MeshGrid, a: GridMember, b: GridMember) {
    this.#grid = grid;
    this.#a = a;
    this.#b = b;
  }

  /** Drops, at the first member's NAT, what goes directly between the two. */
  block(direction: 'both' | 'in'): void {
    const other = this.#b.nat!.outside;
    const out = direction === 'both' ? `ip daddr ${other} drop;` : '';
    this.#rules(`${out} ip saddr ${other} drop;`);
  }

  /** Drops WireGuard's messages between the two, and lets the checks of the path pass. */
  dropWireGuard(): void {
    const other = this.#b.nat!.outside;
    // The first byte of the payload is the type, 1 to 4, and the next three are 0; STUN's are others.
    const message = 'meta l4proto udp @th,64,8 1-4 @th,72,24 0';
    this.#rules(`ip daddr ${other} ${message} counter drop; ip saddr ${other} ${message} counter drop;`);
  }

  /** Drops everything of the first member. */
  cut(): void {
    this.#rules('drop;');
  }

  lose(percent: number): void {
    this.#rules(`numgen random mod 100 < ${percent} drop;`);
  }

  clear(): void {
    this.#grid.lab.nft(this.#a.nat!.namespace, 'table ip disturb\ndelete table ip disturb\n');
  }

  async flushConntrack(): Promise<void> {
    for (const { nat, host } of [this.#a, this.#b]) {
      const { code, stderr } = await host.run('nsenter', [`--net=/run/netns/${nat!.namespace}`, 'conntrack', '-F']);
      if (code !== 0) throw new Error(`conntrack: ${stderr}`);
    }
  }

  /** Kills the process that holds the splice's table of the first member, which removes the table. */
  killSplice(): number {
    const mine = childrenOf(this.#a.pid, 'nft -j -n -i');
    for (const pid of mine) process.kill(pid, 'SIGKILL');
    return mine.length;
  }

  /** The WireGuard process of the second member. */
  wireGuard(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): number {
    const mine = childrenOf(this.#b.pid, 'wireguard-go -f');
    for (const pid of mine) process.kill(pid, signal);
    return mine.length;
  }

  #rules(rules: string): void {
    this.clear();
    this.#grid.lab.nft(
      this.#a.nat!.namespace,
      `table ip disturb {\n chain forward {\n type filter hook forward priority -10;\n ${rules}\n }\n}\n`,
    );
  }
}

/** Processes that `parent` has started with this in their command line. */
export function childrenOf(parent: number, line: string): number[] {
  return processes()
    .filter((each) => each.line.includes(line) && parentOf(each.pid) === parent)
    .map(({ pid }) => pid);
}

/** From /proc/PID/stat, whose second field may contain spaces. */
function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    // It has ended meanwhile.
    return -1;
  }
}

/** Waits for a change of the peer that `accept` takes. */
export async function eventually(
  member: GridMember,
  accept: (last: GridEvent) => boolean,
  limitMs: number,
): Promise<GridEvent> {
  const untilMs = Date.now() + limitMs;
  for (;;) {
    const last = member.events.at(-1);
    if (last !== undefined && accept(last)) return last;
    if (Date.now() > untilMs)
      throw new Error(`Not so after ${limitMs} ms: ${JSON.stringify(member.events.slice(-12))}`);
    await pause(20);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
