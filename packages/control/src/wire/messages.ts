import { z } from 'zod';
import type { Relay } from '../control-plane.ts';
import { MAX_ANNOUNCEMENT_BYTES } from '../membership/announcement.ts';
import { MAX_SIGNAL_BYTES } from '../membership/signal-seal.ts';
import { MAX_STATEMENT_BYTES } from '../membership/statement.ts';

/** Base64url text of up to `bytes` bytes. */
export function base64Text(bytes: number): z.ZodString {
  return z
    .string()
    .max(Math.ceil((bytes * 4) / 3))
    .regex(/^[A-Za-z0-9_-]*$/);
}

/** A party or peer id. */
export const idText: z.ZodString = z.string().regex(/^[0-9a-f]{32}$/);
/** A place in a log. */
export const sequenceNumber: z.ZodNumber = z.number().int().min(0).max(0xffff_ffff);

/** Parties that one node can follow over one connection. */
export const MAX_PARTIES_PER_NODE = 64;
/** The largest message of a client: a signal in base64, with its frame. */
export const MAX_CLIENT_MESSAGE_BYTES: number = Math.ceil((MAX_SIGNAL_BYTES * 4) / 3) + 512;

const number = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** What a node sends over its WebSocket. */
export type ClientMessage =
  | FollowMessage
  | { type: 'unfollow'; party: string }
  | { type: 'announce'; party: string; announcement: string }
  /** Pass `payload` on to a member; answered by `delivered` or `undelivered` with the same `id`. */
  | SignalMessage;

/** Push everything about the party from now on: its log from statement `next` on, presence, signals. */
export interface FollowMessage {
  type: 'follow';
  party: string;
  next: number;
  announcement?: string | undefined;
}

export interface SignalMessage {
  type: 'signal';
  id: number;
  party: string;
  to: string;
  payload: string;
}

const clientMessageSchema: z.ZodType<ClientMessage> = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('follow'),
    party: idText,
    next: sequenceNumber,
    announcement: base64Text(MAX_ANNOUNCEMENT_BYTES).optional(),
  }),
  z.object({ type: z.literal('unfollow'), party: idText }),
  z.object({ type: z.literal('announce'), party: idText, announcement: base64Text(MAX_ANNOUNCEMENT_BYTES) }),
  z.object({
    type: z.literal('signal'),
    id: number,
    party: idText,
    to: idText,
    payload: base64Text(MAX_SIGNAL_BYTES),
  }),
]);

/** Whether a member is connected to a server, and what it announced. */
export interface PresenceEntry {
  peer: string;
  online: boolean;
  announcement?: string | undefined;
}

/** An entry of presence as it goes over the wire. */
export const presenceSchema: z.ZodType<PresenceEntry> = z.object({
  peer: idText,
  online: z.boolean(),
  announcement: base64Text(MAX_ANNOUNCEMENT_BYTES).optional(),
});

/** A relay as it goes over the wire. */
export const relaySchema: z.ZodType<Relay> = z.object({
  id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  urls: z
    .array(z.string().regex(/^turns?:[^\s]{1,250}$/))
    .min(1)
    .max(8),
  region: z.string().max(64),
  load: z.number().min(0).max(1),
  healthy: z.boolean(),
});

/** What a server sends over a node's WebSocket. */
export type ServerMessage =
  | { type: 'welcome'; server: string; timeMs: number }
  /** Statements from `from` on; `length` is how many the log has. */
  | { type: 'statements'; party: string; from: number; length: number; statements: string[] }
  /** `whole` replaces everything known about who is online. */
  | { type: 'presence'; party: string; whole: boolean; entries: PresenceEntry[] }
  | { type: 'signal'; party: string; from: string; payload: string }
  | { type: 'delivered'; id: number }
  | { type: 'undelivered'; id: number; reason: 'peer-offline' | 'not-a-member' | 'limit-exceeded' }
  /** The server does not push this party (any more). */
  | { type: 'refused'; party: string; reason: 'not-a-member' | 'not-found' | 'limit-exceeded' }
  | { type: 'relays'; relays: Relay[] };

const serverMessageSchema: z.ZodType<ServerMessage> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('welcome'), server: z.string().max(64), timeMs: z.number() }),
  z.object({
    type: z.literal('statements'),
    party: idText,
    from: sequenceNumber,
    length: sequenceNumber,
    statements: z.array(base64Text(MAX_STATEMENT_BYTES)).max(4_096),
  }),
  z.object({ type: z.literal('presence'), party: idText, whole: z.boolean(), entries: z.array(presenceSchema) }),
  z.object({ type: z.literal('signal'), party: idText, from: idText, payload: base64Text(MAX_SIGNAL_BYTES) }),
  z.object({ type: z.literal('delivered'), id: number }),
  z.object({
    type: z.literal('undelivered'),
    id: number,
    reason: z.enum(['peer-offline', 'not-a-member', 'limit-exceeded']),
  }),
  z.object({
    type: z.literal('refused'),
    party: idText,
    reason: z.enum(['not-a-member', 'not-found', 'limit-exceeded']),
  }),
  z.object({ type: z.literal('relays'), relays: z.array(relaySchema).max(1_000) }),
]);

/** Reads what a node sent; undefined when it is no message of ours. */
export function parseClientMessage(text: string): ClientMessage | undefined {
  const result = clientMessageSchema.safeParse(parseJson(text));
  return result.success ? result.data : undefined;
}

/** Reads what a server sent; undefined when it is no message of ours. */
export function parseServerMessage(text: string): ServerMessage | undefined {
  const result = serverMessageSchema.safeParse(parseJson(text));
  return result.success ? result.data : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Reported by the caller, as any other text that is no message.
    return undefined;
  }
}
