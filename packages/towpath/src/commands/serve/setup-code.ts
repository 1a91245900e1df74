import { createSetupCode, SqliteStore } from '@towpath/control/server';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { openStore, type StoreOptions } from './open-store.ts';
import { dataFolder, existingDatabase } from './data-folder.ts';
import { jsonLine } from '../../cli/json-output.ts';

/** Prints a new setup code of a server. */
export async function setupCode(
  runtime: Runtime,
  options: CommonOptions & StoreOptions & { data?: string },
): Promise<void> {
  const { io, clock, random, log } = runtime;
  await using stack = new AsyncDisposableStack();
  const store =
    options.nats === undefined
      ? stack.use(new SqliteStore({ clock }, { path: existingDatabase(runtime, options.data) }))
      : await openStore({ clock, random, log, io }, dataFolder(runtime, options.data), options, stack);
  const code = await createSetupCode({ store, random });
  io.out(options.json ? jsonLine('setup-code', { code }) : code);
}
