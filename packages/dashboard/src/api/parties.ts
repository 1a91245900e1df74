import { z } from 'zod';
import { instant, type Problem, problemSchema } from './common.ts';

/** A member of a party, this node included. */
export interface Member {
  id: string;
  name: string;
  role: string;
  address: string;
  joinedAt: string;
  self: boolean;
  online: boolean;
}
const memberSchema: z.ZodType<Member> = z.object({
  id: z.string(),
  name: z.string(),
  role: z.string(),
  address: z.string(),
  joinedAt: instant,
  self: z.boolean(),
  online: z.boolean(),
});

/** What this node relays for the other members. */
export interface OwnRelay {
  state: 'no-address' | 'failed' | 'unverified' | 'reachable';
  /** Public address and port; null while it does not relay. */
  address: string | null;
  problem: string | null;
  /** Relayed addresses at this moment. */
  sessions: number;
  maxSessions: number;
  relayedBytes: number;
  /** Limit for all members together. */
  bytesPerSecond: number;
  /** Where relayed data passes; null while it does not relay. */
  dataPlane: 'kernel' | 'user' | null;
  /** Why; one or two sentences. */
  dataPlaneReason: string | null;
}
const ownRelaySchema: z.ZodType<OwnRelay> = z.object({
  state: z.enum(['no-address', 'failed', 'unverified', 'reachable']),
  address: z.string().nullable(),
  problem: z.string().nullable(),
  sessions: z.number(),
  maxSessions: z.number(),
  relayedBytes: z.number(),
  bytesPerSecond: z.number(),
  dataPlane: z.enum(['kernel', 'user']).nullable(),
  dataPlaneReason: z.string().nullable(),
});

/** Whether this machine keeps a party apart from its other networks and parties. */
export interface OwnFilter {
  /** Why not; null while it does. */
  problem: string | null;
  /** Packets that were dropped since the party is up. */
  dropped: {
    /** For this machine's virtual address, from another interface. */
    strangers: number;
    /** With the address of a member or of an accepted network as the source, from another interface. */
    forged: number;
    /** From members to a network that is not offered to them. */
    notOffered: number;
    /** From other networks and other parties to members. */
    intoParty: number;
  };
}
const ownFilterSchema: z.ZodType<OwnFilter> = z.object({
  problem: z.string().nullable(),
  dropped: z.object({ strangers: z.number(), forged: z.number(), notOffered: z.number(), intoParty: z.number() }),
});

/** A party of this node. */
export interface Party {
  /** Id; the `:party` of paths. */
  id: string;
  name: string;
  /** `off`: this node is a member, but the daemon does not connect it. */
  state: 'up' | 'starting' | 'failed' | 'off';
  problem: Problem | null;
  servers: string[];
  /** A control server is connected. */
  connected: boolean;
  /** This node's virtual address. */
  address: string;
  interface: { name: string; backend: 'kernel' | 'userspace'; splice: boolean } | null;
  /** The party's network, and the one in which this machine sees it: another one when the party's is in use here. */
  network?: { party: string; here: string } | undefined;
  /** This node first, then by name. */
  members: Member[];
  /** Networks that this node offers, and those of others that it uses. */
  offers: string[];
  accepts: { peer: string; network: string }[];
  /** Absent when this node does not relay for the others. */
  relay?: OwnRelay | undefined;
  /** Absent while the party is not up. */
  filter?: OwnFilter | undefined;
}
export const partySchema: z.ZodType<Party> = z.object({
  id: z.string(),
  name: z.string(),
  state: z.enum(['up', 'starting', 'failed', 'off']),
  problem: problemSchema.nullable(),
  servers: z.array(z.string()),
  connected: z.boolean(),
  address: z.string(),
  interface: z.object({ name: z.string(), backend: z.enum(['kernel', 'userspace']), splice: z.boolean() }).nullable(),
  network: z.object({ party: z.string(), here: z.string() }).optional(),
  members: z.array(memberSchema),
  offers: z.array(z.string()),
  accepts: z.array(z.object({ peer: z.string(), network: z.string() })),
  relay: ownRelaySchema.optional(),
  filter: ownFilterSchema.optional(),
});

/** An invite that was issued. */
export interface Invite {
  id: string;
  state: 'open' | 'expired' | 'revoked' | 'used up';
  role: string;
  issuer: string;
  uses: number;
  maxUses: number;
  expires: string;
}
export const inviteSchema: z.ZodType<Invite> = z.object({
  id: z.string(),
  state: z.enum(['open', 'expired', 'revoked', 'used up']),
  role: z.string(),
  issuer: z.string(),
  uses: z.number(),
  maxUses: z.number(),
  expires: instant,
});

/** Body of `POST /v1/parties/:party/invites`. */
export interface NewInvite {
  uses?: number | undefined;
  hours?: number | undefined;
  role?: 'member' | 'admin' | undefined;
}
export const newInviteSchema: z.ZodType<NewInvite> = z.strictObject({
  uses: z.int().min(1).max(1_000).optional(),
  hours: z.number().min(0.1).max(8_760).optional(),
  role: z.enum(['member', 'admin']).optional(),
});

/** Its answer. Whoever has the code or the link can join: show it, do not store it. */
export interface IssuedInvite {
  invite: Invite;
  /** Short code for `towpath party join CODE --server HOST`; null when no server could keep it. */
  code: string | null;
  /** For a QR code. */
  link: string;
  /** The command for the other machine. */
  command: string;
}
export const issuedInviteSchema: z.ZodType<IssuedInvite> = z.object({
  invite: inviteSchema,
  code: z.string().nullable(),
  link: z.string(),
  command: z.string(),
});

/** A relay of the party's control plane. */
export interface Relay {
  id: string;
  party: string;
  urls: string[];
  region: string;
  /** 0 idle … 1 full. */
  load: number;
  healthy: boolean;
  /** Names of the peers that are reached through it now. */
  peers: string[];
}
export const relaySchema: z.ZodType<Relay> = z.object({
  id: z.string(),
  party: z.string(),
  urls: z.array(z.string()),
  region: z.string(),
  load: z.number(),
  healthy: z.boolean(),
  peers: z.array(z.string()),
});
