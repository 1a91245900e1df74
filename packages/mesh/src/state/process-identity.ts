import { readFileSync } from 'node:fs';

/** Names one process of one boot, so that a process id that was used again is not taken for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to the start of the process (`/proc/PID/stat`, field 22). */
  readonly startTicks: string;
  readonly bootId: string;
}

/** The running process. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, startTicks: startTicksOf(process.pid) ?? '', bootId: currentBootId() };
}

/** True while the process that `identity` names is alive. */
export function isAlive(identity: ProcessIdentity): boolean {
  if (identity.bootId !== currentBootId()) return false;
  return startTicksOf(identity.pid) === identity.startTicks;
}

/** A random id that the kernel draws at each boot; empty where there is none. */
export function currentBootId(): string {
  return readText('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
}

/** Undefined when there is no such process. */
function startTicksOf(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  // The second field is the program's name in parentheses and may contain anything.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // No such process, or no /proc on this system.
    return undefined;
  }
}
