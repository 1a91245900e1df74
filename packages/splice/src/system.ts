/** A program that runs and takes commands. */
export interface ProgramChild {
  /** Gives it lines. @returns how many characters it reads from its standard input */
  write(text: string): number;
  /** Kills it at once (SIGKILL): tables of nft vanish with it. */
  kill(): void;
}

/** What happens to it. */
export interface ProgramHandlers {
  /** Standard output and standard error in the order of writing. */
  onOutput(text: string): void;
  /** It ended, or could not be started; called once. `missing`: the program is not installed. */
  onExit(reason: string, missing: boolean): void;
}

export interface CommandResult {
  /** Exit code; undefined when it did not run to its end. */
  code: number | undefined;
  stdout: string;
  stderr: string;
}

/** The programs and files of the host that this package uses; tests replace it. */
export interface System {
  /** Starts `nft` in interactive mode with JSON output. */
  startNft(handlers: ProgramHandlers): ProgramChild;
  /** Starts `ip`, which takes one command a line, with JSON output. */
  startIp(handlers: ProgramHandlers): ProgramChild;
  /** Runs a program to its end; does not throw. @param input written to its standard input */
  run(
    program: 'nft' | 'ip',
    args: readonly string[],
    options?: { input?: string; timeoutMs?: number },
  ): Promise<CommandResult>;
  /** Returns the text of a file; undefined when it cannot be read. */
  readFile(path: string): Promise<string | undefined>;
}
