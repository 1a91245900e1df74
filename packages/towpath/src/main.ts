import { AbortedError, SystemClock, SystemRandom, silentLog } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { CommanderError } from 'commander';
import { ExitCode } from './cli/exit-code.ts';
import { exitCodeOf, showFailure } from './cli/failure.ts';
import { type Io, processIo } from './cli/io.ts';
import { terminalLog } from './cli/log.ts';
import { createProgram } from './cli/program.ts';
import type { Runtime } from './cli/runtime.ts';
import { configFolder } from './config/folder.ts';

/** One Ctrl-C comes several times: from the terminal, and handed on by npm or whatever else started the process. */
const SAME_KEY_PRESS_MS = 500;

/** Runs one command line to its end and returns the exit code. `args` are without node and script. */
export async function run(args: readonly string[], runtime: Runtime): Promise<ExitCode> {
  const { io } = runtime;
  try {
    await createProgram(runtime).parseAsync([...args], { from: 'user' });
    return runtime.signal.aborted ? ExitCode.Interrupted : ExitCode.Ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.Ok : ExitCode.Usage;
    const code = runtime.signal.aborted ? ExitCode.Interrupted : exitCodeOf(error);
    if (code !== ExitCode.Interrupted) showFailure(io, error, args.includes('--json'));
    return code;
  }
}

/** The process's own entry: real network, real clock, signals. */
export async function main(): Promise<void> {
  const io = processIo();
  const args = process.argv.slice(2);
  const clock = new SystemClock();
  const interrupt = new AbortController();
  let firstMs = 0;
  const onSignal = () => {
    if (!interrupt.signal.aborted) {
      firstMs = clock.now();
      interrupt.abort(new AbortedError('Interrupted.'));
    } else if (clock.now() - firstMs > SAME_KEY_PRESS_MS) {
      // A second one, while something hangs on to its cleanup, ends the process at once.
      process.exit(ExitCode.Interrupted);
    }
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  quietBrokenPipe(io);
  const verbose = args.includes('--verbose') || args.includes('-v');
  const code = await run(args, {
    io,
    clock,
    random: new SystemRandom(),
    network: new NodeNetwork(),
    log: verbose ? terminalLog(io, clock) : silentLog,
    signal: interrupt.signal,
    configFolder: configFolder(io.env),
  });
  process.exitCode = code;
}

/** `towpath … | head` ends our output; that is the reader's choice and not an error. */
function quietBrokenPipe(io: Io): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(ExitCode.Ok);
      io.err(`towpath: output failed: ${error.message}`);
      process.exit(ExitCode.Local);
    });
  }
}
