import { chownSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errorCode, replaceFile, TowpathError } from '@towpath/core';
import { type Commands, SystemCommands } from '@towpath/mesh';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { StateFolder } from '../../daemon/state/state-folder.ts';
import { SERVICE_USER, UNIT_NAME, unitText } from './unit.ts';
import { printJson } from '../../cli/json-output.ts';

interface InstallOptions extends CommonOptions {
  camerasOnly?: boolean;
  print?: boolean;
}

/** Overridden by tests. */
export interface ServicePlace {
  /** @default /etc/systemd/system, or TOWPATH_UNIT_FOLDER */
  readonly folder?: string;
  /** @default the programs of this machine */
  readonly commands?: Commands;
}

/** Writes the unit, and enables and starts it. @throws TowpathError `permission-denied`, `program-missing`, `command-failed`. */
export async function install(runtime: Runtime, options: InstallOptions, place: ServicePlace = {}): Promise<void> {
  const { io, clock } = runtime;
  const camerasOnly = options.camerasOnly ?? false;
  const stateFolder = resolve(runtime.configFolder);
  const text = unitText({ program: programWords(), stateFolder, camerasOnly });
  if (options.print) {
    if (options.json) printJson(io, 'service-unit', { name: UNIT_NAME, text });
    else for (const line of text.trimEnd().split('\n')) io.out(line);
    return;
  }
  const commands = place.commands ?? new SystemCommands();
  const path = join(unitFolder(runtime, place), UNIT_NAME);
  StateFolder.open(stateFolder, { nowMs: clock.wallTime() });
  if (camerasOnly) await giveToUser(commands, stateFolder);
  writeUnit(path, text);
  await systemctl(commands, 'daemon-reload');
  await systemctl(commands, 'enable', '--now', UNIT_NAME);
  if (options.json) printJson(io, 'service-installed', { path, stateFolder });
  else io.out(`${path} is written, enabled and started. Next: towpath status; to remove it: towpath service uninstall`);
}

/** Stops, disables and removes the unit. */
export async function uninstall(runtime: Runtime, { json }: CommonOptions, place: ServicePlace = {}): Promise<void> {
  const { io } = runtime;
  const commands = place.commands ?? new SystemCommands();
  const path = join(unitFolder(runtime, place), UNIT_NAME);
  const was = existsSync(path);
  if (was) {
    await systemctl(commands, 'disable', '--now', UNIT_NAME);
    try {
      rmSync(path);
    } catch (cause) {
      throw unwritable(path, cause);
    }
    await systemctl(commands, 'daemon-reload');
  }
  if (json) printJson(io, 'service-removed', { path, was });
  else if (was) io.out(`${path} is removed. Keys, configuration and pictures are still in ${runtime.configFolder}`);
  else io.out('The service is not installed.');
}

function unitFolder({ io }: Runtime, { folder }: ServicePlace): string {
  return folder ?? io.env.TOWPATH_UNIT_FOLDER ?? '/etc/systemd/system';
}

/** How this very process was started. */
function programWords(): [node: string, script: string] {
  return [process.execPath, resolve(process.argv[1] ?? 'towpath')];
}

function writeUnit(path: string, text: string): void {
  const next = `${path}.new`;
  try {
    mkdirSync(join(path, '..'), { recursive: true });
    replaceFile(path, text, { next, mode: 0o644 });
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): TowpathError {
  const code = errorCode(cause);
  const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
  return new TowpathError(
    denied ? 'permission-denied' : 'disk-failed',
    `${path} cannot be changed (${code}).${denied ? ' Next: use sudo.' : ''}`,
    { target: path, cause, kind: 'local' },
  );
}

/** Creates the service's user if it is missing, and gives it the state. */
async function giveToUser(commands: Commands, folder: string): Promise<void> {
  if ((await commands.run('id', ['-u', SERVICE_USER])).code !== 0) {
    await checked(commands, 'useradd', [
      '--system',
      '--home-dir',
      folder,
      '--shell',
      '/usr/sbin/nologin',
      SERVICE_USER,
    ]);
  }
  const [uid, gid] = [await idOf(commands, '-u'), await idOf(commands, '-g')];
  chownSync(folder, uid, gid);
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) chownSync(join(entry.parentPath, entry.name), uid, gid);
  }
}

async function idOf(commands: Commands, flag: string): Promise<number> {
  return Number((await checked(commands, 'id', [flag, SERVICE_USER])).trim());
}

async function systemctl(commands: Commands, ...args: string[]): Promise<void> {
  await checked(commands, 'systemctl', args);
}

async function checked(commands: Commands, program: string, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await commands.run(program, args);
  if (code === 0) return stdout;
  throw new TowpathError('command-failed', `${program} ${args.join(' ')} ended with ${code}: ${stderr.trim()}`, {
    kind: 'local',
  });
}
