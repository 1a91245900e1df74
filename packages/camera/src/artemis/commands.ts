import { z } from 'zod';
import type { CameraErrorDetails } from './camera-error.ts';
import { CommandId } from './command-id.ts';
import { type DeviceInfo, parseDeviceInfo } from './device-info.ts';
import type { JsonObject } from './json.ts';
import { type ItemId, type MediaPage, parseMediaPage } from './media-item.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/** The commands with known payload. docs/protocol/artemis.md, "Commands", "Errors", "Timing". */

/** One command: request fields, response parser and time limit. */
export interface Command<Fields, Response> {
  readonly id: number;
  /** Time limit of the response, ms. Cameras refuse commands by silence, so every command has one. */
  readonly timeLimitMs: number;
  /** Parses a successful response. */
  parse(json: JsonObject): Decoded<Response>;
  /** Fields of the request besides `cmdId` and `token`; only a type. */
  readonly fields?: Fields;
}

/** Latencies on a LAN are 60 to 420 ms. */
export const COMMAND_TIME_LIMIT_MS = 2000;

/** A page of 45 items takes up to 1.2 s. */
const LIST_TIME_LIMIT_MS = 5000;

/** Formatting a card of 128 GB takes tens of seconds on this hardware. */
const FORMAT_TIME_LIMIT_MS = 60_000;

export type NoFields = Readonly<Record<never, never>>;

export interface LoginFields {
  readonly usrName: string;
  readonly password: string;
  readonly needVideo: 0 | 1;
  readonly needAudio: 0 | 1;
  /**
   * Seconds since 1970 of the local wall clock read as if it were UTC; the camera sets its clock from it. Without it
   * the clock is kept.
   */
  readonly utcTime?: number;
  readonly supportHeartBeat: boolean;
}

export interface LoginResponse {
  /** Part of every later request. */
  readonly token: number;
}

const loginSchema = z.object({ token: z.int() });

export const login: Command<LoginFields, LoginResponse> = {
  id: CommandId.login,
  timeLimitMs: COMMAND_TIME_LIMIT_MS,
  parse: (json) => parseWith(loginSchema, json, 'The login response has no token.'),
};

/** A command whose response contains success or failure only. */
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
  readonly sdTotalMB?: number | undefined;
  readonly sdFreeMB?: number | undefined;
}

const count = z.number().min(0).optional().catch(undefined);
const cardSpaceSchema = z.object({ sdTotalMB: count, sdFreeMB: count });

export const formatSdCard: Command<NoFields, CardSpace> = {
  id: CommandId.formatSdCard,
  timeLimitMs: FORMAT_TIME_LIMIT_MS,
  parse: (json) => parseWith(cardSpaceSchema, json, 'The response to the format command is malformed.'),
};

export interface MediaListFields {
  /** Below 50; the vendor's application uses 45. */
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
  /** Returned in every frame of this playback. */
  readonly sessionNo: number;
}

export interface PlaybackInfo {
  readonly videoWidth?: number | undefined;
  readonly videoHeight?: number | undefined;
  readonly totalFrame?: number | undefined;
  readonly totalTime?: number | undefined;
}

const playbackSchema = z.object({ videoWidth: count, videoHeight: count, totalFrame: count, totalTime: count });

export const startPlayback: Command<PlaybackFields, PlaybackInfo> = {
  id: CommandId.startPlayback,
  timeLimitMs: COMMAND_TIME_LIMIT_MS,
  parse: (json) => parseWith(playbackSchema, json, 'The response to the playback command is malformed.'),
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

/** Commands without a token. */
export function needsToken(id: number): boolean {
  return id !== CommandId.login && id !== CommandId.heartbeat;
}

/**
 * Returns the text of a request: `cmdId` first, the token last, as the vendor's library writes it.
 * docs/protocol/artemis.md,
 * "Requests and responses".
 */
export function requestText(id: number, fields: object, token?: number): string {
  return JSON.stringify(token === undefined ? { cmdId: id, ...fields } : { cmdId: id, ...fields, token });
}

/**
 * Response fields that can report a failure: all that are present must be 0.
 * docs/protocol/artemis.md, "Errors".
 */
const STATUS_FIELDS = [
  'result',
  'cmdRet',
  'getMediaListRet',
  'startPbRet',
  'delRet',
  'formatRet',
  'errorCode',
] as const;

/** Returns undefined for a successful response, else the fields that report the failure, and the camera's text. */
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

/** Observed texts are shorter than 40 characters. */
const MAX_ERROR_TEXT_CHARS = 200;

function parseWith<Schema extends z.ZodType>(
  schema: Schema,
  json: JsonObject,
  message: string,
): Decoded<z.infer<Schema>> {
  const parsed = schema.safeParse(json);
  return parsed.success ? decoded(parsed.data) : undecodable('unexpected-fields', message);
}
