import { deadlineInterval, TowpathError } from '@towpath/core';
import { type EventBatch, eventBatchSchema } from '@towpath/dashboard/api';
import { WebSocket } from 'ws';
import type { Runtime } from '../../cli/runtime.ts';
import { notAnswering, notRunning } from './api-client.ts';
import { apiSocketPath } from './socket-path.ts';

/** A daemon that hangs, or was stopped, keeps the connection and sends nothing: it is asked this often. */
const PING_MS = 15_000;

/**
 * Hands every batch of events of a running daemon to `onBatch`, until the signal aborts, which ends it without an error.
 * @throws TowpathError `not-running`, `session-closed` when the daemon ends,
 * `not-answering` when it hangs.
 */
export async function followEvents(
  { configFolder, signal, clock }: Pick<Runtime, 'configFolder' | 'signal' | 'clock'>,
  onBatch: (batch: EventBatch) => void,
): Promise<void> {
  const socket = new WebSocket(`ws+unix://${apiSocketPath(configFolder)}:/v1/events`);
  const onAbort = () => socket.close();
  signal.addEventListener('abort', onAbort, { once: true });
  let answered = false;
  const heard = () => {
    answered = true;
  };
  for (const event of ['open', 'message', 'pong']) socket.on(event, heard);
  const failed = Promise.withResolvers<never>();
  using _pinging = deadlineInterval({
    clock,
    intervalMs: PING_MS,
    onTick: () => {
      if (!answered) failed.reject(notAnswering(configFolder, PING_MS));
      answered = false;
      if (socket.readyState === WebSocket.OPEN) socket.ping();
    },
  });
  try {
    const ended = new Promise<void>((resolve, reject) => {
      socket.on('message', (data) => onBatch(eventBatchSchema.parse(JSON.parse(String(data)))));
      socket.once('error', (cause) => reject(notRunning(cause)));
      socket.once('close', () =>
        signal.aborted ? resolve() : reject(new TowpathError('session-closed', 'towpath up has ended.')),
      );
    });
    await Promise.race([ended, failed.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.terminate();
  }
}
