import { z } from 'zod';

/** Version of the HTTP API: the first part of every path. A field is only ever added within one version. */
export const API_VERSION = 1;

/** An instant, ISO 8601 with a zone. */
export const instant: z.ZodISODateTime = z.iso.datetime({ offset: true });

/** `PathKind` of core: how a target is reached. */
export const pathKindSchema: z.ZodEnum<{ lan: 'lan'; p2p: 'p2p'; relay: 'relay' }> = z.enum(['lan', 'p2p', 'relay']);
export type PathKind = z.infer<typeof pathKindSchema>;

/** A stable code (docs/protocol/reasons.md, "Reason codes"), and the same in plain words. */
export const reasonSchema: z.ZodObject<{ code: z.ZodString; text: z.ZodString }> = z.object({
  code: z.string(),
  text: z.string(),
});
export type Reason = z.infer<typeof reasonSchema>;

/** Something that went wrong: what was tried and what to do next. Also the body of every answer of 400 and above. */
export interface Problem {
  /** Stable. */
  code: string;
  message: string;
  /** When it was noticed; absent in answers. */
  at?: string | undefined;
}
export const problemSchema: z.ZodType<Problem> = z.object({
  code: z.string(),
  message: z.string(),
  at: instant.optional(),
});

/** Body of every answer with status 400 and above. */
export const errorAnswerSchema: z.ZodType<{ error: Problem }> = z.object({ error: problemSchema });

/** One attempt of a race, for a waterfall: times are ms since the race began. */
export interface RaceAttempt {
  id: string;
  kind: PathKind;
  /** `192.168.1.20:40611`, as a person reads it. */
  label: string;
  state: 'pending' | 'running' | 'success' | 'failed' | 'cancelled';
  startedMs: number | null;
  endedMs: number | null;
  /** Why it failed; a stable code. */
  reason: string | null;
}
const attemptSchema: z.ZodType<RaceAttempt> = z.object({
  id: z.string(),
  kind: pathKindSchema,
  label: z.string(),
  state: z.enum(['pending', 'running', 'success', 'failed', 'cancelled']),
  startedMs: z.number().nullable(),
  endedMs: z.number().nullable(),
  reason: z.string().nullable(),
});

/** Attempts side by side; the first success wins. */
export interface Race {
  startedAt: string;
  /** How long it took until its end, or until now. */
  elapsedMs: number;
  running: boolean;
  /** Id of the attempt that won. */
  winner: string | null;
  /** In the order in which they were added. */
  attempts: RaceAttempt[];
}
export const raceSchema: z.ZodType<Race> = z.object({
  startedAt: instant,
  elapsedMs: z.number(),
  running: z.boolean(),
  winner: z.string().nullable(),
  attempts: z.array(attemptSchema),
});
