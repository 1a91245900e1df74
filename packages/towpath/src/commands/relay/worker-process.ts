/** One of the processes of `towpath relay serve --workers N`, started by `workers.ts` and told what to do by messages. */
import { errorCode, errorMessage, SystemClock, SystemRandom, silentLog } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { processIo } from '../../cli/io.ts';
import { terminalLog } from '../../cli/log.ts';
import type { RelayPlan } from './plan.ts';
import { RelayNode } from './relay-node.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';

const METRICS_EVERY_MS = 1_000;

const clock = new SystemClock();
const over = new AbortController();
const end = () => over.abort();

const tell = (message: FromWorker) => {
  // That nobody is there any more is also said by `disconnect`, which ends this process.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
};

async function serve(plan: RelayPlan, verbose: boolean): Promise<void> {
  const log = verbose ? terminalLog(processIo(), clock).child('WORKER', { pid: process.pid }) : silentLog;
  await using node = await RelayNode.open({ network: new NodeNetwork(), clock, random: new SystemRandom(), log }, plan);
  tell({ type: 'metrics', metrics: node.metrics });
  tell({ type: 'listening', listening: node.listening });
  while (!over.signal.aborted) {
    // Aborted is how this ends.
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
// Ctrl-C goes to every process of the terminal; the first one says when to end.
process.on('SIGINT', () => {});
