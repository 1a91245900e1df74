import { readFileSync } from 'node:fs';
import type { Bus } from '../dbus/bus.ts';
import { as } from '../dbus/values.ts';
import { at, networkManagerError, PROFILE, SETTINGS } from './network-manager.ts';

/** Names of our profiles begin with this, followed by their process. */
export const PROFILE_PREFIX = 'towpath-';

/** A process: its number, and when it was started, because numbers are used again. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since the start of the system. */
  readonly startedAt: number;
}

/** Returns a process that runs; undefined when none has the number. Linux only, as NetworkManager. */
export function runningProcess(pid: number): ProcessId | undefined {
  try {
    // Field 22 of proc(5); the second field, the program's name in parentheses, may contain spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return { pid, startedAt: Number(fields[19]) };
  } catch {
    // It has ended.
    return undefined;
  }
}

/** The name of a profile of a process. */
export function profileName({ pid, startedAt }: ProcessId, ssid: string): string {
  return `${PROFILE_PREFIX}${pid}.${startedAt}-${ssid}`;
}

/** Profiles that were found. */
export interface Leftovers {
  /** Names of the profiles that were removed. */
  readonly removed: readonly string[];
  /** Processes that run and hold a profile, by the path of the profile. */
  readonly inUse: ReadonlyMap<string, ProcessId>;
}

/**
 * Removes the profiles that processes left which have ended (killed, or the machine lost power). Normally
 * NetworkManager does it when their D-Bus connection ends.
 * @throws WakeError `no-network-manager`, `access-denied`, `bus-failed`; the signal's reason
 */
export async function removeLeftovers(
  { bus }: { bus: Bus },
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Leftovers> {
  const { signal } = options;
  const removed: string[] = [];
  const inUse = new Map<string, ProcessId>();
  try {
    const [paths] = await bus.call(SETTINGS, 'ListConnections', '', [], signal);
    for (const path of as.texts(paths)) {
      // A profile may be removed between the two calls, and some may be hidden from this user.
      const [settings] = await bus.call(at(path, PROFILE), 'GetSettings', '', [], signal).catch(() => [{}]);
      signal?.throwIfAborted();
      const name = as.text(as.dictionary(as.dictionary(settings).connection).id) ?? '';
      const owner = ownerOf(name);
      if (owner === undefined) continue;
      if (runningProcess(owner.pid)?.startedAt === owner.startedAt) {
        inUse.set(path, owner);
        continue;
      }
      await bus.call(at(path, PROFILE), 'Delete', '', [], signal);
      removed.push(name);
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    throw networkManagerError(error, 'bus-failed', 'Leftover connection profiles could not be removed');
  }
  return { removed, inUse };
}

function ownerOf(name: string): ProcessId | undefined {
  const match = new RegExp(`^${PROFILE_PREFIX}(\\d{1,10})\\.(\\d{1,20})-`).exec(name);
  return match ? { pid: Number(match[1]), startedAt: Number(match[2]) } : undefined;
}
