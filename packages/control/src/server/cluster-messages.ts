import { z } from 'zod';
import { idText, presenceSchema, type PresenceEntry } from '../wire/messages.ts';

/** What servers on one store tell each other over its bus. */
export type ClusterMessage =
  | { kind: 'alive'; server: string }
  | { kind: 'gone'; server: string }
  /** On a party's channel. */
  | { kind: 'statement'; server: string; sequence: number; statement: string }
  | { kind: 'presence'; server: string; whole: boolean; entries: PresenceEntry[] }
  | { kind: 'who-is-there'; server: string }
  /** On a server's own channel. `sender` is the node key to answer to. */
  | {
      kind: 'signal';
      server: string;
      sender: string;
      id: number;
      party: string;
      from: string;
      to: string;
      payload: string;
    }
  | { kind: 'signalled'; server: string; sender: string; id: number; delivered: boolean };

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
    sender: z.string(),
    id: number,
    party: idText,
    from: idText,
    to: idText,
    payload: z.string(),
  }),
  z.object({ kind: z.literal('signalled'), server, sender: z.string(), id: number, delivered: z.boolean() }),
]);

export function encodeClusterMessage(message: ClusterMessage): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(message));
}

/** Undefined when it is nothing that this version sends. */
export function decodeClusterMessage(data: Uint8Array): ClusterMessage | undefined {
  try {
    const result = schema.safeParse(JSON.parse(new TextDecoder().decode(data)));
    return result.success ? result.data : undefined;
  } catch {
    // Not JSON: of another version, or from somebody else on the bus; the caller counts it.
    return undefined;
  }
}
