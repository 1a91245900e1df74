import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { isAbsolute, join } from 'node:path';

const FOLDER = join(import.meta.dirname, '..', 'workers');

/** A process under `bench/workers/`: it answers each message with one message, and ends when told to. */
export class Worker implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts `NAME.ts`, or a built file, with `task` as its argument and waits for its first message. */
  static async start<First>(
    name: string,
    task: object,
    execArgv: readonly string[] = [],
  ): Promise<{ worker: Worker; first: First }> {
    const file = isAbsolute(name) ? name : join(FOLDER, `${name}.ts`);
    const child = fork(file, [JSON.stringify(task)], { execArgv: [...execArgv] });
    const worker = new Worker(child);
    try {
      return { worker, first: await worker.#next<First>() };
    } catch (error) {
      await worker[Symbol.asyncDispose]();
      throw error;
    }
  }

  async ask<Answer>(question: object): Promise<Answer> {
    const answer = this.#next<Answer>();
    this.#child.send(question);
    return answer;
  }

  /** Tells the process to end; kills it when it does not. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    if (child.connected) child.disconnect();
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(timer);
  }

  async #next<Answer>(): Promise<Answer> {
    const over = new AbortController();
    const { signal } = over;
    try {
      const message = once(this.#child, 'message', { signal });
      const exit = once(this.#child, 'exit', { signal }).then(([code]) => {
        throw new Error(`The worker ended with code ${code}.`);
      });
      const [answer] = await Promise.race([message, exit]);
      return answer as Answer;
    } finally {
      over.abort();
    }
  }
}

/** For workers: the task they were started with. */
export function workerTask<Task>(): Task {
  return JSON.parse(process.argv[2] ?? '{}') as Task;
}

/** For workers: sends a message to the parent process. */
export function tell(message: object): void {
  process.send?.(message);
}

/** For workers: resolves when the parent process tells this one to end. */
export function parentLeft(): Promise<void> {
  return new Promise((resolve) => process.once('disconnect', resolve));
}

/** For programs in a namespace, which have no channel to the parent: prints one line of JSON. */
export function printLine(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
