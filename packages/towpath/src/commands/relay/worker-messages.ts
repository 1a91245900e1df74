import type { RelayPlan } from './plan.ts';
import type { Listening, RelayMetrics } from './relay-node.ts';

/** What the first process tells a worker; when it goes away, workers end. */
export type ToWorker = { type: 'open'; plan: RelayPlan; verbose: boolean } | { type: 'close' };

/** What a worker tells. */
export type FromWorker =
  | { type: 'listening'; listening: readonly Listening[] }
  | { type: 'metrics'; metrics: RelayMetrics }
  | { type: 'failed'; code: string; message: string };
