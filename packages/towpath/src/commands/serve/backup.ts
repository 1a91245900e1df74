import { existsSync } from 'node:fs';
import { SqliteStore } from '@towpath/control/server';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { existingDatabase } from './data-folder.ts';
import { jsonLine } from '../../cli/json-output.ts';

/** Writes a consistent copy of a server's database, with mode 0600. */
export async function backup(
  runtime: Runtime,
  file: string,
  options: CommonOptions & { data?: string },
): Promise<void> {
  const { io, clock } = runtime;
  const path = existingDatabase(runtime, options.data);
  if (existsSync(file))
    throw new UsageError(`${file} exists; a backup does not overwrite files. Next: name a new file.`);
  await using store = new SqliteStore({ clock }, { path });
  await store.backup(file);
  io.out(options.json ? jsonLine('backup', { from: path, file }) : `${path} copied to ${file}`);
}
