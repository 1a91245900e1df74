import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AbortedError, SystemClock, SystemRandom, silentLog } from '@towpath/core';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { expect } from 'vitest';
import type { ExitCode } from '../src/cli/exit-code.ts';
import { run } from '../src/main.ts';
import { testIo } from './test-io.ts';

/** The real world, as commands get it. */
export const components: { network: NodeNetwork; clock: SystemClock; random: SystemRandom } = {
  network: new NodeNetwork(),
  clock: new SystemClock(),
  random: new SystemRandom(),
};

/** A command that runs. */
export interface Running {
  readonly out: string[];
  readonly err: string[];
  /** Where it said that it listens, once it has; needs `--json`. */
  listening(what: string): Promise<Endpoint[]>;
  /** Presses Ctrl-C and waits for the end. */
  stop(): Promise<ExitCode>;
  readonly code: Promise<ExitCode>;
}

/** A fresh folder and a command line in it, on the real network. */
export class CommandLine implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'towpath-command-'));

  file(name: string): string {
    return join(this.folder, name);
  }

  /** @param input the line on standard input. */
  start(
    args: readonly string[],
    env: Record<string, string> = {},
    input?: string,
    terminal: { columns?: number; interactive?: boolean; piped?: boolean } = {},
  ): Running {
    const out: string[] = [];
    const err: string[] = [];
    const interrupt = new AbortController();
    const io = testIo({
      out: (line) => void out.push(line),
      err: (line) => void err.push(line),
      interactive: terminal.interactive ?? false,
      columns: terminal.columns ?? 200,
      piped: terminal.piped ?? false,
      env,
      readLine: async () => input,
    });
    const runtime = { ...components, io, log: silentLog, signal: interrupt.signal, configFolder: this.file('config') };
    const code = run(args, runtime);
    const said = (what: string) =>
      out
        .map((line) => JSON.parse(line) as { what?: string; endpoints: Endpoint[] })
        .find((line) => line.what === what);
    return {
      out,
      err,
      code,
      async listening(what) {
        // Lines on standard error are the server's log: only the end of the command says that it will not listen.
        let ended = false;
        void code.finally(() => {
          ended = true;
        });
        await expect.poll(() => said(what) !== undefined || ended, { interval: 10, timeout: 60_000 }).toBe(true);
        const found = said(what);
        if (found === undefined) throw new Error(err.join('\n'));
        return found.endpoints;
      },
      stop: () => {
        interrupt.abort(new AbortedError('Interrupted.'));
        return code;
      },
    };
  }

  /** Runs a command to its end. */
  async run(
    args: readonly string[],
    env: Record<string, string> = {},
    input?: string,
    terminal: { columns?: number; interactive?: boolean; piped?: boolean } = {},
  ): Promise<{ code: ExitCode; out: string[]; err: string }> {
    const running = this.start(args, env, input, terminal);
    const code = await running.code;
    return { code, out: running.out, err: running.err.join('\n') };
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
