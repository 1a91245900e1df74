/** One measurement of the control plane or of its baseline, in a fresh process. */
import { connections, joins, signalling, sync } from '../../packages/control/test/load/measure.ts';
import { makeParty } from '../../packages/control/test/load/swarm.ts';
import { bareConnections, bareEcho, bareInserts, bareVerification } from '../support/bare-control.ts';
import { parentLeft, tell, workerTask } from '../support/worker.ts';

export interface ControlLoadTask {
  measure: keyof ControlLoadResults;
  /** Nodes, joins or members. */
  count: number;
  settleMs: number;
  perSecond: number;
  forSeconds: number;
  /** Two servers that share this NATS server, instead of one. */
  nats?: string | undefined;
}

/** Its message at the end. */
export interface ControlLoadResults {
  connections: { nodes: number; seconds: number; residentKb: number; heapKb: number };
  bareConnections: { perSecond: number; residentKb: number; heapKb: number };
  signalling: { connected: number; sent: number; arrived: number; p50Ms: number; p99Ms: number };
  bareEcho: { p50Ms: number; p99Ms: number };
  joins: { joins: number; perSecond: number; p50Ms: number; p99Ms: number };
  bareInserts: { perSecond: number };
  sync: { uncheckedMs: number; oneThreadMs: number; checkpointMs: number };
  bareVerification: { ms: number; signatures: number };
}

const measurements: { [K in keyof ControlLoadResults]: (task: ControlLoadTask) => Promise<ControlLoadResults[K]> } = {
  connections: ({ count, settleMs }) => connections(count, settleMs),
  bareConnections: ({ count, settleMs }) => bareConnections(count, settleMs),
  signalling: ({ count, perSecond, forSeconds, settleMs }) => signalling(count, perSecond, forSeconds, settleMs),
  bareEcho: ({ count, perSecond, forSeconds, settleMs }) => bareEcho(count, perSecond, forSeconds, settleMs),
  joins: ({ count }) => joins(count),
  bareInserts: async ({ count }) => ({ perSecond: bareInserts(count) }),
  sync: ({ count }) => sync(count),
  bareVerification: async ({ count }) => {
    const signatures = makeParty(count).statements.reduce((sum, statement) => sum + statement.signatures.length, 0);
    return { ms: bareVerification(signatures), signatures };
  },
};

const task = workerTask<ControlLoadTask>();
if (task.nats !== undefined) process.env.TOWPATH_NATS = task.nats;
tell(await measurements[task.measure](task));
await parentLeft();
