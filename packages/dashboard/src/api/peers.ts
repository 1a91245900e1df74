import { z } from 'zod';
import { instant, type PathKind, pathKindSchema, type Race, raceSchema, type Reason, reasonSchema } from './common.ts';

/** Which paths one end of a pair uses. */
export type PathPolicy = 'auto' | 'direct-only' | 'relay-only' | 'lan-only';
const policySchema = z.enum(['auto', 'direct-only', 'relay-only', 'lan-only']);

/** Another member of a party, and how it is reached now. */
export interface Peer {
  id: string;
  name: string;
  /** Virtual address, `10.66.12.7`. */
  address: string;
  /** Connected to the control plane. */
  online: boolean;
  status: 'connecting' | 'connected' | 'degraded' | 'failed';
  /** Why it has this status. */
  reason: Reason;
  strategy: 'direct' | 'relay' | null;
  path: {
    id: string;
    kind: PathKind;
    /** `203.0.113.42:40000`. */
    endpoint: string;
    /** The relay that it goes through. */
    relay: string | null;
    /** Since when it is the current path. */
    since: string | null;
  } | null;
  /** Why this path. */
  pathReason: Reason;
  /** Which paths this node uses for it, and which it uses itself; null when it told none. Absent from earlier versions. */
  policies?: { own: PathPolicy; peer: PathPolicy | null } | undefined;
  /** Whose policy does not allow the paths that there are; absent where none forbids them. */
  refusedBy?: 'own' | 'peer' | undefined;
  /** Why it is reached through a relay and not directly; null or absent when it is not. */
  relayReason?: Reason | null | undefined;
  /** `splice`: carried by the kernel; `hop`: carried by the daemon. */
  dataPlane: 'splice' | 'hop';
  dataPlaneReason: Reason;
  /** Smoothed round trip through the tunnel, ms. */
  latencyMs: number | null;
  /** Share of lost echoes, 0 to 1. */
  lossRatio: number;
  /** Largest packet to it, bytes. */
  mtuBytes: number;
  receivedBytes: number;
  sentBytes: number;
  /** First answered echo. */
  connectedAt: string | null;
  lastHandshakeAt: string | null;
}
export const peerSchema: z.ZodType<Peer> = z.object({
  id: z.string(),
  name: z.string(),
  address: z.string(),
  online: z.boolean(),
  status: z.enum(['connecting', 'connected', 'degraded', 'failed']),
  reason: reasonSchema,
  strategy: z.enum(['direct', 'relay']).nullable(),
  path: z
    .object({
      id: z.string(),
      kind: pathKindSchema,
      endpoint: z.string(),
      relay: z.string().nullable(),
      since: instant.nullable(),
    })
    .nullable(),
  pathReason: reasonSchema,
  policies: z.object({ own: policySchema, peer: policySchema.nullable() }).optional(),
  refusedBy: z.enum(['own', 'peer']).optional(),
  relayReason: reasonSchema.nullable().optional(),
  dataPlane: z.enum(['splice', 'hop']),
  dataPlaneReason: reasonSchema,
  latencyMs: z.number().nullable(),
  lossRatio: z.number().min(0).max(1),
  mtuBytes: z.number(),
  receivedBytes: z.number(),
  sentBytes: z.number(),
  connectedAt: instant.nullable(),
  lastHandshakeAt: instant.nullable(),
});

/** One verified path of a peer. */
export interface PeerPath {
  id: string;
  kind: PathKind;
  /** As a person reads it. */
  to: string;
  role: 'current' | 'standby' | 'draining';
  health: 'good' | 'stale' | 'suspect' | 'dead';
  rttMs: number | null;
  lossRatio: number;
}
const pathSchema: z.ZodType<PeerPath> = z.object({
  id: z.string(),
  kind: pathKindSchema,
  to: z.string(),
  role: z.enum(['current', 'standby', 'draining']),
  health: z.enum(['good', 'stale', 'suspect', 'dead']),
  rttMs: z.number().nullable(),
  lossRatio: z.number(),
});

/** An entry of the time line of a peer's paths. */
export interface PathEvent {
  at: string;
  what: 'candidate' | 'attempt' | 'success' | 'failure' | 'switch' | 'standby' | 'removed' | 'refresh';
  label: string;
  reason: Reason;
}
export const pathEventSchema: z.ZodType<PathEvent> = z.object({
  at: instant,
  what: z.enum(['candidate', 'attempt', 'success', 'failure', 'switch', 'standby', 'removed', 'refresh']),
  label: z.string(),
  reason: reasonSchema,
});

/** One reading of the latency, every 5 s; the last two hours are kept. */
export interface LatencySample {
  /** ms since the Unix epoch. */
  atMs: number;
  /** null: not reached then. */
  rttMs: number | null;
  kind: PathKind | null;
}
export const latencySampleSchema: z.ZodType<LatencySample> = z.object({
  atMs: z.number(),
  rttMs: z.number().nullable(),
  kind: pathKindSchema.nullable(),
});

/** A time during which one path was the current one. */
export interface PathSpan {
  fromMs: number;
  /** null: still. */
  toMs: number | null;
  /** null: there was no path. */
  kind: PathKind | null;
  label: string;
  reason: Reason;
}
const spanSchema: z.ZodType<PathSpan> = z.object({
  fromMs: z.number(),
  toMs: z.number().nullable(),
  kind: pathKindSchema.nullable(),
  label: z.string(),
  reason: reasonSchema,
});

/** Why a peer is reached as it is: the same as `towpath why`. */
export interface Why {
  verdict: 'direct' | 'relayed' | 'unreachable';
  reason: Reason;
  /** One sentence. */
  summary: string;
  /** Further facts, one sentence each. */
  details: string[];
  /** What would make it direct or reachable; empty when nothing has to be done. */
  next: string[];
}
export const whySchema: z.ZodType<Why> = z.object({
  verdict: z.enum(['direct', 'relayed', 'unreachable']),
  reason: reasonSchema,
  summary: z.string(),
  details: z.array(z.string()),
  next: z.array(z.string()),
});

/** `GET /v1/parties/:party/peers/:peer` */
export interface PeerDetail {
  party: string;
  peer: Peer;
  why: Why;
  paths: PeerPath[];
  /** Oldest first; the newest 200. */
  log: PathEvent[];
  /** The races that were held, the newest last; at most 10. */
  races: Race[];
  latency: LatencySample[];
  timeline: PathSpan[];
}
export const peerDetailSchema: z.ZodType<PeerDetail> = z.object({
  party: z.string(),
  peer: peerSchema,
  why: whySchema,
  paths: z.array(pathSchema),
  log: z.array(pathEventSchema),
  races: z.array(raceSchema),
  latency: z.array(latencySampleSchema),
  timeline: z.array(spanSchema),
});
