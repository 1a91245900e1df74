/** One process of `towpath relay serve --workers N`, started and controlled by `workers.ts`. */
import { errorCode, errorMessage, SystemClock, SystemRandom, silentLog } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { endOnUncaughtError } from '../../cli/crash.ts';
import { processIo } from '../../cli/io.ts';
import { terminalLog } from '../../cli/log.ts';
import type { RelayPlan } from './plan.ts';
import { RelayNode } from './relay-node.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';

endOnUncaughtError();

const METRICS_EVERY_MS = 1_000;

const clock = new SystemClock();
const over = new AbortController();
const end = () => over.abort();

const tell = (message: FromWorker) => {
  // A parent that ended is also reported by `disconnect`, which ends this process.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
};

async function serve(plan: RelayPlan, verbose: boolean): Promise<void> {
  const log = verbose ? terminalLog(processIo(), clock).child('WORKER', { pid: process.pid }) : silentLog;
  await using node = await RelayNode.open({ network: new NodeNetwork(), clock, random: new SystemRandom(), log }, plan);
  tell({ type: 'metrics', metrics: node.metrics });
  tell({ type: 'listening', listening: node.listening, dataPlane: node.dataPlane });
  while (!over.signal.aborted) {
    // The wait ends by an abort.
    await clock.sleep(METRICS_EVERY_MS, over.signal).catch(() => undefined);
    tell({ type: 'metrics', metrics: node.metrics });
  }
}

process.on('message', (message: ToWorker) => {
  if (message.type === 'close') {
    end();
    return;
  }
  serve(message.plan, message.verbose)
    .catch((error: unknown) => tell({ type: 'failed', code: errorCode(error), message: errorMessage(error) }))
    .finally(() => {
      if (process.connected) process.disconnect();
    });
});
process.on('disconnect', end);
process.on('SIGTERM', end);
// Ctrl-C reaches every process of the terminal; the first process decides when to end.
process.on('SIGINT', () => {});
