import { isAbsolute } from 'node:path';
import { cameraNameSchema } from '@towpath/dashboard/api';
import { isIpAddress } from '@towpath/net';
import { parseUid } from '@towpath/pppp';
import { z } from 'zod';
import { isOverTls, outputUrlFault, URL_BEGINNINGS } from '../../outputs/output-url.ts';
import { MIN_WAKE_MS, parseBytes, parseDuration, parseKeep, parseListen, TIME_OF_DAY } from './quantities.ts';

/** A camera in the file. */
export interface CameraFile {
  /** IP address or UID. */
  target: string;
  /** The member whose network it is in. */
  via?: string | undefined;
  keep?: string | undefined;
  'delete-from-card'?: 'never' | 'when-safe' | undefined;
  servers?: string[] | undefined;
  relays?: string[] | undefined;
  ports?: number[] | undefined;
  'search-port'?: number | undefined;
  uid?: string | undefined;
  key?: string | undefined;
  'secret-file'?: string | undefined;
  'time-zone'?: string | undefined;
  only?: ('lan' | 'p2p' | 'relay')[] | undefined;
  wake?: WakeFile | undefined;
  outputs?: OutputsFile | undefined;
}

/** When a camera that sleeps is woken. */
export interface WakeFile {
  /** Interval; or else `at`. */
  every?: string | undefined;
  /** Times of the day, `06:30`. */
  at?: string[] | undefined;
  /** Address of the camera in Bluetooth, or how its name begins. */
  bluetooth?: string | undefined;
  'bluetooth-adapter'?: string | undefined;
  /** Wi-Fi adapter that joins the camera's hotspot. */
  wifi?: string | undefined;
}

/** What the pictures and the video of a camera are handed on to. */
export interface OutputsFile {
  /** PORT or ADDRESS:PORT. */
  rtsp?: number | string | undefined;
  http?: number | string | undefined;
  /** More names by which the HTTP server may be called. */
  'allow-hosts'?: string[] | undefined;
  /** Given as a URL alone, or as a group. */
  mqtt?:
    | {
        url: string;
        user?: string | undefined;
        'password-file'?: string | undefined;
        ca?: string | undefined;
        'discovery-prefix'?: string | undefined;
      }
    | undefined;
  webhook?: { url: string; 'key-file'?: string | undefined } | undefined;
  exec?: string | undefined;
  export?: string | undefined;
  'password-file'?: string | undefined;
}

/** A party in the file. */
export interface PartyFile {
  /** Name, or the first characters of the id. */
  party: string;
  /** Networks that members may reach; with `members`, only those. */
  offer?: (string | { network: string; members: string[] })[] | undefined;
  accept?: { member: string; network: string }[] | undefined;
  policy?: 'auto' | 'direct-only' | 'relay-only' | 'lan-only' | undefined;
  redundant?: boolean | undefined;
  splice?: boolean | undefined;
  names?: boolean | undefined;
  lan?: boolean | undefined;
  network?: string | undefined;
  domain?: string | undefined;
  port?: number | undefined;
  mtu?: number | undefined;
  birthday?: boolean | undefined;
  'port-mapping'?: boolean | undefined;
  backend?: 'auto' | 'kernel' | 'userspace' | undefined;
  /** Relay for the other members. */
  relay?:
    | boolean
    | {
        port?: number | undefined;
        ports?: string | undefined;
        address?: string | undefined;
        sessions?: number | undefined;
        /** Kilobytes per second. */
        rate?: number | undefined;
        'allow-peer'?: string[] | undefined;
      }
    | undefined;
}

/** The configuration file, as it is written; every part can be left out. */
export interface ConfigFile {
  api?: { http?: boolean | undefined; port?: number | undefined } | undefined;
  log?: { level?: 'debug' | 'info' | 'warn' | 'error' | undefined; format?: 'text' | 'json' | undefined } | undefined;
  pictures?:
    | {
        folder?: string | undefined;
        keep?: string | undefined;
        'delete-from-card'?: 'never' | 'when-safe' | undefined;
        'check-every'?: string | undefined;
        reserve?: string | undefined;
      }
    | undefined;
  parties?: 'all' | 'none' | PartyFile[] | undefined;
  cameras?: Record<string, CameraFile> | undefined;
}

/** A group of settings; what is not a setting is refused with those that are. */
function group<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: ({ code }) =>
      code === 'unrecognized_keys' ? `known here: ${Object.keys(shape).join(', ')}` : 'must be a group of settings',
  });
}

function text(min: number, max: number, error: string): z.ZodString {
  return z
    .string({ error: missingOr(error) })
    .min(min, { error })
    .max(max, { error: `must be at most ${max} characters` });
}

function whole(min: number, max: number): z.ZodInt {
  const error = `must be a whole number from ${min} to ${max}`;
  return z
    .int({ error: missingOr(error) })
    .min(min, { error })
    .max(max, { error });
}

function oneOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, { error: `must be ${values.slice(0, -1).join(', ')} or ${values.at(-1)}` });
}

function list<Item extends z.ZodType>(item: Item, max: number, example: string): z.ZodArray<Item> {
  return z
    .array(item, { error: `must be a list, such as ${example}` })
    .max(max, { error: `must have at most ${max} entries` });
}

function missingOr(error: string): (issue: { input?: unknown }) => string {
  return ({ input }) => (input === undefined ? `is missing; it ${error}` : error);
}

const yesNo = z.boolean({ error: 'must be true or false' });
const KEEP = 'must be "forever", "90 days", "20 GB" or "90 days | 20 GB"';
const keep = z.string({ error: KEEP }).refine((given) => parseKeep(given) !== undefined, { error: KEEP });
const SIZE = 'must be a size such as "500 MB"';
const bytes = z.string({ error: SIZE }).refine((given) => parseBytes(given) !== undefined, { error: SIZE });
const DURATION = 'must be a time of 1 s or more, such as "60 s"';
const duration = z
  .string({ error: DURATION })
  .refine((given) => (parseDuration(given) ?? 0) >= 1_000, { error: DURATION });
const port = whole(0, 65_535);
const NETWORK = 'must be a network such as 192.168.43.0/24';
const network = z.string({ error: NETWORK }).regex(/^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/, { error: NETWORK });
const RANGE = 'must be a range such as 49152-65535';
const member = text(1, 200, 'must be the name or id of a member');
const deleteFromCard = oneOf(['never', 'when-safe']);

/** Whether a camera can be reached by this text: an IP address or a UID. */
export function isCameraTarget(text: string): boolean {
  if (isIpAddress(text)) return true;
  try {
    parseUid(text);
    return true;
  } catch {
    // Another text is an expected case.
    return false;
  }
}

const TARGET = 'must be an IP address or a UID';
const endpoint = text(1, 300, 'must be HOST or HOST:PORT');

const EVERY = 'must be an interval of 5 min or more, such as "2 h"';
const CLOCK_TIME = 'must be a time of the day such as "06:30", in quotes';
const name = text(1, 64, 'must be a name');

const wakeSchema: z.ZodType<WakeFile> = group({
  every: z
    .string({ error: EVERY })
    .refine((given) => (parseDuration(given) ?? 0) >= MIN_WAKE_MS, { error: EVERY })
    .optional(),
  at: list(z.string({ error: CLOCK_TIME }).regex(TIME_OF_DAY, { error: CLOCK_TIME }), 48, '["06:30", "18:00"]')
    .min(1, { error: 'must have at least one entry' })
    .optional(),
  bluetooth: text(1, 248, 'must be an address in Bluetooth, or how the name begins').optional(),
  'bluetooth-adapter': name.optional(),
  wifi: name.optional(),
});

const LISTEN = 'must be PORT or "ADDRESS:PORT"';
const listen = z
  .union([z.number(), z.string()], { error: LISTEN })
  .refine((given) => (parseListen(given)?.port ?? 0) > 0, { error: LISTEN });
const url = (kind: keyof typeof URL_BEGINNINGS) => {
  const error = `must be a URL that begins with ${URL_BEGINNINGS[kind]}`;
  return text(1, 2_000, error)
    .refine((given) => outputUrlFault(kind, given) !== 'protocol', { error })
    .refine((given) => outputUrlFault(kind, given) !== 'password', {
      error: `must not contain a password; it goes to "${kind === 'mqtt' ? 'password-file' : 'key-file'}"`,
    });
};
/** A URL alone is a group with it. */
function withUrl<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.preprocess((given) => (typeof given === 'string' ? { url: given } : given), group(shape));
}
const file = text(1, 4_096, 'must be the path of a file');

const outputsSchema: z.ZodType<OutputsFile> = group({
  rtsp: listen.optional(),
  http: listen.optional(),
  'allow-hosts': list(text(1, 253, 'must be the name of a host'), 32, '[camera.example.org]').optional(),
  mqtt: withUrl({
    url: url('mqtt'),
    user: text(1, 200, 'must be the name of a user').optional(),
    'password-file': file.optional(),
    ca: file.optional(),
    'discovery-prefix': text(1, 200, 'must be a topic, such as homeassistant').optional(),
  })
    .refine(({ url: broker, ca }) => ca === undefined || isOverTls(broker), {
      error: 'needs a broker over TLS, mqtts://',
      path: ['ca'],
    })
    .optional(),
  webhook: withUrl({ url: url('webhook'), 'key-file': file.optional() }).optional(),
  exec: text(1, 4_096, 'must be a command').optional(),
  export: text(1, 4_096, 'must be the absolute path of a folder')
    .refine(isAbsolute, {
      error: 'must be the absolute path of a folder',
    })
    .optional(),
  'password-file': file.optional(),
});

const cameraSchema: z.ZodType<CameraFile> = group({
  target: text(1, 253, TARGET).refine(isCameraTarget, { error: TARGET }),
  via: member.optional(),
  keep: keep.optional(),
  'delete-from-card': deleteFromCard.optional(),
  servers: list(endpoint, 16, '[198.51.100.7]').optional(),
  relays: list(endpoint, 16, '[198.51.100.7]').optional(),
  ports: list(whole(1, 65_535), 64, '[40611, 32100]').min(1, { error: 'must have at least one entry' }).optional(),
  'search-port': whole(1, 65_535).optional(),
  uid: text(1, 64, 'must be a UID, such as LBCS-000000-CCCJJ').optional(),
  key: text(1, 64, 'must be a network key, as text').optional(),
  'secret-file': text(1, 4_096, 'must be the path of a file').optional(),
  'time-zone': text(1, 64, 'must be a zone such as Europe/Berlin or +02:00').optional(),
  only: list(oneOf(['lan', 'p2p', 'relay']), 3, '[lan, p2p]')
    .min(1, { error: 'must have at least one entry' })
    .optional(),
  wake: wakeSchema.optional(),
  outputs: outputsSchema.optional(),
});

const partySchema: z.ZodType<PartyFile> = group({
  party: text(1, 200, 'must be the name or id of a party'),
  offer: list(
    z.union([network, group({ network, members: list(member, 1_000, '[ann]') })], { error: NETWORK }),
    16,
    '[192.168.43.0/24]',
  ).optional(),
  accept: list(group({ member, network }), 64, '[{ member: pi, network: 192.168.43.0/24 }]').optional(),
  policy: oneOf(['auto', 'direct-only', 'relay-only', 'lan-only']).optional(),
  redundant: yesNo.optional(),
  splice: yesNo.optional(),
  names: yesNo.optional(),
  lan: yesNo.optional(),
  network: text(1, 18, 'must be a private network of 16 bits, such as 10.77.0.0/16').optional(),
  domain: text(0, 253, 'must be a domain, such as internal').optional(),
  port: port.optional(),
  birthday: yesNo.optional(),
  'port-mapping': yesNo.optional(),
  mtu: whole(576, 9_000).optional(),
  backend: oneOf(['auto', 'kernel', 'userspace']).optional(),
  relay: z
    .union(
      [
        yesNo,
        group({
          port: whole(1, 65_535).optional(),
          ports: text(1, 11, RANGE)
            .regex(/^\d{1,5}-\d{1,5}$/, { error: RANGE })
            .optional(),
          address: text(1, 15, 'must be an IPv4 address').optional(),
          sessions: whole(1, 65_535).optional(),
          rate: whole(1, 10_000_000).optional(),
          'allow-peer': list(network, 16, '[192.168.43.0/24]').optional(),
        }),
      ],
      { error: 'must be true, false, or a group of settings' },
    )
    .optional(),
});

export const fileSchema: z.ZodType<ConfigFile> = group({
  api: group({ http: yesNo.optional(), port: port.optional() }).optional(),
  log: group({
    level: oneOf(['debug', 'info', 'warn', 'error']).optional(),
    format: oneOf(['text', 'json']).optional(),
  }).optional(),
  pictures: group({
    folder: text(1, 4_096, 'must be an absolute path').optional(),
    keep: keep.optional(),
    'delete-from-card': deleteFromCard.optional(),
    'check-every': duration.optional(),
    reserve: bytes.optional(),
  }).optional(),
  parties: z
    .union([z.enum(['all', 'none']), list(partySchema, 64, '[{ party: camp }]')], {
      error: 'must be all, none, or a list of parties, such as [{ party: camp }]',
    })
    .optional(),
  cameras: z.record(cameraNameSchema, cameraSchema, { error: 'must be a group of cameras by their names' }).optional(),
});
