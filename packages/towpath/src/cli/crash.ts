import { writeSync } from 'node:fs';
import { inspect } from 'node:util';

/** Standard error's descriptor: the streams of a process that is about to end may never write. */
const STANDARD_ERROR = 2;

/**
 * Ends the process at once when an error was not caught: it is a defect of this program, and what the process would do
 * next is unknown. The process is killed rather than exited, because Node's clean-up may hang after such an error; a
 * supervisor such as systemd then starts it again.
 */
export function endOnUncaughtError(): void {
  process.on('uncaughtException', (error, origin) => {
    try {
      const text = `towpath: internal error (${origin}), the process ends. Please report this.\n${inspect(error)}\n`;
      writeSync(STANDARD_ERROR, text);
    } finally {
      process.kill(process.pid, 'SIGKILL');
    }
  });
}
