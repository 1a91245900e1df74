import { z } from 'zod';
import { type Camera, cameraSchema } from './cameras.ts';
import { instant, type Problem, problemSchema } from './common.ts';
import { type Party, partySchema } from './parties.ts';
import { type Peer, peerSchema } from './peers.ts';

/** `GET /v1/status`: everything that an overview shows. */
export interface DaemonStatus {
  version: 1;
  /** Of the program, `0.1.0`. */
  program: string;
  /** Of this process. */
  run: string;
  /** Number of the last event that it includes. */
  sequence: number;
  host: string;
  startedAt: string;
  parties: (Party & { peers: Peer[] })[];
  cameras: Camera[];
  /** What needs attention: a full disk, a party that did not start. */
  problems: Problem[];
}
export const daemonStatusSchema: z.ZodType<DaemonStatus> = z.object({
  version: z.literal(1),
  program: z.string(),
  run: z.string(),
  sequence: z.number(),
  host: z.string(),
  startedAt: instant,
  parties: z.array(z.intersection(partySchema, z.object({ peers: z.array(peerSchema) }))),
  cameras: z.array(cameraSchema),
  problems: z.array(problemSchema),
});

/** `GET /health`, without a token. */
export interface DaemonHealth {
  status: 'ok' | 'degraded';
  /** Codes only. */
  problems: string[];
}
export const daemonHealthSchema: z.ZodType<DaemonHealth> = z.object({
  status: z.enum(['ok', 'degraded']),
  problems: z.array(z.string()),
});
