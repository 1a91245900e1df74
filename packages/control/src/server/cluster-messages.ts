import { z } from 'zod';
import { idText, presenceSchema, type PresenceEntry, type SignalOutcome } from '../wire/messages.ts';

/** Messages between servers with one store, over its bus. */
export type ClusterMessage =
  | { kind: 'alive'; server: string }
  | { kind: 'gone'; server: string }
  /** On a party's channel. */
  | { kind: 'statement'; server: string; sequence: number; statement: string }
  | { kind: 'presence'; server: string; whole: boolean; entries: PresenceEntry[] }
  | { kind: 'who-is-there'; server: string }
  /** On a server's own channel; answered by `signalled` with the same `id`. */
  | {
      kind: 'signal';
      server: string;
      id: number;
      party: string;
      from: string;
      to: string;
      payload: string;
    }
  | { kind: 'signalled'; server: string; id: number; outcome: SignalOutcome };

const server = z.string();
const number = z.number();
const schema: z.ZodType<ClusterMessage> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('alive'), server }),
  z.object({ kind: z.literal('gone'), server }),
  z.object({ kind: z.literal('statement'), server, sequence: number, statement: z.string() }),
  z.object({ kind: z.literal('presence'), server, whole: z.boolean(), entries: z.array(presenceSchema) }),
  z.object({ kind: z.literal('who-is-there'), server }),
  z.object({
    kind: z.literal('signal'),
    server,
    id: number,
    party: idText,
    from: idText,
    to: idText,
    payload: z.string(),
  }),
  z.object({
    kind: z.literal('signalled'),
    server,
    id: number,
    outcome: z.enum(['delivered', 'peer-offline', 'no-answer', 'refused', 'limit-exceeded']),
  }),
]);

export function encodeClusterMessage(message: ClusterMessage): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(message));
}

/** Undefined when this version does not know it. */
export function decodeClusterMessage(data: Uint8Array): ClusterMessage | undefined {
  try {
    const result = schema.safeParse(JSON.parse(new TextDecoder().decode(data)));
    return result.success ? result.data : undefined;
  } catch {
    // Not JSON: another version or another program on the bus; the caller counts it.
    return undefined;
  }
}
