import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type ControlStore, NatsStore, SqliteStore } from '@towpath/control/server';
import type { Clock, Log, Random } from '@towpath/core';
import { parseEndpoint } from '@towpath/net/address';
import { UsageError } from '../../cli/failure.ts';
import type { Io } from '../../cli/io.ts';
import { takeProcessLock } from '../../config/process-lock.ts';
import { DATABASE } from './data-folder.ts';
import { readAuthorities } from '../../config/secret-file.ts';

const NATS_PORT = 4222;

export interface StoreOptions {
  nats?: string[];
  natsReplicas?: number;
  natsCa?: string;
}

/**
 * Opens the store of a server: SQLite in its folder, or a NATS cluster. `stack` closes it.
 * @throws ControlError `store-failed`; TowpathError `already-running` when another server uses the folder.
 */
export async function openStore(
  { clock, random, log, io }: { clock: Clock; random: Random; log: Log; io: Io },
  folder: string,
  options: StoreOptions,
  stack: AsyncDisposableStack,
): Promise<ControlStore> {
  if (options.nats === undefined) {
    const [left] = [options.natsReplicas && '--nats-replicas', options.natsCa && '--nats-ca'].filter(Boolean);
    if (left) throw new UsageError(`${left} needs --nats.`);
    stack.use(takeProcessLock(join(folder, 'serve.lock'), { what: `serves from ${folder}` }));
    const path = join(folder, DATABASE);
    // A new server has no file at all: of one with parties, it was cut off.
    const isEmpty = statSync(path, { throwIfNoEntry: false })?.size === 0;
    const store = stack.use(new SqliteStore({ clock }, { path }));
    if (isEmpty) {
      log.warn(
        `The database ${path} is empty: this server begins anew. Next: if it had parties, end it and put a backup in its place; without one, members send what they have verified`,
      );
    }
    return store;
  }
  const replicas = options.natsReplicas ?? (options.nats.length >= 3 ? 3 : 1);
  for (const server of options.nats) {
    const place = server.replace(/^(nats|tls):\/\//, '');
    if (!parseEndpoint(place, NATS_PORT).ok)
      throw new UsageError(`"${server}" is not a NATS server. Expected HOST:PORT.`);
  }
  if (replicas !== 1 && replicas !== 3 && replicas !== 5) throw new UsageError('--nats-replicas must be 1, 3 or 5.');
  const { TOWPATH_NATS_USER: user, TOWPATH_NATS_PASSWORD: password, TOWPATH_NATS_TOKEN: token } = io.env;
  // Compose files pass an empty value for "not set".
  return stack.use(
    await NatsStore.connect(
      { clock, random, log },
      {
        servers: options.nats,
        replicas,
        ...(!user ? {} : { user, password: password ?? '' }),
        ...(!token ? {} : { token }),
        ...(options.natsCa === undefined ? {} : { tls: { ca: readAuthorities(options.natsCa) } }),
      },
    ),
  );
}
