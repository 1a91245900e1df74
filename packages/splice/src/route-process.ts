import type { Clock, Timer } from '@towpath/core';
import { SpliceError } from './splice-error.ts';
import type { ProgramChild, System } from './system.ts';

interface Batch {
  readonly lines: readonly string[];
  readonly resolve: (output: string) => void;
  readonly reject: (error: SpliceError) => void;
}

const TIMEOUT_MS = 10_000;
const MAX_OUTPUT_CHARACTERS = 16 * 1024 * 1024;

/**
 * One `ip` process that answers questions as they come: to start one for each takes ten times as long. Started when it is first
 * needed, and again when it has ended. After each batch follows a line that is no command; the error about it marks the end.
 */
export class RouteProcess implements Disposable {
  readonly #components: { system: System; clock: Clock };
  readonly #waiting: Batch[] = [];
  #child: ProgramChild | undefined;
  #running: Batch | undefined;
  #timer: Timer | undefined;
  #output = '';
  #mark = '';
  #batches = 0;
  #closed = false;

  constructor(components: { system: System; clock: Clock }) {
    this.#components = components;
  }

  /**
   * @param lines commands of `ip`, made of checked values only
   * @returns what it printed
   * @throws SpliceError `no-route` when it cannot be run or does not answer
   */
  run(lines: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new SpliceError('closed', 'The kernel data plane was closed.'));
        return;
      }
      this.#waiting.push({ lines, resolve, reject });
      this.#next();
    });
  }

  /** Ends the process. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#end(new SpliceError('closed', 'The kernel data plane was closed.'));
    for (const { reject } of this.#waiting.splice(0))
      reject(new SpliceError('closed', 'The kernel data plane was closed.'));
  }

  #next(): void {
    if (this.#running !== undefined) return;
    const batch = this.#waiting.shift();
    if (batch === undefined) return;
    const { system, clock } = this.#components;
    this.#running = batch;
    this.#output = '';
    this.#mark = `towpath_batch_${++this.#batches}`;
    this.#timer = clock.timer(TIMEOUT_MS, () => this.#end(unusable(`it did not answer within ${TIMEOUT_MS} ms`)));
    this.#child ??= this.#start(system);
    this.#child.write(`${batch.lines.join('\n')}\n${this.#mark}\n`);
  }

  #start(system: System): ProgramChild {
    const child: ProgramChild = system.startIp({
      onOutput: (text) => {
        if (child === this.#child) this.#onOutput(text);
      },
      onExit: (reason, missing) => {
        if (child === this.#child) this.#end(missing ? MISSING : unusable(reason));
      },
    });
    return child;
  }

  #onOutput(text: string): void {
    const batch = this.#running;
    if (batch === undefined) return;
    this.#output += text;
    if (this.#output.length > MAX_OUTPUT_CHARACTERS) {
      this.#end(unusable('it printed more than is accepted'));
      return;
    }
    const end = this.#output.indexOf(`"${this.#mark}"`);
    if (end < 0) return;
    this.#timer?.cancel();
    this.#running = undefined;
    batch.resolve(this.#output.slice(0, end));
    this.#next();
  }

  #end(error: SpliceError): void {
    this.#timer?.cancel();
    this.#child?.kill();
    this.#child = undefined;
    this.#running?.reject(error);
    this.#running = undefined;
    if (!this.#closed) this.#next();
  }
}

const MISSING = new SpliceError(
  'no-route',
  'The program ip is not installed. Next: install the packages iproute2 and nftables.',
);

function unusable(reason: string): SpliceError {
  return new SpliceError('no-route', `ip route cannot be run: ${reason.slice(0, 200)}`);
}
