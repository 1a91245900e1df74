import { readdirSync, readFileSync } from 'node:fs';

/** Unit in which the kernel counts processor time, a constant of its user interface (proc(5)). */
const TICKS_PER_SECOND = 100;

/** Processor time that a process and its children have used so far, s. */
export function processorSeconds(pid: number): number {
  return familyOf(pid).reduce((sum, each) => sum + ownSeconds(each), 0);
}

/** Memory of a process and its children that is in RAM. */
export function residentBytes(pid: number): number {
  return familyOf(pid).reduce((sum, each) => {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${each}/status`, 'utf8'))?.[1];
    return sum + 1_024 * Number(kilobytes);
  }, 0);
}

/** Idle time of all cores together since the start, s. */
export function idleSeconds(): number {
  const [, , , , idle, waiting] = readFileSync('/proc/stat', 'utf8').split(/\s+/, 6);
  return (Number(idle) + Number(waiting)) / TICKS_PER_SECOND;
}

/** Processor time that a process has used so far without its children, s. */
function ownSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may itself have spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Processor time that the threads of a process have used so far, to the nanosecond: for a few per mille of a core, s. */
export function threadSeconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => {
    const [ran = ''] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    return sum + Number(ran) / 1e9;
  }, 0);
}

function familyOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [
    pid,
    ...children
      .split(' ')
      .filter(Boolean)
      .flatMap((child) => familyOf(Number(child))),
  ];
}
