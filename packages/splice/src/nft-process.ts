import { type Clock, type Timer, TowpathError } from '@towpath/core';
import { NFT_ERROR, rejection, SpliceError } from './splice-error.ts';
import type { ProgramChild, System } from './system.ts';

export interface NftProcessComponents {
  system: System;
  clock: Clock;
}

export interface NftProcessOptions {
  /** How long nft may take for one batch, ms. @default 5000 */
  batchTimeoutMs?: number | undefined;
  /** Called once when the process has ended for a reason other than {@link NftProcess.close}. */
  onEnded?(error: SpliceError): void;
}

interface Batch {
  readonly line: string;
  readonly context: string;
  readonly resolve: (output: string) => void;
  readonly reject: (error: SpliceError) => void;
}

const DEFAULT_BATCH_TIMEOUT_MS = 5_000;
const MAX_OUTPUT_CHARACTERS = 64 * 1024 * 1024;

/**
 * One `nft -i` process. The tables that it creates with `flags owner` belong to it and vanish when it ends.
 *
 * A batch is one line: nft applies all of its commands or none. After each batch follows a line that is no command; the
 * error that nft prints for it repeats the line and so marks the end of the batch's own output.
 */
export class NftProcess {
  readonly #clock: Clock;
  readonly #batchTimeoutMs: number;
  readonly #onEnded: ((error: SpliceError) => void) | undefined;
  readonly #child: ProgramChild;
  readonly #waiting: Batch[] = [];
  #running: Batch | undefined;
  #timer: Timer | undefined;
  #output = '';
  #mark = '';
  #batches = 0;
  #writtenBytes = 0;
  #error: SpliceError | undefined;

  constructor({ system, clock }: NftProcessComponents, options: NftProcessOptions = {}) {
    this.#clock = clock;
    this.#batchTimeoutMs = options.batchTimeoutMs ?? DEFAULT_BATCH_TIMEOUT_MS;
    this.#onEnded = options.onEnded;
    this.#child = system.startNft({
      onOutput: (text) => this.#onOutput(text),
      onExit: (reason, missing) => this.#end(exitError(reason, missing, this.#output)),
    });
  }

  /** Everything that nft has read from its standard input so far. It keeps that as history, so a process is replaced when this grows large. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  get ended(): boolean {
    return this.#error !== undefined;
  }

  /**
   * Runs commands as one transaction.
   * @param commands without line breaks, made of checked values only
   * @param context what they are for, in the message of an error
   * @returns what nft printed
   * @throws SpliceError `nft-rejected`, `not-permitted` or `not-supported`: none of the commands took effect.
   *   `nft-ended`, `nft-missing`: the process is gone, and its tables with it. `nft-timeout`: the process accepts no more
   *   batches; its tables stay until {@link close}.
   */
  run(commands: readonly string[], context: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#error !== undefined) {
        reject(this.#error);
        return;
      }
      this.#waiting.push({ line: commands.join('; '), context, resolve, reject });
      this.#next();
    });
  }

  /** Ends the process, and with it its tables. Idempotent. */
  close(): void {
    this.#end(new SpliceError('closed', 'nft was closed.'));
    this.#child.kill();
  }

  #next(): void {
    if (this.#running !== undefined || this.#error !== undefined) return;
    const batch = this.#waiting.shift();
    if (batch === undefined) return;
    this.#running = batch;
    this.#output = '';
    this.#mark = `towpath_batch_${++this.#batches}`;
    this.#timer = this.#clock.timer(this.#batchTimeoutMs, () =>
      this.#end(new SpliceError('nft-timeout', `nft did not answer within ${this.#batchTimeoutMs} ms.`)),
    );
    this.#writtenBytes += this.#child.write(`${batch.line}\n${this.#mark}\n`);
  }

  #onOutput(text: string): void {
    if (this.#running === undefined) return;
    // The end can only be near the end of what has come: earlier text is not searched again.
    const from = Math.max(0, this.#output.length - 2 * this.#mark.length - 200);
    this.#output += text;
    if (this.#output.length > MAX_OUTPUT_CHARACTERS) {
      this.#end(new SpliceError('nft-rejected', 'nft printed more than is accepted.'));
      return;
    }
    const end = markStart(this.#output, this.#mark, from);
    if (end < 0) return;
    const batch = this.#running;
    const output = this.#output.slice(0, end);
    this.#output = '';
    this.#running = undefined;
    this.#timer?.cancel();
    if (NFT_ERROR.test(output)) batch.reject(rejection(output, batch.context));
    else batch.resolve(output);
    this.#next();
  }

  #end(error: SpliceError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#timer?.cancel();
    // A process that does not answer keeps its tables until others have taken their place and it is closed.
    if (error.code !== 'nft-timeout') this.#child.kill();
    const batches = this.#running === undefined ? this.#waiting : [this.#running, ...this.#waiting];
    this.#running = undefined;
    for (const batch of batches.splice(0)) batch.reject(error);
    if (error.code !== 'closed') this.#onEnded?.(error);
  }
}

/** Returns where the error about the marking line starts in `output`, or -1 when it has not come yet. */
function markStart(output: string, mark: string, from: number): number {
  // "Error: syntax error, …\nMARK\n     ^\n": complete with the line of carets.
  const at = output.indexOf(`\n${mark}\n`, from);
  if (at < 0) return -1;
  const caretLineEnd = output.indexOf('\n', at + mark.length + 2);
  if (caretLineEnd < 0) return -1;
  return output.lastIndexOf('Error:', at);
}

function exitError(reason: string, missing: boolean, output: string): SpliceError {
  if (missing) {
    return new SpliceError('nft-missing', 'The program nft is not installed. Next: install the package nftables.');
  }
  if (/not permitted|must be root/i.test(output)) return rejection(`Error: ${output.trim()}`, 'the connection');
  return new SpliceError('nft-ended', `nft ended (${reason}).`);
}

/** True for errors after which the process and its tables are gone. */
export function isGone(error: unknown): boolean {
  return error instanceof TowpathError && ['nft-timeout', 'nft-ended', 'nft-missing', 'closed'].includes(error.code);
}
