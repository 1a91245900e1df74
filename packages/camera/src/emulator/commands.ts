import { CommandId } from '../artemis/command-id.ts';
import { Channel } from '../artemis/frame.ts';
import type { JsonObject } from '../artemis/json.ts';
import { FileType, type ItemId, type MediaItem } from '../artemis/media-item.ts';
import type { EmulatedCamera } from './emulated-camera.ts';
import { cardSpace, deviceInfoReply } from './device-info-reply.ts';
import { LIVE_HEIGHT, LIVE_WIDTH } from './media/live-scene.ts';
import {
  downloadSchema,
  itemSchema,
  listSchema,
  playbackSchema,
  settingsSchema,
  thumbnailsSchema,
} from './requests.ts';
import { type FrameSource, fileFrames, playbackFrames, recordedFrames, thumbnailFrames } from './transfers.ts';

/** Effects that a command may have on its session. */
export interface CommandContext {
  readonly camera: EmulatedCamera;
  startTransfer(channel: number, frames: FrameSource): boolean;
  stopTransfers(channel: number): void;
  startLive(): void;
  stopLive(): void;
}

/** The response, and what happens after it was sent. Undefined: no response. */
export type CommandOutcome = { readonly reply: JsonObject; readonly after?: () => void } | undefined;

type Handler = (context: CommandContext, request: JsonObject, seq: number) => CommandOutcome;

/** The real camera refuses larger pages (docs/protocol/artemis.md, "Media list"). */
const MAX_PAGE_ITEMS = 49;

const FAILED = -1;

/**
 * Executes one command after the login. Unknown commands and invalid fields get no response
 * (docs/protocol/artemis.md, "Errors").
 */
export function runCommand(context: CommandContext, id: number, request: JsonObject, seq: number): CommandOutcome {
  return HANDLERS.get(id)?.(context, request, seq);
}

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [CommandId.startAv, (context) => succeeded(CommandId.startAv, () => context.startLive())],
  [CommandId.stopAv, (context) => succeeded(CommandId.stopAv, () => context.stopLive())],
  [CommandId.deviceInfo, ({ camera }) => ({ reply: deviceInfoReply(camera) })],
  [CommandId.setDeviceInfo, setDeviceInfo],
  [CommandId.formatSdCard, formatCard],
  [CommandId.mediaList, listMedia],
  [CommandId.startPlayback, startPlayback],
  [CommandId.stopPlayback, stopPlayback],
  [CommandId.thumbnails, sendThumbnails],
  [CommandId.deleteItem, deleteItem],
  [CommandId.download, sendFiles],
]);

function succeeded(cmdId: number, after: () => void): CommandOutcome {
  return { reply: { errorMsg: 'Success', result: 0, cmdId }, after };
}

/** The payload is inferred: fields of the device information, each with a value of its present type. */
function setDeviceInfo({ camera }: CommandContext, request: JsonObject): CommandOutcome {
  if (camera.settingsPolicy === 'silent') return undefined;
  const fields = settingsSchema.safeParse(request);
  if (!fields.success) return undefined;
  const present = deviceInfoReply(camera);
  if (camera.settingsPolicy === 'accept') {
    for (const [field, value] of Object.entries(fields.data)) {
      if (typeof present[field] === typeof value) camera.settings.set(field, value);
    }
  }
  return succeeded(CommandId.setDeviceInfo, () => {});
}

function formatCard({ camera }: CommandContext): CommandOutcome {
  camera.card.format();
  const space = cardSpace(camera);
  return { reply: { errorMsg: 'Success', ...space, formatRet: 0, result: 0, cmdId: CommandId.formatSdCard } };
}

function listMedia({ camera }: CommandContext, request: JsonObject): CommandOutcome {
  const fields = listSchema.safeParse(request);
  if (!fields.success) return undefined;
  const { itemCntPerPage, pageNo } = fields.data;
  const tail = { result: 0, cmdId: CommandId.mediaList };
  if (itemCntPerPage > MAX_PAGE_ITEMS) {
    const why = `itemCntPerPage need less than ${MAX_PAGE_ITEMS + 1}`;
    return { reply: { mediaFiles: [], cnt: 0, pageNo, getMediaListRet: FAILED, errorMsg: why, ...tail } };
  }
  const mediaFiles = camera.hasCard ? camera.card.page(pageNo, itemCntPerPage).map(listEntry) : null;
  const cnt = mediaFiles?.length ?? 0;
  return { reply: { mediaFiles, cnt, pageNo, getMediaListRet: 0, errorMsg: 'Success', ...tail } };
}

function listEntry({ fileType, dirNum, mediaNum, durationMs, mediaId, mediaTime }: MediaItem): JsonObject {
  return { fileType, mediaDirNum: dirNum, mediaNum, durationMs, mediaId, mediaTime };
}

function sendThumbnails(context: CommandContext, request: JsonObject): CommandOutcome {
  const fields = thumbnailsSchema.safeParse(request);
  if (!fields.success) return undefined;
  const frames = thumbnailFrames(context.camera, fields.data.thumbnailReqs);
  return transfer(context, CommandId.thumbnails, Channel.thumbnail, frames);
}

function sendFiles(context: CommandContext, request: JsonObject, seq: number): CommandOutcome {
  const fields = downloadSchema.safeParse(request);
  if (!fields.success) return undefined;
  const frames = fileFrames(context.camera, fields.data.downloadReqs, seq);
  return transfer(context, CommandId.download, Channel.file, frames);
}

function transfer(context: CommandContext, cmdId: number, channel: number, frames: FrameSource): CommandOutcome {
  const after = () => {
    if (context.camera.secondTransfer === 'restart') context.stopTransfers(channel);
    context.startTransfer(channel, frames);
  };
  return { reply: { cmdRet: 0, result: 0, cmdId }, after };
}

function deleteItem({ camera }: CommandContext, request: JsonObject): CommandOutcome {
  const fields = itemSchema.safeParse(request);
  if (!fields.success) return undefined;
  const delRet = camera.card.delete(fields.data) ? 0 : FAILED;
  return { reply: { delRet, result: 0, cmdId: CommandId.deleteItem } };
}

function startPlayback(context: CommandContext, request: JsonObject): CommandOutcome {
  const fields = playbackSchema.safeParse(request);
  if (!fields.success) return undefined;
  const item = findVideo(context.camera, fields.data);
  const tail = { result: 0, cmdId: CommandId.startPlayback };
  if (item === undefined) {
    return { reply: { startPbRet: FAILED, videoWidth: 0, videoHeight: 0, totalFrame: 0, totalTime: 0, ...tail } };
  }
  const size = { videoWidth: LIVE_WIDTH, videoHeight: LIVE_HEIGHT };
  const length = { totalFrame: recordedFrames(item), totalTime: item.durationMs };
  return {
    reply: { startPbRet: 0, ...size, ...length, ...tail },
    after: () => {
      context.stopTransfers(Channel.playback);
      context.startTransfer(Channel.playback, playbackFrames(context.camera, item, fields.data.sessionNo));
    },
  };
}

function stopPlayback(context: CommandContext): CommandOutcome {
  return succeeded(CommandId.stopPlayback, () => context.stopTransfers(Channel.playback));
}

function findVideo({ card }: EmulatedCamera, id: ItemId): MediaItem | undefined {
  const item = card.find(id);
  return item === undefined || item.fileType === FileType.photo ? undefined : item;
}
