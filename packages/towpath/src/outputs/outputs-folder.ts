import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { topicId } from '@towpath/camera/outputs';
import { errorCode } from '@towpath/core';
import type { Runtime } from '../cli/runtime.ts';
import { takeProcessLock } from '../config/process-lock.ts';

type Folders = Pick<Runtime, 'configFolder'>;

/** Where the events of one camera wait, and which of its pictures were told of. */
export function outputsFolder({ configFolder }: Folders, deviceId: string): string {
  return join(configFolder, 'outputs', topicId(deviceId));
}

/**
 * Takes the outputs of a device: two programs that keep what waits for its receivers would each remove what the other one
 * stores.
 * @throws TowpathError `already-running`, `disk-full`, `disk-failed`
 */
export function lockOutputs(runtime: Folders, deviceId: string): Disposable {
  return takeProcessLock(
    `${outputsFolder(runtime, deviceId)}.lock`,
    {
      what: `hands on what the camera ${deviceId} takes`,
      next: 'end it first; towpath status shows whether it is towpath up, whose configuration can name outputs too',
    },
    { onFullDisk: true },
  );
}

/** `webhook-0123456789abcdef`. */
const RECEIVER_NAME = /^(?:mqtt|webhook|exec|export)-[0-9a-f]{16}$/;

/** Drops what waits for the receivers of a camera, unless its outputs are open. @throws TowpathError; the system's error */
export async function dropWaiting(runtime: Folders, deviceId: string): Promise<void> {
  using _lock = lockOutputs(runtime, deviceId);
  await dropOthersThan(runtime, deviceId, new Set());
}

/**
 * Drops what waits for other receivers than these. For who has the outputs of the device.
 * @param kept names of folders @throws the system's error
 */
export async function dropOthersThan(runtime: Folders, deviceId: string, kept: ReadonlySet<string>): Promise<void> {
  const folder = outputsFolder(runtime, deviceId);
  for (const name of await namesIn(folder))
    if (RECEIVER_NAME.test(name) && !kept.has(name)) await rm(join(folder, name), { recursive: true, force: true });
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}
