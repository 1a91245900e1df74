import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { errorCode, type Log } from '@towpath/core';
import { removeHostsBlock } from '../names/hosts-file.ts';
import { type Commands, commandFailure } from '../wireguard/command.ts';
import { uapiSocketPath } from '../wireguard/uapi-control.ts';
import type { Artifact } from './artifact.ts';

export interface UndoComponents {
  commands: Commands;
  log: Log;
}

/**
 * Removes an artifact; does nothing when it is not there (any more).
 * @param thisBoot false when the machine has booted since: then only what lies on the disk is removed.
 * @throws MeshError when it is there and cannot be removed.
 */
export async function undoArtifact(components: UndoComponents, artifact: Artifact, thisBoot: boolean): Promise<void> {
  const { commands, log } = components;
  log.debug('Removing what was made.', { ...artifact });
  switch (artifact.kind) {
    case 'interface':
      if (thisBoot) await removeInterface(commands, artifact.name);
      break;
    case 'hosts-block':
      removeHostsBlock(artifact.path, artifact.marker);
      break;
    case 'sysctl':
      if (thisBoot) await quietly(commands, 'sysctl', ['-qw', `${artifact.key}=${artifact.previous}`], /cannot stat/);
      break;
    case 'nft-table':
      if (thisBoot) await quietly(commands, 'nft', ['delete', 'table', artifact.family, artifact.name], /No such file/);
      break;
    default:
      artifact satisfies never;
  }
}

/** Removes a WireGuard interface of ours, and the wireguard-go that serves it. */
export async function removeInterface(commands: Commands, name: string): Promise<void> {
  // wireguard-go that was started a moment ago may not have made its interface yet: it is ended first.
  for (const pid of servers(name)) endProcess(pid);
  // The interface of a wireguard-go that was ended goes by itself, also between the two questions of one `ip`.
  await quietly(commands, 'ip', ['link', 'delete', 'dev', name], /Cannot find device|No such device/);
  rmSync(uapiSocketPath(name), { force: true });
}

/** The processes that run exactly `wireguard-go -f NAME`. */
function servers(name: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      const [program = '', ...args] = commandLineOf(pid);
      return program.split('/').at(-1) === 'wireguard-go' && args.length === 2 && args[0] === '-f' && args[1] === name;
    });
}

function commandLineOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    // It has ended since the folder was read.
    return [];
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

/** Runs a program that may fail with `absent` when there is nothing to remove. */
async function quietly(commands: Commands, program: string, args: readonly string[], absent: RegExp): Promise<void> {
  const { code, stderr } = await commands.run(program, args);
  if (code !== 0 && !absent.test(stderr)) throw commandFailure(program, args, stderr);
}
