import { chmodSync, chownSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { errorCode, readRegularSync } from '@towpath/core';
import { isIpAddress } from '@towpath/net';
import { MeshError } from '../mesh-error.ts';

/** The hosts file of this system. */
export const HOSTS_PATH = '/etc/hosts';

/** One line of our block. */
export interface HostsEntry {
  readonly address: string;
  /** `alice.party`; see {@link hostNameFor}. */
  readonly name: string;
}

const MAX_HOSTS_BYTES = 8 * 1024 * 1024;

function begin(marker: string): string {
  return `# BEGIN towpath ${marker}`;
}

function end(marker: string): string {
  return `# END towpath ${marker}`;
}

/**
 * Returns the text of a hosts file with our block replaced, or without it when there are no entries. Every other
 * line stays as it is, byte for byte. A block without an end (cut off by somebody's editor) ends at the last line
 * that looks like one of ours.
 */
export function withHostsBlock(text: string, marker: string, entries: readonly HostsEntry[]): string {
  const kept = withoutBlock(text, marker);
  if (entries.length === 0) return kept;
  const lines = entries
    .filter(({ address, name }) => isIpAddress(address) && HOST_NAME.test(name))
    .map(({ address, name }) => `${address}\t${name}`);
  const gap = kept === '' || kept.endsWith('\n') ? '' : '\n';
  return `${kept}${gap}${[begin(marker), ...lines, end(marker)].join('\n')}\n`;
}

const HOST_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
const OUR_LINE = /^[0-9a-f.:]+\t[a-z0-9.-]+$/;

function withoutBlock(text: string, marker: string): string {
  const lines = text.split('\n');
  const kept: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    if (lines[at] !== begin(marker)) {
      kept.push(lines[at]!);
      continue;
    }
    while (at + 1 < lines.length && OUR_LINE.test(lines[at + 1]!)) at++;
    if (lines[at + 1] === end(marker)) at++;
  }
  return kept.join('\n');
}

/**
 * Writes our block into a hosts file, atomically: readers see the old file or the new one, never a part. Owner and
 * mode are kept.
 * @throws MeshError `disk-failed`.
 */
export function writeHostsBlock(path: string, marker: string, entries: readonly HostsEntry[]): void {
  try {
    const { mode, uid, gid, size } = statSync(path, { throwIfNoEntry: false }) ?? NEW_FILE;
    if (size > MAX_HOSTS_BYTES) throw new MeshError('disk-failed', `${path} is larger than 8 MiB; not changed.`);
    const text = readOrEmpty(path);
    const changed = withHostsBlock(text, marker, entries);
    if (changed === text) return;
    replaceHosts(path, draftPath(path, marker), changed, { mode, uid, gid });
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw new MeshError('disk-failed', `${path} cannot be changed (${errorCode(cause)}).`, { target: path, cause });
  }
}

const NEW_FILE = { mode: 0o644, uid: 0, gid: 0, size: 0 };

/** Removes our block, and a draft that a killed process left. @throws MeshError `disk-failed`. */
export function removeHostsBlock(path: string, marker: string): void {
  rmSync(draftPath(path, marker), { force: true });
  writeHostsBlock(path, marker, []);
}

/** Beside the file, so that it can be renamed; found again by its name after a crash. */
function draftPath(path: string, marker: string): string {
  return `${path}.towpath-${marker}`;
}

function replaceHosts(
  path: string,
  next: string,
  text: string,
  owner: { mode: number; uid: number; gid: number },
): void {
  writeFileSync(next, text, { mode: owner.mode & 0o777 });
  try {
    chmodSync(next, owner.mode & 0o777);
    chownSync(next, owner.uid, owner.gid);
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    // In containers the hosts file is mounted over and cannot be renamed onto: it is written in place.
    if (errorCode(error) !== 'EBUSY' && errorCode(error) !== 'EXDEV') throw error;
    writeFileSync(path, text);
  }
}

function readOrEmpty(path: string): string {
  try {
    return readRegularSync(path).toString();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return '';
    throw error;
  }
}
