import { z } from 'zod';
import type { CameraErrorDetails } from './camera-error.ts';
import { CommandId } from './command-id.ts';
import { type DeviceInfo, parseDeviceInfo } from './device-info.ts';
import type { JsonObject } from './json.ts';
import { type ItemId, type MediaPage, parseMediaPage } from './media-item.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/** The commands whose payload is known. spec/artemis.md §7; time limits after §11 and §15. */

/** One command: what it sends, what comes back, how long to wait. */
export interface Command<Fields, Response> {
  readonly id: number;
  /** How long an answer may take, ms. Cameras refuse by silence, so every command has a limit. */
  readonly timeLimitMs: number;
  /** Reads a successful answer. */
  parse(json: JsonObject): Decoded<Response>;
  /** Fields of the request besides `cmdId` and `token`; only a type. */
  readonly fields?: Fields;
}

/** Latencies on a LAN are 60 to 420 ms. */
export const COMMAND_TIME_LIMIT_MS = 2000;

/** A page of 45 items takes up to 1.2 s. */
const LIST_TIME_LIMIT_MS = 5000;

/** Formatting a card of 128 GB takes tens of seconds on such hardware. */
const FORMAT_TIME_LIMIT_MS = 60_000;

export type NoFields = Readonly<Record<never, never>>;

export interface LoginFields {
  readonly usrName: string;
  readonly password: string;
  readonly needVideo: 0 | 1;
  readonly needAudio: 0 | 1;
  /** Seconds since 1970 of the local wall clock read as if it were UTC; the camera sets its clock from it. */
  readonly utcTime: number;
  readonly supportHeartBeat: boolean;
}

export interface LoginResponse {
  /** Goes into every later command. */
  readonly token: number;
}

const loginSchema = z.object({ token: z.int() });

export const login: Command<LoginFields, LoginResponse> = {
  id: CommandId.login,
  timeLimitMs: COMMAND_TIME_LIMIT_MS,
  parse: (json) => parseWith(loginSchema, json, 'The login response has no token.'),
};

/** A command of which only success or failure is known. */
function plain<Fields = NoFields>(id: number, timeLimitMs = COMMAND_TIME_LIMIT_MS): Command<Fields, JsonObject> {
  return { id, timeLimitMs, parse: decoded };
}

export const startAv: Command<NoFields, JsonObject> = plain(CommandId.startAv);
export const stopAv: Command<NoFields, JsonObject> = plain(CommandId.stopAv);

export const deviceInfo: Command<NoFields, DeviceInfo> = {
  id: CommandId.deviceInfo,
  timeLimitMs: COMMAND_TIME_LIMIT_MS,
  parse: parseDeviceInfo,
};

export interface CardSpace {
  readonly sdTotalMB?: number;
  readonly sdFreeMB?: number;
}

const count = z.number().min(0).optional().catch(undefined);
const cardSpaceSchema = z.object({ sdTotalMB: count, sdFreeMB: count });

export const formatSdCard: Command<NoFields, CardSpace> = {
  id: CommandId.formatSdCard,
  timeLimitMs: FORMAT_TIME_LIMIT_MS,
  parse: (json) => parseWith(cardSpaceSchema, json, 'The answer to the format command is not understood.'),
};

export interface MediaListFields {
  /** Below 50; the vendor's app always asks for 45. */
  readonly itemCntPerPage: number;
  /** From 0. */
  readonly pageNo: number;
}

export const mediaList: Command<MediaListFields, MediaPage> = {
  id: CommandId.mediaList,
  timeLimitMs: LIST_TIME_LIMIT_MS,
  parse: parseMediaPage,
};

export interface PlaybackFields extends ItemId {
  /** Comes back in every frame of this playback. */
  readonly sessionNo: number;
}

export interface PlaybackInfo {
  readonly videoWidth?: number;
  readonly videoHeight?: number;
  readonly totalFrame?: number;
  readonly totalTime?: number;
}

const playbackSchema = z.object({ videoWidth: count, videoHeight: count, totalFrame: count, totalTime: count });

export const startPlayback: Command<PlaybackFields, PlaybackInfo> = {
  id: CommandId.startPlayback,
  timeLimitMs: COMMAND_TIME_LIMIT_MS,
  parse: (json) => parseWith(playbackSchema, json, 'The answer to the playback command is not understood.'),
};

export const stopPlayback: Command<NoFields, JsonObject> = plain(CommandId.stopPlayback);

export interface ThumbnailFields {
  readonly thumbnailReqs: readonly ItemId[];
}

export const thumbnails: Command<ThumbnailFields, JsonObject> = plain(CommandId.thumbnails);

export const deleteItem: Command<ItemId, JsonObject> = plain(CommandId.deleteItem);

export interface DownloadFields {
  readonly downloadReqs: readonly ItemId[];
}

export const download: Command<DownloadFields, JsonObject> = plain(CommandId.download);

/** Commands that carry no token. */
export function needsToken(id: number): boolean {
  return id !== CommandId.login && id !== CommandId.heartbeat;
}

/** The text of a request: `cmdId` first, the token last, as the vendor's library writes it. spec/artemis.md §4.1. */
export function requestText(id: number, fields: object, token?: number): string {
  return JSON.stringify(token === undefined ? { cmdId: id, ...fields } : { cmdId: id, ...fields, token });
}

/** The fields in which an answer may say that the command failed: all that are there must be 0. spec/artemis.md §11. */
const STATUS_FIELDS = [
  'result',
  'cmdRet',
  'getMediaListRet',
  'startPbRet',
  'delRet',
  'formatRet',
  'errorCode',
] as const;

/** Undefined for an answer that reports success; else the fields that say otherwise, and the camera's text. */
export function refusal(json: JsonObject): CameraErrorDetails | undefined {
  const details: Record<string, string | number> = {};
  for (const field of STATUS_FIELDS) {
    const value = json[field];
    if (typeof value === 'number' && value !== 0) details[field] = value;
  }
  if (Object.keys(details).length === 0) return undefined;
  const { errorMsg } = json;
  if (typeof errorMsg === 'string') details.errorMsg = errorMsg.slice(0, MAX_ERROR_TEXT_CHARS);
  return details;
}

/** Texts seen are shorter than 40 characters. */
const MAX_ERROR_TEXT_CHARS = 200;

function parseWith<Schema extends z.ZodType>(
  schema: Schema,
  json: JsonObject,
  message: string,
): Decoded<z.infer<Schema>> {
  const parsed = schema.safeParse(json);
  return parsed.success ? decoded(parsed.data) : undecodable('unexpected-fields', message);
}
