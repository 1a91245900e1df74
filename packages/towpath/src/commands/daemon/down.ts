import { deadline, errorCode, silentLog, TowpathError } from '@towpath/core';
import { listLedgers, recoverLeftovers, SystemCommands } from '@towpath/mesh';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { askDaemon } from '../../daemon/api/api-client.ts';
import { askStatus } from '../../daemon/api/ask-status.ts';
import { homeOf } from '../party/party-node.ts';
import { stateFolderOf } from '../mesh/mesh-node.ts';
import { lockOwner } from '../../config/process-lock.ts';
import { printJson } from '../../cli/json-output.ts';

/** How long a running `towpath up` may take to remove what it has made. */
const LIMIT_MS = 15_000;
const POLL_MS = 50;

/**
 * Ends a running `towpath up`, and removes what a killed one left behind.
 * @throws TowpathError `not-running` when there was neither, `still-running` when it does not end in time
 */
export async function down(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io, clock, signal } = runtime;
  const folder = stateFolderOf(runtime);
  const { lockPath } = homeOf(runtime);
  const owner = lockOwner(lockPath);
  const ended = await endDaemon(runtime, owner);
  const untilMs = clock.now() + LIMIT_MS;
  const runs = () => owner !== undefined && lockOwner(lockPath) === owner;
  const isLeft = () => runs() || listLedgers(folder).some(({ alive }) => alive);
  while (ended !== undefined && clock.now() < untilMs && isLeft()) await clock.sleep(POLL_MS, signal);
  if (ended !== undefined && owner !== undefined && runs()) throw stillRunning(owner);
  const components = { commands: new SystemCommands(), log: runtime.log ?? silentLog };
  const { cleared, failed } = await recoverLeftovers(components, folder);
  if (ended === undefined && cleared.length + failed.length === 0) throw nothingRuns();
  if (json) printJson(io, 'down', { ended: ended ?? null, cleared, failed });
  else if (ended !== undefined) io.out(described(ended));
  if (!json && cleared.length > 0) io.out(`Removed what a killed process left behind: ${cleared.join(', ')}.`);
  for (const { name, message } of failed) io.err(`${name} could not be removed: ${message}`);
}

function nothingRuns(): TowpathError {
  const text = 'Nothing to end: towpath up is not running, and it has left nothing behind';
  const next = 'towpath doctor, if something of it still seems to be on this machine';
  return new TowpathError('not-running', `${text}. Next: ${next}.`, { kind: 'local' });
}

function stillRunning(owner: number | undefined): TowpathError {
  const limit = `${LIMIT_MS / 1_000} s`;
  return new TowpathError(
    'still-running',
    `towpath up (process ${owner ?? 'unknown'}) was told to end and has not ended within ${limit}. Next: see towpath logs, or kill -9 ${owner ?? 'it'}.`,
    { kind: 'local' },
  );
}

interface Ended {
  readonly parties: string[];
  readonly cameras: string[];
}

function described({ parties, cameras }: Ended): string {
  const party = parties.length > 0 ? `${parties.join(', ')} is down.` : 'towpath up has ended.';
  return cameras.length > 0 ? `${party} Cameras no longer held: ${cameras.join(', ')}.` : party;
}

/** @returns the names of what it held; undefined when it does not run */
async function endDaemon(runtime: Runtime, owner: number | undefined): Promise<Ended | undefined> {
  // A daemon that hangs, or was stopped, takes the question and never answers.
  using limit = deadline(runtime.clock, LIMIT_MS, runtime.signal, () => stillRunning(owner));
  const asking = { ...runtime, signal: limit.signal };
  try {
    const { parties, cameras } = await askStatus(asking).catch((error: unknown) => {
      // Of another version: it is ended all the same.
      if (errorCode(error) !== 'bad-answer') throw error;
      return { parties: [], cameras: [] };
    });
    await askDaemon(asking, 'POST', '/v1/down');
    return { parties: parties.map(({ name }) => name), cameras: cameras.map(({ name }) => name) };
  } catch (error) {
    if (errorCode(error) === 'not-running') return undefined;
    throw error;
  }
}
