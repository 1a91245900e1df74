import type { Clock } from '@towpath/core';
import { BatchProcess, type ProcessEnd } from './batch-process.ts';
import { SpliceError } from './splice-error.ts';
import type { System } from './system.ts';

const TIMEOUT_MS = 10_000;
const MAX_OUTPUT_CHARACTERS = 16 * 1024 * 1024;

/**
 * One `ip` process that answers questions as they come: to start one for each takes ten times as long. Started when it is first
 * needed, and again when it has ended.
 */
export class RouteProcess implements Disposable {
  readonly #components: { system: System; clock: Clock };
  #process: BatchProcess | undefined;
  #closed = false;

  constructor(components: { system: System; clock: Clock }) {
    this.#components = components;
  }

  /**
   * @param lines commands of `ip`, made of checked values only
   * @returns what it printed
   * @throws SpliceError `no-route` when it cannot be run or does not answer, `closed`
   */
  async run(lines: readonly string[]): Promise<string> {
    if (this.#closed) throw closedError();
    if (this.#process === undefined || this.#process.ended) this.#process = this.#start();
    return this.#process.run(lines.join('\n'));
  }

  /** Ends the process. Idempotent. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#process?.close(closedError());
  }

  #start(): BatchProcess {
    const { system, clock } = this.#components;
    return new BatchProcess(
      { clock },
      {
        start: (handlers) => system.startIp(handlers),
        timeoutMs: TIMEOUT_MS,
        maxOutputCharacters: MAX_OUTPUT_CHARACTERS,
        markStart: (output, mark, from) => output.indexOf(`"${mark}"`, from),
        errorOf,
      },
    );
  }
}

function errorOf(end: ProcessEnd): SpliceError {
  if (end.why === 'timeout') return unusable(`it did not answer within ${TIMEOUT_MS} ms`);
  if (end.why === 'too-long') return unusable('it printed more than is accepted');
  if (!end.missing) return unusable(end.reason);
  return new SpliceError(
    'no-route',
    'The program ip is not installed. Next: install the packages iproute2 and nftables.',
  );
}

function unusable(reason: string): SpliceError {
  return new SpliceError('no-route', `ip route cannot be run: ${reason.slice(0, 200)}`);
}

function closedError(): SpliceError {
  return new SpliceError('closed', 'The kernel data plane was closed.');
}
