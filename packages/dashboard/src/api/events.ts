import { z } from 'zod';
import {
  type Camera,
  cameraSchema,
  type Download,
  downloadSchema,
  type MediaItem,
  mediaItemSchema,
} from './cameras.ts';
import { instant, type Problem, problemSchema } from './common.ts';
import { type NetworkCheck, networkCheckSchema } from './network.ts';
import { type Party, partySchema, type Relay, relaySchema } from './parties.ts';
import {
  type LatencySample,
  latencySampleSchema,
  type PathEvent,
  pathEventSchema,
  type Peer,
  peerSchema,
} from './peers.ts';

/** What has changed. Each carries the whole thing, so that a page replaces what it has. */
export type DaemonEvent =
  | { type: 'party'; party: Party }
  | { type: 'party-removed'; party: string }
  | { type: 'peer'; party: string; peer: Peer }
  | { type: 'peer-removed'; party: string; peer: string }
  | { type: 'path'; party: string; peer: string; event: PathEvent }
  | { type: 'latency'; party: string; peer: string; sample: LatencySample }
  | { type: 'relays'; relays: Relay[] }
  | { type: 'netcheck'; check: NetworkCheck }
  | { type: 'camera'; camera: Camera }
  | { type: 'camera-removed'; camera: string }
  | { type: 'media'; camera: string; item: MediaItem }
  | { type: 'media-removed'; camera: string; items: string[] }
  | { type: 'download'; download: Download }
  /** Something for the person, such as a full disk; `level` says how much it matters. */
  | { type: 'notice'; level: 'info' | 'warning' | 'error'; notice: Problem };

const id = z.string();
export const daemonEventSchema: z.ZodType<DaemonEvent> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('party'), party: partySchema }),
  z.object({ type: z.literal('party-removed'), party: id }),
  z.object({ type: z.literal('peer'), party: id, peer: peerSchema }),
  z.object({ type: z.literal('peer-removed'), party: id, peer: id }),
  z.object({ type: z.literal('path'), party: id, peer: id, event: pathEventSchema }),
  z.object({ type: z.literal('latency'), party: id, peer: id, sample: latencySampleSchema }),
  z.object({ type: z.literal('relays'), relays: z.array(relaySchema) }),
  z.object({ type: z.literal('netcheck'), check: networkCheckSchema }),
  z.object({ type: z.literal('camera'), camera: cameraSchema }),
  z.object({ type: z.literal('camera-removed'), camera: id }),
  z.object({ type: z.literal('media'), camera: id, item: mediaItemSchema }),
  z.object({ type: z.literal('media-removed'), camera: id, items: z.array(id) }),
  z.object({ type: z.literal('download'), download: downloadSchema }),
  z.object({ type: z.literal('notice'), level: z.enum(['info', 'warning', 'error']), notice: problemSchema }),
]);

/**
 * One message of the WebSocket `GET /v1/events`, several times a second at most. The first one after a connect has no
 * events: it says where the stream begins.
 */
export interface EventBatch {
  version: 1;
  /** Of the daemon's process: another one means that everything has to be read again. */
  run: string;
  /** Number of the last event in it; `?after=` of a reconnect. */
  sequence: number;
  /** True when events were missed: read everything again. */
  reset: boolean;
  at: string;
  events: DaemonEvent[];
}
export const eventBatchSchema: z.ZodType<EventBatch> = z.object({
  version: z.literal(1),
  run: z.string(),
  sequence: z.number(),
  reset: z.boolean(),
  at: instant,
  events: z.array(daemonEventSchema),
});
