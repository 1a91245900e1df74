import type { Clock, Timer } from '@towpath/core';
import type { SpliceError } from './splice-error.ts';
import type { ProgramChild, ProgramHandlers } from './system.ts';

/** Why a program takes no more batches. `output`: what it had printed of the batch that ran. */
export type ProcessEnd =
  | { readonly why: 'exit'; readonly reason: string; readonly missing: boolean; readonly output: string }
  | { readonly why: 'timeout' }
  | { readonly why: 'too-long' };

export interface BatchProcessOptions {
  start(handlers: ProgramHandlers): ProgramChild;
  /** How long one batch may take, ms. */
  timeoutMs: number;
  /** Output of one batch. */
  maxOutputCharacters: number;
  /** Returns where what is printed about the mark starts; -1 while it has not come whole. It does not begin before `from`. */
  markStart(output: string, mark: string, from: number): number;
  errorOf(end: ProcessEnd): SpliceError;
  /** A program that does not answer goes on until {@link BatchProcess.close}. @default false */
  keepsAtTimeout?: boolean;
  /** Called once, when it has ended for a reason other than {@link BatchProcess.close}. */
  onEnded?: ((error: SpliceError) => void) | undefined;
}

interface Batch {
  readonly text: string;
  readonly resolve: (output: string) => void;
  readonly reject: (error: SpliceError) => void;
}

/**
 * A program that takes lines on its standard input, one batch after the other. After each batch follows a line that is no
 * command: what the program prints about it names it, and so marks the end of the batch's own output.
 */
export class BatchProcess {
  readonly #clock: Clock;
  readonly #options: BatchProcessOptions;
  readonly #child: ProgramChild;
  readonly #waiting: Batch[] = [];
  #running: Batch | undefined;
  #timer: Timer | undefined;
  #output = '';
  #mark = '';
  #batches = 0;
  #writtenBytes = 0;
  #error: SpliceError | undefined;

  constructor({ clock }: { clock: Clock }, options: BatchProcessOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#child = options.start({
      onOutput: (text) => this.#onOutput(text),
      onExit: (reason, missing) => this.#end({ why: 'exit', reason, missing, output: this.#output }),
    });
  }

  /** Everything that the program has read from its standard input so far, characters. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  get ended(): boolean {
    return this.#error !== undefined;
  }

  /** @returns what the program printed. @throws the error of {@link BatchProcessOptions.errorOf} when it has ended. */
  run(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#error !== undefined) {
        reject(this.#error);
        return;
      }
      this.#waiting.push({ text, resolve, reject });
      this.#next();
    });
  }

  /** Ends the program. @param error what batches that are not done fail with. Idempotent. */
  close(error: SpliceError): void {
    this.#stop(error);
    this.#child.kill();
  }

  #next(): void {
    if (this.#running !== undefined || this.#error !== undefined) return;
    const batch = this.#waiting.shift();
    if (batch === undefined) return;
    this.#running = batch;
    this.#output = '';
    this.#mark = `towpath_batch_${++this.#batches}`;
    this.#timer = this.#clock.timer(this.#options.timeoutMs, () => this.#end({ why: 'timeout' }));
    this.#writtenBytes += this.#child.write(`${batch.text}\n${this.#mark}\n`);
  }

  #onOutput(text: string): void {
    const batch = this.#running;
    if (batch === undefined) return;
    // The end can only be near the end of what has come: earlier text is not searched again.
    const from = Math.max(0, this.#output.length - 2 * this.#mark.length - 200);
    this.#output += text;
    if (this.#output.length > this.#options.maxOutputCharacters) {
      this.#end({ why: 'too-long' });
      return;
    }
    const end = this.#options.markStart(this.#output, this.#mark, from);
    if (end < 0) return;
    const output = this.#output.slice(0, end);
    this.#output = '';
    this.#running = undefined;
    this.#timer?.cancel();
    batch.resolve(output);
    this.#next();
  }

  #end(end: ProcessEnd): void {
    if (this.#error !== undefined) return;
    const error = this.#options.errorOf(end);
    if (end.why !== 'timeout' || !this.#options.keepsAtTimeout) this.#child.kill();
    this.#stop(error);
    this.#options.onEnded?.(error);
  }

  #stop(error: SpliceError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#timer?.cancel();
    const batches = this.#running === undefined ? this.#waiting : [this.#running, ...this.#waiting];
    this.#running = undefined;
    for (const batch of batches.splice(0)) batch.reject(error);
  }
}
