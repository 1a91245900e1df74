import { z } from 'zod';
import {
  instant,
  type PathKind,
  pathKindSchema,
  type Problem,
  problemSchema,
  type Race,
  raceSchema,
} from './common.ts';

/** Letters, digits, `-` and `_`: it is also the name of the folder of its pictures. */
export const cameraNameSchema: z.ZodString = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$/, 'letters, digits, - and _, at most 40, the first a letter or digit');

/** How long pictures are kept on this machine, and when they are deleted from the card. */
export interface Retention {
  /** null: for ever. */
  keepDays: number | null;
  /** null: no limit. */
  keepBytes: number | null;
  /** `when-safe`: when the file is on disk, verified, and synced. */
  deleteFromCard: 'never' | 'when-safe';
}
export const retentionSchema: z.ZodType<Retention> = z.object({
  keepDays: z.number().positive().nullable(),
  keepBytes: z.number().positive().nullable(),
  deleteFromCard: z.enum(['never', 'when-safe']),
});

/** A receiver of pictures that does not take them. `at` is since when. */
export interface OutputProblem extends Problem {
  output: 'mqtt' | 'webhook' | 'exec' | 'export';
  /** Pictures that wait until it works again. */
  waiting: number;
}
const outputProblemSchema: z.ZodType<OutputProblem> = z.intersection(
  problemSchema,
  z.object({ output: z.enum(['mqtt', 'webhook', 'exec', 'export']), waiting: z.number() }),
);

/** A camera that the daemon holds. */
export interface Camera {
  /** Unique; the `:camera` of paths. */
  name: string;
  /** Address or UID, as it was added. */
  target: string;
  /** The member whose network it is in. */
  via: string | null;
  /** `asleep`: it is woken at its next visit. */
  state: 'connecting' | 'connected' | 'reconnecting' | 'waiting' | 'asleep' | 'stopped';
  /** Since when it is in this state. */
  since: string;
  /** Why it is not connected, or why its pictures are not fetched. */
  problem: Problem | null;
  /** Outputs that fail; each is gone when its receiver has taken something. */
  outputProblems: OutputProblem[];
  /** When the next attempt begins, while it is `waiting`, or the next visit, while it is `asleep`. */
  nextTryAt: string | null;
  path: { kind: PathKind; endpoint: string; rttMs: number | null } | null;
  /** The race of the last connect. */
  race: Race | null;
  /** As the camera said last; null before it said anything. */
  device: {
    id: string;
    model: string | null;
    firmware: string | null;
    /** When it said so. */
    at: string;
    battery: { percent: number; charging: boolean } | null;
    card: { totalMb: number; freeMb: number; error: boolean } | null;
    /** °C. */
    temperature: number | null;
    /** dBm; null for cameras that do not tell it. */
    signalDbm: number | null;
  } | null;
  pictures: {
    /** On the card at the last check; null before the first. */
    onCard: number | null;
    /** On disk here. */
    saved: number;
    /** On the card and not here. */
    missing: number | null;
    /** Size of those that are here. */
    bytes: number;
    newestAt: string | null;
    /** When the card was listed last. */
    checkedAt: string | null;
  };
  retention: Retention;
}
export const cameraSchema: z.ZodType<Camera> = z.object({
  name: z.string(),
  target: z.string(),
  via: z.string().nullable(),
  state: z.enum(['connecting', 'connected', 'reconnecting', 'waiting', 'asleep', 'stopped']),
  since: instant,
  problem: problemSchema.nullable(),
  outputProblems: z.array(outputProblemSchema),
  nextTryAt: instant.nullable(),
  path: z.object({ kind: pathKindSchema, endpoint: z.string(), rttMs: z.number().nullable() }).nullable(),
  race: raceSchema.nullable(),
  device: z
    .object({
      id: z.string(),
      model: z.string().nullable(),
      firmware: z.string().nullable(),
      at: instant,
      battery: z.object({ percent: z.number(), charging: z.boolean() }).nullable(),
      card: z.object({ totalMb: z.number(), freeMb: z.number(), error: z.boolean() }).nullable(),
      temperature: z.number().nullable(),
      signalDbm: z.number().nullable(),
    })
    .nullable(),
  pictures: z.object({
    onCard: z.number().nullable(),
    saved: z.number(),
    missing: z.number().nullable(),
    bytes: z.number(),
    newestAt: instant.nullable(),
    checkedAt: instant.nullable(),
  }),
  retention: retentionSchema,
});

/** Body of `POST /v1/cameras`. */
export interface NewCamera {
  name: string;
  /** IP address, host name, or UID. */
  target: string;
  via?: string | undefined;
  /** `90 days`, `20 GB`, `90 days | 20 GB`, `forever`. */
  keep?: string | undefined;
  deleteFromCard?: 'never' | 'when-safe' | undefined;
}
export const newCameraSchema: z.ZodType<NewCamera> = z.strictObject({
  name: cameraNameSchema,
  target: z.string().min(1).max(253),
  via: z.string().min(1).max(200).optional(),
  keep: z.string().max(100).optional(),
  deleteFromCard: z.enum(['never', 'when-safe']).optional(),
});

/** A picture or video, on the card or here. */
export interface MediaItem {
  /** Of this camera; the `:media` of paths. */
  id: string;
  kind: 'photo' | 'video';
  /** `100/318`: folder and number on the card. */
  name: string;
  /** With the offset of the camera's zone; null when the camera gave no time. */
  takenAt: string | null;
  /** Day of `takenAt` in the camera's zone, `2026-05-01`; `unknown` without a time. */
  day: string;
  durationMs: number;
  /** Size of the file; null while it is not here. */
  bytes: number | null;
  onCard: boolean;
  /** The file is here. */
  saved: boolean;
  /** GET. An item without a thumbnail here is asked of the camera; 404 when it cannot be had now. */
  thumbnailUrl: string;
  /** GET, with ranges; null while it is not here. `?download` makes it an attachment. */
  fileUrl: string | null;
}
export const mediaItemSchema: z.ZodType<MediaItem> = z.object({
  id: z.string(),
  kind: z.enum(['photo', 'video']),
  name: z.string(),
  takenAt: instant.nullable(),
  day: z.string(),
  durationMs: z.number(),
  bytes: z.number().nullable(),
  onCard: z.boolean(),
  saved: z.boolean(),
  thumbnailUrl: z.string(),
  fileUrl: z.string().nullable(),
});

/** `GET /v1/cameras/:camera/days`, newest first. */
export interface MediaDay {
  /** `2026-05-01`, or `unknown`. */
  day: string;
  photos: number;
  videos: number;
}
export const mediaDaySchema: z.ZodType<MediaDay> = z.object({
  day: z.string(),
  photos: z.number(),
  videos: z.number(),
});

/** `GET /v1/cameras/:camera/media?day=&after=&limit=`, newest first. */
export interface MediaList {
  items: MediaItem[];
  /** For `after` of the next request; null at the end. */
  next: string | null;
}
export const mediaListSchema: z.ZodType<MediaList> = z.object({
  items: z.array(mediaItemSchema),
  next: z.string().nullable(),
});

/** Body of `POST /v1/cameras/:camera/downloads`. */
export interface NewDownload {
  /** Ids; without them, all that are on the card and not here. */
  items?: string[] | undefined;
}
export const newDownloadSchema: z.ZodType<NewDownload> = z.strictObject({
  items: z.array(z.string().max(100)).min(1).max(10_000).optional(),
});

/** Files on their way from a card to this machine. */
export interface Download {
  id: string;
  camera: string;
  state: 'running' | 'done' | 'failed' | 'cancelled';
  startedAt: string;
  done: number;
  wanted: number;
  bytes: number;
  bytesPerSecond: number;
  /** Ids of the items that could not be had. */
  failed: string[];
  problem: Problem | null;
}
export const downloadSchema: z.ZodType<Download> = z.object({
  id: z.string(),
  camera: z.string(),
  state: z.enum(['running', 'done', 'failed', 'cancelled']),
  startedAt: instant,
  done: z.number(),
  wanted: z.number(),
  bytes: z.number(),
  bytesPerSecond: z.number(),
  failed: z.array(z.string()),
  problem: problemSchema.nullable(),
});

/** Body of `POST /v1/cameras/:camera/delete`. */
export interface DeleteMedia {
  items: string[];
  /** `card`: only those whose file is here are deleted, unless `evenUnsaved`. */
  from: 'card' | 'disk' | 'both';
  evenUnsaved?: boolean | undefined;
  /** The camera's name once more: nothing is deleted by mistake. */
  confirm: string;
}
export const deleteMediaSchema: z.ZodType<DeleteMedia> = z.strictObject({
  items: z.array(z.string().max(100)).min(1).max(1_000),
  from: z.enum(['card', 'disk', 'both']),
  evenUnsaved: z.boolean().optional(),
  confirm: z.string(),
});

/** Its answer. */
export interface DeletedMedia {
  deleted: string[];
  failed: { id: string; problem: Problem }[];
}
export const deletedMediaSchema: z.ZodType<DeletedMedia> = z.object({
  deleted: z.array(z.string()),
  failed: z.array(z.object({ id: z.string(), problem: problemSchema })),
});

/** First message, as text, of the WebSocket `GET /v1/cameras/:camera/live`. */
export interface LiveStart {
  type: 'start';
  /** `avc1.42c01e`, for WebCodecs; chunks are Annex B. */
  codec: string;
  width: number;
  height: number;
}
/** Last message, as text, before the server closes it. */
export interface LiveEnd {
  type: 'end';
  problem: Problem | null;
}
export const liveMessageSchema: z.ZodType<LiveStart | LiveEnd> = z.union([
  z.object({ type: z.literal('start'), codec: z.string(), width: z.number(), height: z.number() }),
  z.object({ type: z.literal('end'), problem: problemSchema.nullable() }),
]);
