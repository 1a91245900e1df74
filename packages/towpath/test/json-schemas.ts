import { cameraSchema, pathEventSchema, problemSchema } from '@towpath/dashboard/api';
import { z } from 'zod';

const strict = (type: string, shape: z.ZodRawShape): z.ZodObject =>
  z.strictObject({ type: z.literal(type), version: z.literal(1), ...shape });
const instant = z.iso.datetime({ offset: true });
const paths = z.array(
  z.object({ id: z.string(), kind: z.enum(['lan', 'p2p', 'relay']), rttMs: z.number().nullable() }),
);

/** `peers[]` of `status`: docs/json.md. */
export const peer: z.ZodObject = z.strictObject({
  party: z.string().optional(),
  peerId: z.string(),
  name: z.string(),
  virtualIp: z.string(),
  online: z.boolean(),
  status: z.enum(['connecting', 'connected', 'degraded', 'failed']),
  reason: z.string(),
  strategy: z.enum(['direct', 'relay']).optional(),
  path: z.looseObject({ kind: z.string(), endpoint: z.string() }).optional(),
  endpoint: z.string().optional(),
  pathReason: z.string(),
  relayReason: z.string().optional(),
  policy: z.string().optional(),
  peerPolicy: z.string().optional(),
  refusedBy: z.enum(['own', 'peer']).optional(),
  dataPlane: z.enum(['splice', 'hop']),
  dataPlaneReason: z.string(),
  latencyMs: z.number().optional(),
  lossRatio: z.number(),
  mtuBytes: z.number(),
  receivedBytes: z.number(),
  sentBytes: z.number(),
  connectedAt: instant.optional(),
  lastHandshakeAt: instant.optional(),
});

/** What the commands print with `--json`, by `type`; nothing that docs/json.md does not name. */
export const JSON_SCHEMAS: Readonly<Record<string, z.ZodObject>> = {
  status: strict('status', {
    host: z.string(),
    program: z.string(),
    startedAt: instant,
    parties: z.array(
      z.strictObject({
        id: z.string(),
        party: z.string(),
        state: z.enum(['up', 'starting', 'failed', 'off']),
        problem: problemSchema.nullable(),
        address: z.string(),
        interface: z.string().nullable(),
        backend: z.enum(['kernel', 'userspace']).nullable(),
        network: z.strictObject({ party: z.string(), here: z.string() }).nullable(),
        server: z.boolean(),
        relay: z
          .strictObject({
            state: z.enum(['no-address', 'failed', 'unverified', 'reachable']),
            address: z.string().nullable(),
            problem: z.string().nullable(),
            sessions: z.int(),
            maxSessions: z.int(),
            relayedBytes: z.int(),
            bytesPerSecond: z.int(),
            dataPlane: z.enum(['kernel', 'user']).nullable(),
            dataPlaneReason: z.string().nullable(),
          })
          .nullable(),
        filter: z
          .strictObject({
            problem: z.string().nullable(),
            dropped: z.strictObject({
              strangers: z.int(),
              forged: z.int(),
              notOffered: z.int(),
              intoParty: z.int(),
            }),
          })
          .nullable(),
      }),
    ),
    peers: z.array(peer),
    cameras: z.array(cameraSchema),
    problems: z.array(problemSchema),
  }),
  why: strict('why', {
    target: z.string(),
    verdict: z.enum(['direct', 'relayed', 'unreachable']),
    reason: z.string(),
    summary: z.string(),
    details: z.array(z.string()),
    next: z.array(z.string()),
    peer: peer.optional(),
    paths: paths.optional(),
    log: z.array(pathEventSchema).optional(),
    camera: cameraSchema.optional(),
  }),
  paths: strict('paths', { peer: z.string(), paths }),
  path: strict('path', { at: instant, what: z.string(), label: z.string(), reason: z.string() }),
  echo: strict('echo', { sequence: z.int(), rttMs: z.number().optional() }),
  down: strict('down', {
    ended: z.strictObject({ parties: z.array(z.string()), cameras: z.array(z.string()) }).nullable(),
    cleared: z.array(z.string()),
    failed: z.array(z.strictObject({ name: z.string(), message: z.string() })),
  }),
  finding: strict('finding', {
    check: z.string(),
    state: z.enum(['ok', 'missing', 'limited']),
    found: z.string(),
    next: z.string().optional(),
  }),
  config: strict('config', {
    path: z.string(),
    settings: z.array(z.strictObject({ key: z.string(), value: z.string(), origin: z.string() })),
    parties: z.union([z.enum(['all', 'none']), z.array(z.looseObject({ party: z.string() }))]),
    cameras: z.array(z.looseObject({ name: z.string(), target: z.string() })),
  }),
  'config-check': strict('config-check', { path: z.string(), ok: z.boolean(), faults: z.array(z.string()) }),
  'config-path': strict('config-path', { path: z.string() }),
  dashboard: strict('dashboard', { address: z.string(), link: z.string() }),
  bugreport: strict('bugreport', { output: z.string(), bytes: z.int() }),
  completion: strict('completion', { shell: z.string(), script: z.string() }),
  cameras: strict('cameras', {
    cameras: z.array(
      z.strictObject({
        name: z.string(),
        target: z.string(),
        via: z.string().nullable(),
        keep: z.string(),
        deleteFromCard: z.enum(['never', 'when-safe']),
        state: z.string(),
      }),
    ),
  }),
  'camera-found': strict('camera-found', {
    uid: z.string(),
    address: z.string(),
    port: z.int(),
    localAddress: z.string().nullable(),
    keyed: z.boolean(),
    afterMs: z.int(),
  }),
  search: strict('search', { found: z.int() }),
};

/** Parses a line of output by its type. */
export function parseJsonLine(line: string): { type: string } {
  const value = JSON.parse(line) as { type: string };
  const schema = JSON_SCHEMAS[value.type];
  if (schema === undefined) throw new Error(`No schema for ${line.slice(0, 200)}`);
  schema.parse(value);
  return value;
}
