import { TowpathError } from '@towpath/core';
import { type EventBatch, eventBatchSchema } from '@towpath/dashboard/api';
import { WebSocket } from 'ws';
import type { Runtime } from '../../cli/runtime.ts';
import { notRunning } from './api-client.ts';
import { apiSocketPath } from './socket-path.ts';

/**
 * Hands every batch of events of a running daemon to `onBatch`, until the signal aborts, which ends it without an error.
 * @throws TowpathError `not-running`, `session-closed` when the daemon ends.
 */
export async function followEvents(
  { configFolder, signal }: Pick<Runtime, 'configFolder' | 'signal'>,
  onBatch: (batch: EventBatch) => void,
): Promise<void> {
  const socket = new WebSocket(`ws+unix://${apiSocketPath(configFolder)}:/v1/events`);
  const onAbort = () => socket.close();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.on('message', (data) => onBatch(eventBatchSchema.parse(JSON.parse(String(data)))));
      socket.once('error', (cause) => reject(notRunning(cause)));
      socket.once('close', () =>
        signal.aborted ? resolve() : reject(new TowpathError('session-closed', 'towpath up has ended.')),
      );
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.terminate();
  }
}
