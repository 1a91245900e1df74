import { deadline, errorCode, TowpathError } from '@towpath/core';
import { Ledger, SystemCommands, trialInterfaceName, type WireGuardBackend, WireGuardInterface } from '@towpath/mesh';
import { z } from 'zod';
import type { Runtime } from '../../cli/runtime.ts';
import { lockOwner } from '../../config/process-lock.ts';
import { askDaemon } from '../../daemon/api/api-client.ts';
import { stateFolderOf } from '../mesh/mesh-node.ts';
import { homeOf } from '../party/party-node.ts';

/** What a daemon leaves to the one that replaces it. */
export interface Inheritance {
  /** UDP ports of the path sockets, by party: what the NATs on the way know of them stays true. */
  readonly pathPorts: Readonly<Record<string, number>>;
  /** A daemon has ended for this one: nobody but this process can hold what it held. */
  readonly isSuccessor: boolean;
}

export const NOTHING: Inheritance = { pathPorts: {}, isSuccessor: false };
/** How long a running `towpath up` may take to remove what it has made; cameras are logged out meanwhile. */
const LIMIT_MS = 15_000;
/** Peers wait for every one of these. */
const POLL_MS = 10;

/** A daemon of an earlier version answers nothing, and ends all the same. */
const answerSchema = z.object({ pathPorts: z.record(z.string(), z.int().min(1).max(65_535)).default({}) });

/**
 * Asks a running daemon to end for this one, and waits until it has. Does nothing when none runs.
 * @param rehearse finds out whether this process could take over; the running daemon goes on when it throws
 * @throws TowpathError `permission-denied`; `already-running` when it does not end in time; what `rehearse` throws.
 */
export async function replaceRunning(runtime: Runtime, rehearse: () => Promise<void>): Promise<Inheritance> {
  const { clock } = runtime;
  const { lockPath } = homeOf(runtime);
  if (lockOwner(lockPath) === undefined) return NOTHING;
  await rehearse();
  // A daemon that hangs, or was stopped, takes the question and never answers.
  using limit = deadline(clock, LIMIT_MS, runtime.signal, () => notEnded(lockPath));
  const { signal } = limit;
  let answer: unknown;
  try {
    answer = await askDaemon({ ...runtime, signal }, 'POST', '/v1/down', { successor: true });
  } catch (error) {
    // It has ended meanwhile.
    if (errorCode(error) === 'not-running') return NOTHING;
    throw error;
  }
  while (lockOwner(lockPath) !== undefined) await clock.sleep(POLL_MS, signal);
  return { pathPorts: {}, ...answerSchema.safeParse(answer).data, isSuccessor: true };
}

function notEnded(lockPath: string): TowpathError {
  return new TowpathError(
    'already-running',
    `towpath up (process ${lockOwner(lockPath) ?? 'unknown'}) was asked to end and has not. Next: towpath down, then towpath up.`,
    { target: lockPath },
  );
}

/**
 * Makes a WireGuard interface as a party would, and removes it. Peers are not disturbed.
 * @throws MeshError `permission-denied`, `program-missing`, `wireguard-failed`, `platform-unsupported`, `disk-failed`.
 */
export async function rehearseInterface(
  runtime: Runtime,
  backends: Iterable<WireGuardBackend | 'auto'>,
): Promise<void> {
  const { clock, random, log, signal } = runtime;
  for (const backend of new Set(backends)) {
    const name = trialInterfaceName(random);
    const commands = new SystemCommands();
    await using ledger = await Ledger.open({ commands, log }, { folder: stateFolderOf(runtime), name });
    await WireGuardInterface.rehearse({ commands, ledger, clock, random, log }, { name, backend, signal });
  }
}
