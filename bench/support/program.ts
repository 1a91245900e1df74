import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

/** A program that does not end when asked is killed after this time. */
const LIMIT_MS = 5_000;

export function isInstalled(tool: string): boolean {
  try {
    execFileSync('which', [tool], { stdio: 'ignore' });
    return true;
  } catch {
    return false; // `which` says by its exit code that there is none
  }
}

/** A running external program; it ends with its parent. */
export class Program implements AsyncDisposable {
  readonly pid: number;
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #errors: Promise<string>;

  private constructor(name: string, child: ChildProcess, pid: number) {
    this.#name = name;
    this.#child = child;
    this.pid = pid;
    this.#errors = child.stderr === null ? Promise.resolve('') : text(child.stderr);
  }

  /** @param environment in addition to this process's own. */
  static async start(
    name: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Program> {
    const env = { ...process.env, ...environment };
    const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    await once(child, 'spawn');
    return new Program(name, child, child.pid ?? 0);
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Its output, until it ends or the reader stops. Later output is discarded. */
  async *lines(): AsyncGenerator<string> {
    const { stdout } = this.#child;
    if (stdout === null) return;
    try {
      yield* createInterface({ input: stdout });
    } finally {
      stdout.resume();
    }
  }

  /** Its output is not needed; unread, it would block when the pipe is full. */
  ignoreOutput(): void {
    this.#child.stdout?.resume();
  }

  /** Its own error message. */
  async failure(): Promise<Error> {
    if (this.running) await once(this.#child, 'exit');
    const { exitCode, signalCode } = this.#child;
    return new Error(`${this.#name} ended with ${exitCode ?? signalCode}. ${(await this.#errors).trim()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.running) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), LIMIT_MS);
    await ended;
    clearTimeout(timer);
  }
}
