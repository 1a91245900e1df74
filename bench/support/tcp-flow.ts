import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { type LabHost, says } from '../../test/system/support/lab.ts';
import { PYTHON } from '../../test/system/support/python.ts';

const LOAD = new URL('./tcp-load.py', import.meta.url).pathname;
const MAX_EXTRA_MS = 30_000;

/** TCP flows from one host to an address of another, one after the other. */
export class TcpFlow {
  readonly #from: LabHost;
  readonly #to: { address: string; port: number };
  readonly #receiver: ChildProcess;
  readonly #lines: Interface;

  static async open(from: LabHost, receiver: LabHost, to: { address: string; port: number }): Promise<TcpFlow> {
    const child = receiver.spawn(PYTHON, [LOAD, 'recv', to.address, String(to.port)]);
    await says(child, 'listening\n');
    return new TcpFlow(from, to, child);
  }

  private constructor(from: LabHost, to: { address: string; port: number }, receiver: ChildProcess) {
    this.#from = from;
    this.#to = to;
    this.#receiver = receiver;
    this.#lines = createInterface({ input: receiver.stdout! });
  }

  /** @returns what arrived, Mbit/s */
  async run(seconds: number): Promise<number> {
    const signal = AbortSignal.timeout(1_000 * seconds + MAX_EXTRA_MS);
    const line = once(this.#lines, 'line', { signal });
    const args = [LOAD, 'send', this.#to.address, String(this.#to.port), String(seconds)];
    const { code, stderr } = await this.#from.run(PYTHON, args, { timeoutMs: 1_000 * seconds + MAX_EXTRA_MS });
    if (code !== 0) throw new Error(`No transfer: ${stderr.slice(-200)}`);
    const { bytes, seconds: took }: { bytes: number; seconds: number } = JSON.parse((await line)[0]);
    return (8 * bytes) / took / 1e6;
  }

  close(): void {
    this.#lines.close();
    this.#receiver.kill('SIGKILL');
  }
}
