import { mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, readFailure, readRegularSync, replaceFile, writeFailure } from '@towpath/core';
import { MeshError } from '../mesh-error.ts';
import { type Artifact, decodeArtifact } from './artifact.ts';
import { currentBootId, type ProcessIdentity } from './process-identity.ts';

/** What one process has made, and which process that is. */
export interface StateRecord {
  readonly owner: ProcessIdentity;
  readonly artifacts: readonly Artifact[];
}

const MAX_STATE_BYTES = 1024 * 1024;

/** The record in a state file; undefined when there is none. @throws MeshError `disk-failed`. */
export function readStateFile(path: string): StateRecord | undefined {
  let text: string;
  try {
    text = readRegularSync(path).toString();
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw new MeshError('disk-failed', readFailure(path, cause).message, { target: path, cause });
  }
  const record = decodeStateRecord(text);
  if (record !== undefined) return record;
  throw new MeshError('disk-failed', `${path} is damaged. Next: remove it after "ip link" shows no tp- interface.`, {
    target: path,
  });
}

/** Reads a record; entries of an unknown form are left out, `undefined` when the whole is none. Never throws. */
export function decodeStateRecord(text: string): StateRecord | undefined {
  if (text.length > MAX_STATE_BYTES) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Not JSON: damaged.
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const pid: unknown = Reflect.get(value, 'pid');
  const startTicks: unknown = Reflect.get(value, 'startTicks');
  const bootId: unknown = Reflect.get(value, 'bootId');
  const artifacts: unknown = Reflect.get(value, 'artifacts');
  if (typeof pid !== 'number' || typeof startTicks !== 'string' || typeof bootId !== 'string') return undefined;
  if (!Number.isInteger(pid) || !Array.isArray(artifacts)) return undefined;
  const known = artifacts.map(decodeArtifact).filter((artifact) => artifact !== undefined);
  return { owner: { pid, startTicks, bootId }, artifacts: known };
}

/** Where the next version is written. Whoever holds the lock is the only writer, so a fixed name leaves no second file. */
function nextPath(path: string): string {
  return `${path}.new`;
}

/**
 * Replaces a state file as a whole and waits until it is on the disk: what is made afterwards is then found after a
 * crash of the process or of the machine.
 * @throws MeshError `disk-failed`.
 */
export function writeStateFile(path: string, record: StateRecord): void {
  const content = `${JSON.stringify({ ...record.owner, artifacts: record.artifacts }, null, 1)}\n`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    replaceFile(path, content, { next: nextPath(path), mode: 0o600 });
  } catch (cause) {
    throw new MeshError('disk-failed', writeFailure(path, cause).message, { target: path, cause });
  }
}

/** Removes a state file, and what a process that was killed while it wrote has left of its next version. */
export function removeStateFile(path: string): void {
  rmSync(nextPath(path), { force: true });
  rmSync(path, { force: true });
}

/** True when a record was written since the machine booted: kernel state of an earlier boot is gone by itself. */
export function isOfThisBoot(record: StateRecord): boolean {
  return record.owner.bootId === currentBootId();
}
