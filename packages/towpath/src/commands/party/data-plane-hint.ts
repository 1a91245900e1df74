import { readFileSync } from 'node:fs';
import { deadline, errorCode } from '@towpath/core';
import type { PartyId } from '@towpath/membership';
import type { Runtime } from '../../cli/runtime.ts';
import { lockOwner } from '../../config/process-lock.ts';
import { askDaemon } from '../../daemon/api/api-client.ts';
import { askStatus } from '../../daemon/api/ask-status.ts';
import { UNIT_NAME } from '../daemon/unit.ts';
import { homeOf } from './party-node.ts';

/** Longer than a daemon needs that can be told from one that hangs; the answer changes one sentence. */
const HEALTH_LIMIT_MS = 2_000;

/**
 * Says what carries packets between members, and whether this version can: a party alone does not.
 * @param hasUp whether this program has the command `towpath up`.
 */
export async function dataPlaneHint(runtime: Runtime, hasUp: boolean): Promise<string> {
  if (!hasUp) return 'This version manages the party only: it does not carry packets between members yet.';
  using limit = deadline(runtime.clock, HEALTH_LIMIT_MS, runtime.signal);
  const runs = await askDaemon({ ...runtime, signal: limit.signal }, 'GET', '/health').then(
    () => true,
    (error: unknown) => errorCode(error) !== 'not-running',
  );
  if (!runs) return 'No packets flow between members yet. Next, on each of them: towpath up';
  const next = restartCommand(runtime);
  return `No packets flow between members yet: towpath up, which runs here, takes the party at its next start. Next: ${next}`;
}

/** Says how a daemon that runs here lets go a party that this node has left; undefined when none holds it. */
export async function heldPartyHint(runtime: Runtime, party: PartyId): Promise<string | undefined> {
  using limit = deadline(runtime.clock, HEALTH_LIMIT_MS, runtime.signal);
  const status = await askStatus({ ...runtime, signal: limit.signal }).catch(() => undefined);
  if (!status?.parties.some(({ id }) => id === party)) return undefined;
  const isAll = status.parties.length === 1 && status.cameras.length === 0;
  const next = isAll && !runsAsService(runtime) ? 'towpath down' : restartCommand(runtime);
  return `towpath up, which runs here, holds the party until it ends. Next: ${next}`;
}

function restartCommand(runtime: Runtime): string {
  return runsAsService(runtime) ? 'systemctl restart towpath' : 'towpath up --replace';
}

function runsAsService(runtime: Runtime): boolean {
  return isService(lockOwner(homeOf(runtime).lockPath));
}

/** Whether systemd runs a process as the service. @param readGroups returns its line of control groups */
export function isService(
  pid: number | undefined,
  readGroups: (pid: number) => string = (of) => readFileSync(`/proc/${of}/cgroup`, 'utf8'),
): boolean {
  if (pid === undefined) return false;
  try {
    return readGroups(pid).split(/[/\n]/).includes(UNIT_NAME);
  } catch {
    // Another system, or it has ended.
    return false;
  }
}
