import { CommanderError } from 'commander';
import { endOnStall, endOnUncaughtError } from './cli/crash.ts';
import { endNow, endWhenDone } from './cli/end-process.ts';
import { ExitCode } from './cli/exit-code.ts';
import { type Io, processIo } from './cli/io.ts';
import { createProgram } from './cli/program.ts';
import { ProcessRuntime, type Runtime } from './cli/runtime.ts';
import { printJson } from './cli/json-output.ts';
import { SuccessorExpected } from './cli/successor-expected.ts';
import { configFolder } from './config/folder.ts';

/** One Ctrl-C can deliver several signals: from the terminal, and from npm or another parent process. */
const SAME_KEY_PRESS_MS = 500;

/** Runs one command line to its end and returns the exit code. `args` are without node and script. */
export async function run(args: readonly string[], runtime: Runtime): Promise<ExitCode> {
  const { io } = runtime;
  try {
    const program = await createProgram(runtime, args);
    await program.parseAsync([...args], { from: 'user' });
    return runtime.signal.aborted ? ExitCode.Interrupted : ExitCode.Ok;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return ExitCode.Ok;
      if (args.includes('--json')) printJson(io, 'error', { error: { code: 'usage', message: usageMessage(error) } });
      return ExitCode.Usage;
    }
    const { exitCodeOf, showFailure } = await import('./cli/failure.ts');
    const code = runtime.signal.aborted ? ExitCode.Interrupted : exitCodeOf(error);
    if (code !== ExitCode.Interrupted) showFailure(io, error, args.includes('--json'));
    return code;
  }
}

/** Commander reports a missing command by its help alone. */
function usageMessage({ code, message }: CommanderError): string {
  return code === 'commander.help' ? 'The command is incomplete. See --help.' : message.replace(/^error: /, '');
}

/** Entry point of the process: system network, system clock, signals. */
export async function main(): Promise<void> {
  endOnUncaughtError();
  const ended = endOnStall();
  const io = processIo();
  const args = process.argv.slice(2);
  const interrupt = new AbortController();
  let firstMs = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    if (!interrupt.signal.aborted) {
      firstMs = performance.now();
      interrupt.abort(signal === 'SIGUSR2' ? new SuccessorExpected() : undefined);
    } else if (performance.now() - firstMs > SAME_KEY_PRESS_MS) {
      // A second Ctrl-C, while cleanup still runs, ends the process at once.
      endNow(ExitCode.Interrupted);
    }
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  // The unit's RestartKillSignal.
  process.on('SIGUSR2', onSignal);
  quietBrokenPipe(io);
  const verbose = args.includes('--verbose') || args.includes('-v');
  const code = await run(
    args,
    new ProcessRuntime({ io, signal: interrupt.signal, verbose, configFolder: configFolder(io.env) }),
  );
  ended();
  endWhenDone(code);
}

/** A closed pipe (`towpath … | head`) ends the process without an error. */
function quietBrokenPipe(io: Io): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(ExitCode.Ok);
      io.err(`towpath: output failed: ${error.message}`);
      process.exit(ExitCode.Local);
    });
  }
}
