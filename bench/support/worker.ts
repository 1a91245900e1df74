import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '..', 'workers');

/** A process under `bench/workers/`: it answers each message with one, and ends when it is let go. */
export class Worker implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts `NAME.ts` with `task` as its argument and waits for its first message. */
  static async start<First>(
    name: string,
    task: object,
    execArgv: readonly string[] = [],
  ): Promise<{ worker: Worker; first: First }> {
    const child = fork(join(FOLDER, `${name}.ts`), [JSON.stringify(task)], { execArgv: [...execArgv] });
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

  /** Lets the process go; one that does not end by itself is ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    if (child.connected) child.disconnect();
    const patience = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(patience);
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

/** For workers: what they were started with. */
export function workerTask<Task>(): Task {
  return JSON.parse(process.argv[2] ?? '{}') as Task;
}

/** For workers: says something to the process that started this one. */
export function tell(message: object): void {
  process.send?.(message);
}

/** For workers: resolves when the process that started this one lets it go. */
export function letGo(): Promise<void> {
  return new Promise((resolve) => process.once('disconnect', resolve));
}
