import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { errorMessage } from '@towpath/core';

/** Why a command did not do its work, for people and for programs. */
export interface RunFailure {
  readonly message: string;
  readonly fields: { readonly code?: number | null; readonly signal?: string | null };
}

/**
 * Runs a command of the user for a file, whose path is its last argument, which no shell interprets.
 * @returns undefined when it has ended with 0
 * @throws the signal's reason; the command is ended
 */
export async function runForPicture(
  command: string,
  path: string,
  signal: AbortSignal,
): Promise<RunFailure | undefined> {
  const child = spawn('/bin/sh', ['-c', `${command} "$1"`, 'towpath', path], {
    stdio: ['ignore', 'ignore', 'inherit'],
    signal,
  });
  try {
    const [code, killedBy] = (await once(child, 'exit')) as [number | null, string | null];
    if (code === 0) return undefined;
    const message = `${command} ended with ${code ?? killedBy} for ${path}`;
    return { message, fields: { code, signal: killedBy } };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    return { message: `${command} could not be run: ${errorMessage(error)}`, fields: {} };
  }
}
