import { z } from 'zod';
import type { Relay } from '../control-plane.ts';
import { MAX_ANNOUNCEMENT_BYTES, MAX_SIGNAL_BYTES, MAX_STATEMENT_BYTES } from '@towpath/membership';

/** Base64url text of up to `bytes` bytes. */
export function base64Text(bytes: number): z.ZodString {
  return z
    .string()
    .max(Math.ceil((bytes * 4) / 3))
    .regex(/^[A-Za-z0-9_-]*$/);
}

/** A party or peer id. */
export const idText: z.ZodString = z.string().regex(/^[0-9a-f]{32}$/);
/** A position in a log. */
export const sequenceNumber: z.ZodNumber = z.number().int().min(0).max(0xffff_ffff);

/** Most parties that one node can follow on one connection. */
export const MAX_PARTIES_PER_NODE = 64;
/** The largest message of a client: a signal in base64, with its frame. */
export const MAX_CLIENT_MESSAGE_BYTES: number = Math.ceil((MAX_SIGNAL_BYTES * 4) / 3) + 512;

const number = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** Messages of a node on its WebSocket. */
export type ClientMessage =
  | FollowMessage
  | { type: 'unfollow'; party: string }
  | { type: 'announce'; party: string; announcement: string }
  /** The signal that came with `ack` was taken, or refused as forged, old, or seen before. */
  | { type: 'received'; ack: number; taken: boolean }
  /** Pass `payload` on to a member; answered by `delivered` or `undelivered` with the same `id`. */
  | SignalMessage;

/** Requests everything about the party from now on: its log from statement `next` on, presence, signals. */
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

/** Wire format of a node's messages. */
export const clientMessageSchema: z.ZodType<ClientMessage> = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('follow'),
    party: idText,
    next: sequenceNumber,
    announcement: base64Text(MAX_ANNOUNCEMENT_BYTES).optional(),
  }),
  z.object({ type: z.literal('unfollow'), party: idText }),
  z.object({ type: z.literal('announce'), party: idText, announcement: base64Text(MAX_ANNOUNCEMENT_BYTES) }),
  z.object({ type: z.literal('received'), ack: number, taken: z.boolean() }),
  z.object({
    type: z.literal('signal'),
    id: number,
    party: idText,
    to: idText,
    payload: base64Text(MAX_SIGNAL_BYTES),
  }),
]);

/** Whether a member is connected to a server, and its announcement. */
export interface PresenceEntry {
  peer: string;
  online: boolean;
  announcement?: string | undefined;
}

/** Wire format of a presence entry. */
export const presenceSchema: z.ZodType<PresenceEntry> = z.object({
  peer: idText,
  online: z.boolean(),
  announcement: base64Text(MAX_ANNOUNCEMENT_BYTES).optional(),
});

/** Wire format of a relay. */
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

/** What became of a signal that was handed to the receiver's connection. */
export type SignalOutcome = 'delivered' | 'peer-offline' | 'no-answer' | 'refused' | 'limit-exceeded';

/** Why a signal was not delivered, as far as its server knows. */
export type UndeliveredReason = Exclude<SignalOutcome, 'delivered'> | 'not-a-member';

/** What a server sends over a node's WebSocket. */
export type ServerMessage =
  | { type: 'welcome'; server: string; timeMs: number }
  /** Statements from `from` on; `length` is the length of the log. */
  | { type: 'statements'; party: string; from: number; length: number; statements: string[] }
  /** `whole` replaces all earlier presence. */
  | { type: 'presence'; party: string; whole: boolean; entries: PresenceEntry[] }
  /** To be answered by `received` with the same `ack`. */
  | { type: 'signal'; ack: number; party: string; from: string; payload: string }
  | { type: 'delivered'; id: number }
  | { type: 'undelivered'; id: number; reason: UndeliveredReason }
  /** The server does not push this party (any more). */
  | { type: 'refused'; party: string; reason: 'not-a-member' | 'not-found' | 'limit-exceeded' }
  | { type: 'relays'; relays: Relay[] };

/** Wire format of a server's messages. */
export const serverMessageSchema: z.ZodType<ServerMessage> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('welcome'), server: z.string().max(64), timeMs: z.number() }),
  z.object({
    type: z.literal('statements'),
    party: idText,
    from: sequenceNumber,
    length: sequenceNumber,
    statements: z.array(base64Text(MAX_STATEMENT_BYTES)).max(4_096),
  }),
  z.object({ type: z.literal('presence'), party: idText, whole: z.boolean(), entries: z.array(presenceSchema) }),
  z.object({
    type: z.literal('signal'),
    ack: number,
    party: idText,
    from: idText,
    payload: base64Text(MAX_SIGNAL_BYTES),
  }),
  z.object({ type: z.literal('delivered'), id: number }),
  z.object({
    type: z.literal('undelivered'),
    id: number,
    reason: z.enum(['peer-offline', 'not-a-member', 'limit-exceeded', 'no-answer', 'refused']),
  }),
  z.object({
    type: z.literal('refused'),
    party: idText,
    reason: z.enum(['not-a-member', 'not-found', 'limit-exceeded']),
  }),
  z.object({ type: z.literal('relays'), relays: z.array(relaySchema).max(1_000) }),
]);

/** Parses a node's message; undefined when it is invalid. */
export function parseClientMessage(text: string): ClientMessage | undefined {
  const result = clientMessageSchema.safeParse(parseJson(text));
  return result.success ? result.data : undefined;
}

/** Parses a server's message; undefined when it is invalid. */
export function parseServerMessage(text: string): ServerMessage | undefined {
  const result = serverMessageSchema.safeParse(parseJson(text));
  return result.success ? result.data : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Reported by the caller.
    return undefined;
  }
}
