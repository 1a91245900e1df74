import { type ChildProcess, type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { CommandResult, ProgramChild, ProgramHandlers, System } from './system.ts';

/**
 * One stream for output and errors keeps their order. `setpriv` makes the kernel end the program with its parent even when it
 * is stopped; without it, it ends when its standard input does.
 */
const SCRIPT = `if setpriv --pdeathsig KILL true 2>/dev/null
then exec setpriv --pdeathsig KILL "$@" 2>&1
else exec "$@" 2>&1
fi`;

/** The file that nft was started with; what was written to it last is read from its start. */
const BATCH_FILE = '/proc/self/fd/3';
/** Shorter ones are written to the standard input, characters. */
const SHORT_BATCH = 120;
const NOT_FOUND = 127;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 10_000;

/** The host's own programs. */
export class NodeSystem implements System {
  readonly #prefix: readonly string[];

  /** @param prefix put before every program: `['ip', 'netns', 'exec', NAME]` works in another network namespace */
  constructor(prefix: readonly string[] = []) {
    this.#prefix = prefix;
  }

  startNft(handlers: ProgramHandlers): ProgramChild {
    const file = openBatchFile();
    const child = this.#start(['nft', '-j', '-n', '-i'], handlers, file);
    if (file === undefined) return child;
    const write = (text: string) => {
      const lastLine = text.lastIndexOf('\n', text.length - 2) + 1;
      if (lastLine < SHORT_BATCH) return child.write(text);
      ftruncateSync(file);
      writeSync(file, text.slice(0, lastLine), 0);
      return child.write(`include "${BATCH_FILE}"\n${text.slice(lastLine)}`);
    };
    let open = true;
    const kill = () => {
      child.kill();
      if (open) closeSync(file);
      open = false;
    };
    return { write: (text) => (open ? write(text) : 0), kill };
  }

  startIp(handlers: ProgramHandlers): ProgramChild {
    return this.#start(['ip', '-j', '-force', '-batch', '-'], handlers);
  }

  #start(command: readonly string[], { onOutput, onExit }: ProgramHandlers, file?: number): ProgramChild {
    // A session of its own: Ctrl-C in a terminal must not end nft before the daemon has moved its data elsewhere.
    const [program = 'sh', ...args] = [...this.#prefix, 'sh', '-c', SCRIPT, 'sh', ...command];
    const child: ChildProcess = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'ignore', file ?? 'ignore'],
      detached: true,
      env: environment(),
    });
    const { stdin, stdout } = child as ChildProcessByStdio<Writable, Readable, null>;
    let ended = false;
    const end = (reason: string, missing: boolean) => {
      if (ended) return;
      ended = true;
      onExit(reason, missing);
    };
    stdout.setEncoding('utf8').on('data', (text: string) => {
      if (!ended) onOutput(text);
    });
    stdin.on('error', () => 'its exit says why');
    child.once('error', (error) => end(error.message, false));
    child.once('close', (code, signal) => end(signal ?? `exit code ${code}`, code === NOT_FOUND));
    return {
      write: (text) => {
        stdin.write(text);
        return text.length;
      },
      kill: () => {
        stdin.destroy();
        child.kill('SIGKILL');
      },
    };
  }

  run(
    program: 'nft' | 'ip',
    args: readonly string[],
    { input, timeoutMs = DEFAULT_TIMEOUT_MS }: { input?: string; timeoutMs?: number } = {},
  ): Promise<CommandResult> {
    return new Promise((resolve) => {
      const options = {
        maxBuffer: MAX_OUTPUT_BYTES,
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        env: environment(),
      } as const;
      const [file = program, ...all] = [...this.#prefix, program, ...args];
      const child = execFile(file, all, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : undefined;
        resolve({ code, stdout, stderr: stderr === '' && error !== null ? error.message : stderr });
      });
      child.stdin?.on('error', () => 'its exit says why');
      child.stdin?.end(input ?? '');
    });
  }

  readFile(path: string): Promise<string | undefined> {
    return readFile(path, 'utf8').catch(() => undefined);
  }
}

/**
 * Returns a file without a name for {@link BATCH_FILE}; undefined when there can be none. nft reads its standard input one byte
 * with each system call, which takes longer than all else that it does; a file it reads in blocks. In memory where that is possible:
 * the file system of a disk keeps a record of each change.
 */
function openBatchFile(): number | undefined {
  if (!existsSync('/proc/self/fd')) return undefined;
  return openUnnamed('/dev/shm') ?? openUnnamed(tmpdir());
}

function openUnnamed(parent: string): number | undefined {
  let folder: string | undefined;
  try {
    folder = mkdtempSync(join(parent, 'towpath-nft-'));
    return openSync(join(folder, 'batch'), 'wx+', 0o600);
  } catch {
    return undefined;
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/** Administrators' programs lie outside of a user's PATH; nft writes no history without a home. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, HOME: '/nonexistent', LC_ALL: 'C' };
}
