import { spawn } from 'node:child_process';
import { errorCode } from '@towpath/core';
import { MeshError } from '../mesh-error.ts';

/** More than any program that we run prints; a program that prints more is stopped. */
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;
/** How much of a program's message an error repeats. */
const MAX_MESSAGE_CHARACTERS = 300;

/** What a program printed, and how it ended. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Written to standard input; the only way by which secrets reach a program. */
  input?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Runs programs of the system (`ip`, `wg`, `nft`, `sysctl`). Replaced in tests. */
export interface Commands {
  /**
   * Runs a program to its end, without a shell.
   * @throws MeshError `program-missing`, `command-failed` when it cannot be started or prints too much;
   *   the signal's reason when it aborts.
   */
  run(program: string, args: readonly string[], options?: CommandOptions): Promise<CommandResult>;
}

/** The programs of this machine. */
export class SystemCommands implements Commands {
  run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      const { input, signal } = options;
      signal?.throwIfAborted();
      const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
      const onAbort = () => child.kill('SIGKILL');
      signal?.addEventListener('abort', onAbort, { once: true });
      const out = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
      let size = 0;
      for (const name of ['stdout', 'stderr'] as const) {
        child[name].on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_OUTPUT_BYTES) child.kill('SIGKILL');
          else out[name].push(chunk);
        });
      }
      child.once('error', (cause) => {
        signal?.removeEventListener('abort', onAbort);
        reject(startFailure(program, cause));
      });
      child.once('close', (code) => {
        signal?.removeEventListener('abort', onAbort);
        if (signal?.aborted) reject(signal.reason);
        else if (code === null) reject(new MeshError('command-failed', `${program} was stopped before it ended.`));
        else {
          const text = (name: 'stdout' | 'stderr') => Buffer.concat(out[name]).toString('utf8');
          resolve({ code, stdout: text('stdout'), stderr: text('stderr') });
        }
      });
      // A program that does not read its input closes the pipe; its exit code says the rest.
      child.stdin.on('error', () => {});
      child.stdin.end(input ?? '');
    });
  }
}

/**
 * Runs a program that must succeed, and returns its standard output.
 * @throws MeshError `permission-denied` or `command-failed` with the program's own message, and as {@link Commands.run}.
 */
export async function runChecked(
  commands: Commands,
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await commands.run(program, args, options);
  if (code === 0) return stdout;
  throw commandFailure(program, args, stderr);
}

/** The error of a program that ended with a code other than 0. */
export function commandFailure(program: string, args: readonly string[], stderr: string): MeshError {
  const said = stderr.replace(/\s+/g, ' ').trim().slice(0, MAX_MESSAGE_CHARACTERS);
  if (/operation not permitted|permission denied/i.test(said)) {
    return new MeshError(
      'permission-denied',
      `This process may not change network interfaces (${program}: ${said}). Next: run as root, or with CAP_NET_ADMIN.`,
    );
  }
  return new MeshError('command-failed', `"${[program, ...args].join(' ')}" failed: ${said || 'no message'}.`);
}

function startFailure(program: string, cause: Error): MeshError {
  if (errorCode(cause) === 'ENOENT') {
    return new MeshError(
      'program-missing',
      `The program ${program} is not installed. Next: run "towpath doctor", which says how to install it.`,
      { target: program, cause },
    );
  }
  return new MeshError('command-failed', `The program ${program} cannot be started (${errorCode(cause)}).`, {
    target: program,
    cause,
  });
}
