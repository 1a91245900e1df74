import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createSetupCode, SqliteStore } from '@towpath/control/server';
import { TowpathError } from '@towpath/core';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { openStore, type StoreOptions } from './open-store.ts';
import { DATABASE, dataFolder } from './data-folder.ts';
import { jsonLine } from '../../cli/json-output.ts';

/** Prints a new setup code of a server. */
export async function setupCode(
  runtime: Runtime,
  options: CommonOptions & StoreOptions & { data?: string },
): Promise<void> {
  const { io, clock, random, log } = runtime;
  const folder = dataFolder(runtime, options.data);
  await using stack = new AsyncDisposableStack();
  const path = join(folder, DATABASE);
  if (options.nats === undefined && !existsSync(path)) {
    throw new TowpathError('file-unreadable', `The database ${path} does not exist. Next: give --data as for serve.`);
  }
  const store =
    options.nats === undefined
      ? stack.use(new SqliteStore({ clock }, { path }))
      : await openStore({ clock, random, log, io }, folder, options, stack);
  const code = await createSetupCode({ store, random });
  io.out(options.json ? jsonLine('setup-code', { code }) : code);
}
