import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ControlStore, NatsStore, SqliteStore } from '@towpath/control';
import { type Clock, errorCode, type Log, type Random, TowpathError } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { Io } from '../../cli/io.ts';
import { takeProcessLock } from '../../config/process-lock.ts';
import { DATABASE } from './data-folder.ts';

export interface StoreOptions {
  nats?: string[];
  natsReplicas?: number;
  natsCa?: string;
}

/**
 * The store that a server works on: SQLite in its folder, or a NATS cluster. Both end with `stack`.
 * @throws ControlError `store-failed`; TowpathError `already-running` when another server uses the folder.
 */
export async function openStore(
  { clock, random, log, io }: { clock: Clock; random: Random; log: Log; io: Io },
  folder: string,
  options: StoreOptions,
  stack: AsyncDisposableStack,
): Promise<ControlStore> {
  if (options.nats === undefined) {
    stack.use(takeProcessLock(join(folder, 'serve.lock'), `serves from ${folder}`));
    return stack.use(new SqliteStore({ clock }, { path: join(folder, DATABASE) }));
  }
  const replicas = options.natsReplicas ?? (options.nats.length >= 3 ? 3 : 1);
  if (replicas !== 1 && replicas !== 3 && replicas !== 5) throw new UsageError('--nats-replicas takes 1, 3 or 5.');
  const { TOWPATH_NATS_USER: user, TOWPATH_NATS_PASSWORD: password, TOWPATH_NATS_TOKEN: token } = io.env;
  // Empty is how compose files say "not set".
  return stack.use(
    await NatsStore.connect(
      { clock, random, log },
      {
        servers: options.nats,
        replicas,
        ...(!user ? {} : { user, password: password ?? '' }),
        ...(!token ? {} : { token }),
        ...(options.natsCa === undefined ? {} : { tls: { ca: readText(options.natsCa) } }),
      },
    ),
  );
}

/** @throws TowpathError `file-unreadable`. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new TowpathError('file-unreadable', `${file} cannot be read (${errorCode(cause)}).`, { target: file, cause });
  }
}
