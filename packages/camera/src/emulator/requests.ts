import { z } from 'zod';
import type { ItemId } from '../artemis/media-item.ts';

/**
 * Request fields that the emulator reads (docs/protocol/artemis.md, "Requests and responses", "Login",
 * "Commands").
 */

/** Numbers of folders and items have 16 bits on the wire. */
const MAX_UINT16 = 0xffff;
const MAX_UINT32 = 0xffff_ffff;

/** More than a page of the list, and small enough to bound the work of one request. */
const MAX_REQUESTED_ITEMS = 1000;

interface LoginRequest {
  readonly usrName: string;
  readonly password: string;
  readonly utcTime?: number | undefined;
}

interface ListRequest {
  readonly itemCntPerPage: number;
  readonly pageNo: number;
}

interface PlaybackRequest extends ItemId {
  readonly sessionNo: number;
}

const itemFields = {
  fileType: z.int().min(0).max(255),
  dirNum: z.int().min(0).max(MAX_UINT16),
  mediaNum: z.int().min(0).max(MAX_UINT16),
};
const items = z.array(z.object(itemFields)).max(MAX_REQUESTED_ITEMS);

export const loginSchema: z.ZodType<LoginRequest> = z.object({
  usrName: z.string(),
  password: z.string(),
  utcTime: z.number().min(0).max(MAX_UINT32).optional(),
});
export const listSchema: z.ZodType<ListRequest> = z.object({ itemCntPerPage: z.int().min(1), pageNo: z.int().min(0) });
export const thumbnailsSchema: z.ZodType<{ thumbnailReqs: ItemId[] }> = z.object({ thumbnailReqs: items });
export const downloadSchema: z.ZodType<{ downloadReqs: ItemId[] }> = z.object({ downloadReqs: items });
export const itemSchema: z.ZodType<ItemId> = z.object(itemFields);
export const playbackSchema: z.ZodType<PlaybackRequest> = z.object({
  ...itemFields,
  sessionNo: z.int().min(0).max(MAX_UINT32),
});

/** More than any value of the device information. */
const MAX_SETTING_CHARS = 64;

/** Settings besides the fields that every request has. */
export const settingsSchema: z.ZodType<Record<string, string | number | boolean>> = z
  .record(z.string().max(MAX_SETTING_CHARS), z.union([z.string().max(MAX_SETTING_CHARS), z.number(), z.boolean()]))
  .transform(({ cmdId: _cmdId, token: _token, ...fields }) => fields);
