import type { ExitCode } from './exit-code.ts';

/** How long a file operation may take after everything else has ended, ms. */
const FILES_MS = 3_000;
/** The same when somebody asks for the second time, ms. */
const MOMENT_MS = 500;

/**
 * Lets the process end with this code when nothing is left to do. A file operation that does not answer, as on a network share
 * that is away, would keep it for ever; such a process is killed.
 */
export function endWhenDone(code: ExitCode): void {
  process.exitCode = code;
  setTimeout(killIfFilesHang, FILES_MS).unref();
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
