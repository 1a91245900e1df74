import type { ExitCode } from './exit-code.ts';

/** How long what is still under way may take after the command has ended, ms. */
const REST_MS = 3_000;
/** The same when somebody asks for the second time, ms. */
const MOMENT_MS = 500;

/**
 * Lets the process end with this code when nothing is left to do. A file operation that does not answer, as on a network share
 * that is away, would keep it for ever; such a process is killed. So would what was not closed, such as a program that it has
 * started: then it exits, because others wait for what it holds.
 */
export function endWhenDone(code: ExitCode): void {
  process.exitCode = code;
  setTimeout(() => endAnyway(code), REST_MS).unref();
}

function endAnyway(code: ExitCode): void {
  killIfFilesHang();
  // Whoever reads the output may be slow.
  if (process.stdout.writableLength + process.stderr.writableLength > 0) {
    setTimeout(() => endAnyway(code), REST_MS).unref();
    return;
  }
  const open = [...new Set(process.getActiveResourcesInfo())].join(', ');
  process.stderr.write(`towpath: the process ends although something is still open (${open}). Please report this.\n`);
  process.exit(code);
}

/** Ends the process at once, or a moment later when files are being read or written. */
export function endNow(code: ExitCode): void {
  if (!isUsingFiles()) process.exit(code);
  // `process.exit` waits for the threads of file operations.
  setTimeout(() => {
    killIfFilesHang();
    process.exit(code);
  }, MOMENT_MS);
}

function isUsingFiles(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'));
}

function killIfFilesHang(): void {
  if (!isUsingFiles()) return;
  process.stderr.write('towpath: killed, because a file operation does not answer. Next: check the network shares.\n');
  process.kill(process.pid, 'SIGKILL');
}
