import type { PlaneReport } from '../../serve/kernel-plane.ts';
import type { RelayPlan } from './plan.ts';
import type { Listening, RelayMetrics } from './relay-node.ts';

/** Messages from the first process to a worker. Workers end when the first process ends. */
export type ToWorker = { type: 'open'; plan: RelayPlan; verbose: boolean } | { type: 'close' };

/** Messages from a worker. */
export type FromWorker =
  | { type: 'listening'; listening: readonly Listening[]; dataPlane: PlaneReport }
  | { type: 'metrics'; metrics: RelayMetrics }
  | { type: 'failed'; code: string; message: string };
