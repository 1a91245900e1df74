import { z } from 'zod';
import { instant, type Problem, problemSchema } from './common.ts';

/** One address family. */
export interface NetworkFamily {
  /** null: there was no server of it to ask. */
  reachable: boolean | null;
  /** `198.51.100.7:40000`. */
  external: string | null;
  /** `endpoint-independent`, …; null when it was not measured. */
  mapping: string | null;
  filtering: string | null;
  why: string;
}
const family: z.ZodType<NetworkFamily> = z.object({
  reachable: z.boolean().nullable(),
  external: z.string().nullable(),
  mapping: z.string().nullable(),
  filtering: z.string().nullable(),
  why: z.string(),
});

/** What this network lets through: the same as `towpath netcheck`. */
export interface NetworkReport {
  /** When it was measured. */
  at: string;
  transport: 'udp' | 'tcp-only' | 'nothing' | 'unknown';
  /** Usual name of the NAT. */
  kind: string;
  /** What it means for connecting. */
  meaning: string;
  ipv4: NetworkFamily;
  ipv6: NetworkFamily;
  addresses: { interface: string; address: string; prefixLength: number }[];
  gateway: string | null;
  carrierNat: boolean | null;
  /** How peers behind each kind of NAT are reached. */
  reachability: { peer: string; reachability: string }[];
  servers: {
    role: 'stun' | 'relay';
    host: string;
    port: number;
    transports: { transport: string; family: 4 | 6; endpoint: string; rttMs: number | null; problem: Problem | null }[];
    problem: Problem | null;
  }[];
  /** Services of the gateway that map ports, as `pcp`, `nat-pmp`, `upnp`; null when it was not requested. */
  portMapping: string[] | null;
  portal: 'open' | 'portal' | 'unknown' | null;
  elapsedMs: number;
  /** The whole report in words, as the command prints it. */
  text: { title: string; lines: string[] }[];
}
export const networkReportSchema: z.ZodType<NetworkReport> = z.object({
  at: instant,
  transport: z.enum(['udp', 'tcp-only', 'nothing', 'unknown']),
  kind: z.string(),
  meaning: z.string(),
  ipv4: family,
  ipv6: family,
  addresses: z.array(z.object({ interface: z.string(), address: z.string(), prefixLength: z.number() })),
  gateway: z.string().nullable(),
  carrierNat: z.boolean().nullable(),
  reachability: z.array(z.object({ peer: z.string(), reachability: z.string() })),
  servers: z.array(
    z.object({
      role: z.enum(['stun', 'relay']),
      host: z.string(),
      port: z.number(),
      transports: z.array(
        z.object({
          transport: z.string(),
          family: z.union([z.literal(4), z.literal(6)]),
          endpoint: z.string(),
          rttMs: z.number().nullable(),
          problem: problemSchema.nullable(),
        }),
      ),
      problem: problemSchema.nullable(),
    }),
  ),
  portMapping: z.array(z.string()).nullable(),
  portal: z.enum(['open', 'portal', 'unknown']).nullable(),
  elapsedMs: z.number(),
  text: z.array(z.object({ title: z.string(), lines: z.array(z.string()) })),
});

/** `GET /v1/netcheck`; `POST /v1/netcheck` measures again and answers at once with `running: true`. */
export interface NetworkCheck {
  running: boolean;
  report: NetworkReport | null;
  problem: Problem | null;
}
export const networkCheckSchema: z.ZodType<NetworkCheck> = z.object({
  running: z.boolean(),
  report: networkReportSchema.nullable(),
  problem: problemSchema.nullable(),
});
