import { type Clock, TowpathError } from '@towpath/core';
import { BatchProcess, type ProcessEnd } from './batch-process.ts';
import { NFT_ERROR, rejection, SpliceError } from './splice-error.ts';
import type { System } from './system.ts';

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

const DEFAULT_BATCH_TIMEOUT_MS = 5_000;
const MAX_OUTPUT_CHARACTERS = 64 * 1024 * 1024;

/**
 * One `nft -i` process. The tables that it creates with `flags owner` belong to it and vanish when it ends. A batch is one line:
 * nft applies all of its commands or none.
 */
export class NftProcess {
  readonly #process: BatchProcess;

  constructor({ system, clock }: NftProcessComponents, options: NftProcessOptions = {}) {
    const { batchTimeoutMs: timeoutMs = DEFAULT_BATCH_TIMEOUT_MS, onEnded } = options;
    this.#process = new BatchProcess(
      { clock },
      {
        start: (handlers) => system.startNft(handlers),
        timeoutMs,
        maxOutputCharacters: MAX_OUTPUT_CHARACTERS,
        markStart,
        errorOf: (end) => endError(end, timeoutMs),
        // Its tables stay until others have taken their place.
        keepsAtTimeout: true,
        onEnded: onEnded?.bind(options),
      },
    );
  }

  /** Everything that nft has read from its standard input so far. It keeps that as history, so a process is replaced when this grows large. */
  get writtenBytes(): number {
    return this.#process.writtenBytes;
  }

  get ended(): boolean {
    return this.#process.ended;
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
  async run(commands: readonly string[], context: string): Promise<string> {
    const output = await this.#process.run(commands.join('; '));
    if (NFT_ERROR.test(output)) throw rejection(output, context);
    return output;
  }

  /** Ends the process, and with it its tables. Idempotent. */
  close(): void {
    this.#process.close(new SpliceError('closed', 'nft was closed.'));
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

function endError(end: ProcessEnd, timeoutMs: number): SpliceError {
  if (end.why === 'timeout') return new SpliceError('nft-timeout', `nft did not answer within ${timeoutMs} ms.`);
  if (end.why === 'too-long') return new SpliceError('nft-rejected', 'nft printed more than is accepted.');
  if (end.missing) {
    return new SpliceError('nft-missing', 'The program nft is not installed. Next: install the package nftables.');
  }
  if (/not permitted|must be root/i.test(end.output)) {
    return rejection(`Error: ${end.output.trim()}`, 'the connection');
  }
  return new SpliceError('nft-ended', `nft ended (${end.reason}).`);
}

/** True for errors after which the process and its tables are gone. */
export function isGone(error: unknown): boolean {
  return error instanceof TowpathError && ['nft-timeout', 'nft-ended', 'nft-missing', 'closed'].includes(error.code);
}
