import type { Endpoint } from '@towpath/net';
import { readU32, writeU32 } from './bytes.ts';
import { DSK_BYTES, readDsk, writeDsk } from './dsk.ts';
import {
  empty,
  type Format,
  type FormatTable,
  opaque,
  resultAndNotice,
  resultOnly,
  UID_AND_ADDRESS_BYTES,
  uidOnly,
} from './format.ts';
import { readSocketAddress, SOCKET_ADDRESS_BYTES, writeSocketAddress } from './socket-address.ts';
import { decodeUid, UID_BYTES, writeUid } from './uid.ts';

/** Library version: major, minor, patch. */
export type ApiVersion = readonly [number, number, number];

/** 0x10, and what 0x16 has in common with it. */
export interface DeviceLogin {
  uid: string;
  /** 0 unknown. */
  natType: number;
  version: ApiVersion;
  /** The device's local address and listen port. */
  local: Endpoint | undefined;
}

/** Fields of a P2P request, message 0x20; 0x26 adds to them. */
export interface ConnectRequest {
  uid: string;
  /** The client's local address; nothing but a candidate in its own LAN. */
  local: Endpoint | undefined;
}

/** Client or device and the rendezvous (docs/protocol/pppp.md, "Rendezvous messages"). */
export type RendezvousMessage =
  | { type: 'HELLO' }
  /** `address`: the sender of the HELLO as the server saw it. */
  | { type: 'HELLO_ACK'; address: Endpoint | undefined }
  | { type: 'HELLO_TO'; body: Uint8Array }
  | { type: 'HELLO_TO_ACK' }
  | { type: 'QUERY_DID'; body: Uint8Array }
  | { type: 'QUERY_DID_ACK'; body: Uint8Array }
  /** `continuity` is an extension: {@link CONTINUITY_BYTES} bytes that show that a login from elsewhere is of the same device. */
  | ({ type: 'DEV_LGN'; continuity?: Uint8Array } & DeviceLogin)
  | { type: 'DEV_LGN_ACK'; result: number }
  /** Undecoded: its cipher has a table and keys that are not documented (docs/protocol/pppp.md, "CRC login"). */
  | { type: 'DEV_LGN_CRC'; body: Uint8Array }
  | { type: 'DEV_LGN_CRC_ACK'; body: Uint8Array }
  | { type: 'DEV_LGN_KEY'; body: Uint8Array }
  | { type: 'DEV_LGN_KEY_ACK'; body: Uint8Array }
  /** The login with a device key, in the clear: as a private network uses it. */
  | ({ type: 'DEV_LGN_DSK'; dsk: string } & DeviceLogin)
  | { type: 'DEV_ONLINE_REQ'; uid: string }
  | { type: 'DEV_ONLINE_REQ_ACK'; secondsSinceLogin: number; result: number }
  | ({ type: 'P2P_REQ' } & ConnectRequest)
  /** `contested` is an extension: several devices claim the UID. */
  | { type: 'P2P_REQ_ACK'; result: number; contested?: true }
  | ({ type: 'P2P_REQ_DSK'; natType: number; version: ApiVersion; dsk: string } & ConnectRequest)
  | { type: 'SMART_PUNCH'; body: Uint8Array }
  | { type: 'PUNCH_TO'; address: Endpoint | undefined };

const DEV_LGN_BYTES = 40;

/** Length of the value with which a device without a secret shows that it is the same one as before. */
export const CONTINUITY_BYTES = 8;
/** Stands before it: "TWP1". */
const CONTINUITY_MARK: readonly number[] = [0x54, 0x57, 0x50, 0x31];
const CONTINUITY_AT: number = DEV_LGN_BYTES + 4;

const CHECK_BYTES = 4;
/**
 * The check bytes of the documented implementation ("CCCC"); another source has "++++" (docs/protocol/pppp.md, "CRC
 * login").
 */
const CHECK_FILL = 0x43;
const CHECK_FILL_OTHER = 0x2b;

export const rendezvousFormats: FormatTable<RendezvousMessage> = {
  HELLO: empty('HELLO'),
  HELLO_ACK: addressOnly('HELLO_ACK'),
  HELLO_TO: opaque('HELLO_TO'),
  HELLO_TO_ACK: empty('HELLO_TO_ACK'),
  QUERY_DID: opaque('QUERY_DID'),
  QUERY_DID_ACK: opaque('QUERY_DID_ACK'),
  DEV_LGN: {
    minBytes: DEV_LGN_BYTES,
    decode(payload) {
      const login = readLogin(payload);
      const continuity = readContinuity(payload);
      return login && { type: 'DEV_LGN', ...login, ...(continuity === undefined ? {} : { continuity }) };
    },
    size: ({ continuity }) => (continuity === undefined ? DEV_LGN_BYTES : CONTINUITY_AT + CONTINUITY_BYTES),
    encode(message, payload) {
      writeLogin(message, payload);
      if (message.continuity === undefined) return;
      payload.set(CONTINUITY_MARK, DEV_LGN_BYTES);
      payload.set(message.continuity.subarray(0, CONTINUITY_BYTES), CONTINUITY_AT);
    },
  },
  DEV_LGN_ACK: resultOnly('DEV_LGN_ACK'),
  DEV_LGN_CRC: opaque('DEV_LGN_CRC'),
  DEV_LGN_CRC_ACK: opaque('DEV_LGN_CRC_ACK'),
  DEV_LGN_KEY: opaque('DEV_LGN_KEY'),
  DEV_LGN_KEY_ACK: opaque('DEV_LGN_KEY_ACK'),
  DEV_LGN_DSK: {
    minBytes: DEV_LGN_BYTES + DSK_BYTES + CHECK_BYTES,
    decode(payload) {
      // The check bytes tell a login in the clear from one under the undocumented cipher.
      const fill = payload[64]!;
      if (fill !== CHECK_FILL && fill !== CHECK_FILL_OTHER) return undefined;
      if (payload[65] !== fill || payload[66] !== fill || payload[67] !== fill) return undefined;
      const login = readLogin(payload);
      const dsk = readDsk(payload, 40);
      return login && dsk !== undefined ? { type: 'DEV_LGN_DSK', ...login, dsk } : undefined;
    },
    encode(message, payload) {
      writeLogin(message, payload);
      writeDsk(payload, 40, message.dsk);
      payload.fill(CHECK_FILL, 64, 68);
    },
  },
  DEV_ONLINE_REQ: uidOnly('DEV_ONLINE_REQ'),
  DEV_ONLINE_REQ_ACK: {
    minBytes: 8,
    decode: (payload) => ({
      type: 'DEV_ONLINE_REQ_ACK',
      secondsSinceLogin: readU32(payload, 0),
      result: payload[4]!,
    }),
    encode(message, payload) {
      writeU32(payload, 0, message.secondsSinceLogin);
      payload[4] = message.result;
    },
  },
  P2P_REQ: {
    minBytes: UID_AND_ADDRESS_BYTES,
    decode(payload) {
      const uid = decodeUid(payload, 0);
      return uid === undefined ? undefined : { type: 'P2P_REQ', uid, local: readSocketAddress(payload, 20) };
    },
    encode(message, payload) {
      writeUid(payload, 0, message.uid);
      writeSocketAddress(payload, 20, message.local);
    },
  },
  P2P_REQ_ACK: resultAndNotice('P2P_REQ_ACK'),
  P2P_REQ_DSK: {
    minBytes: UID_AND_ADDRESS_BYTES + 4 + DSK_BYTES,
    decode(payload) {
      const uid = decodeUid(payload, 0);
      const dsk = readDsk(payload, 40);
      if (uid === undefined || dsk === undefined) return undefined;
      const local = readSocketAddress(payload, 20);
      return { type: 'P2P_REQ_DSK', uid, local, natType: payload[36]!, version: readVersion(payload, 37), dsk };
    },
    encode(message, payload) {
      writeUid(payload, 0, message.uid);
      writeSocketAddress(payload, 20, message.local);
      payload[36] = message.natType;
      payload.set(message.version, 37);
      writeDsk(payload, 40, message.dsk);
    },
  },
  SMART_PUNCH: opaque('SMART_PUNCH'),
  PUNCH_TO: addressOnly('PUNCH_TO'),
};

function addressOnly<T extends string>(type: T): Format<{ type: T; address: Endpoint | undefined }> {
  return {
    minBytes: SOCKET_ADDRESS_BYTES,
    decode: (payload) => ({ type, address: readSocketAddress(payload, 0) }),
    encode: (message, payload) => writeSocketAddress(payload, 0, message.address),
  };
}

function readLogin(payload: Uint8Array): DeviceLogin | undefined {
  const uid = decodeUid(payload, 0);
  if (uid === undefined) return undefined;
  return { uid, natType: payload[20]!, version: readVersion(payload, 21), local: readSocketAddress(payload, 24) };
}

function readContinuity(payload: Uint8Array): Uint8Array | undefined {
  if (payload.length < CONTINUITY_AT + CONTINUITY_BYTES) return undefined;
  if (CONTINUITY_MARK.some((byte, at) => payload[DEV_LGN_BYTES + at] !== byte)) return undefined;
  return payload.subarray(CONTINUITY_AT, CONTINUITY_AT + CONTINUITY_BYTES);
}

function writeLogin(login: DeviceLogin, payload: Uint8Array): void {
  writeUid(payload, 0, login.uid);
  payload[UID_BYTES] = login.natType;
  payload.set(login.version, 21);
  writeSocketAddress(payload, 24, login.local);
}

function readVersion(payload: Uint8Array, at: number): ApiVersion {
  return [payload[at]!, payload[at + 1]!, payload[at + 2]!];
}
