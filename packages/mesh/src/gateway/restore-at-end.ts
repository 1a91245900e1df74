import { spawn } from 'node:child_process';

/** Kernel settings that are written when this process ends, however it does. */
export interface RestoreAtEnd {
  /** Writes nothing any more. Idempotent. */
  cancel(): void;
}

/** Waits for the end of its standard input, which is that of the process at the other end of the pipe. */
const SCRIPT = 'read -r _; exec sysctl -qw "$@"';

/**
 * Writes kernel settings when this process is killed: rules that nft owns vanish with it, and what was forwarded under them must
 * not be forwarded without them.
 * @param settings as sysctl takes them: `net.ipv4.conf.eth0.forwarding=0`
 */
export function restoreAtEnd(settings: readonly string[]): RestoreAtEnd {
  // A process group of its own: Ctrl-C in a terminal does not end it.
  const child = spawn('sh', ['-c', SCRIPT, 'sh', ...settings], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
  });
  // Without it the settings are restored by the next start, as the ledger has them.
  child.on('error', () => {});
  child.stdin.on('error', () => {});
  child.unref();
  return { cancel: () => void child.kill('SIGKILL') };
}
