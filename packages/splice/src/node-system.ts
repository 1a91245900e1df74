import { execFile, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import type { CommandResult, NftChild, NftHandlers, System } from './system.ts';

/**
 * One stream for output and errors keeps their order. `setpriv` makes the kernel end nft with its parent even when nft
 * is stopped; without it, nft ends when its standard input does.
 */
const SCRIPT = `if setpriv --pdeathsig KILL true 2>/dev/null
then exec setpriv --pdeathsig KILL nft -j -n -i 2>&1
else exec nft -j -n -i 2>&1
fi`;

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

  startNft({ onOutput, onExit }: NftHandlers): NftChild {
    // A session of its own: Ctrl-C in a terminal must not end nft before the daemon has moved its data elsewhere.
    const [program = 'sh', ...args] = [...this.#prefix, 'sh', '-c', SCRIPT];
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
      env: environment(),
    });
    let ended = false;
    const end = (reason: string, missing: boolean) => {
      if (ended) return;
      ended = true;
      onExit(reason, missing);
    };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (!ended) onOutput(text);
    });
    child.stdin.on('error', () => 'its exit says why');
    child.once('error', (error) => end(error.message, false));
    child.once('close', (code, signal) => end(signal ?? `exit code ${code}`, code === NOT_FOUND));
    return {
      write: (text) => void child.stdin.write(text),
      kill: () => {
        child.stdin.destroy();
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

/** Administrators' programs lie outside of a user's PATH; nft writes no history without a home. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, HOME: '/nonexistent', LC_ALL: 'C' };
}
