import type { Endpoint } from '@towpath/net';
import { readU16, readU32, writeU16, writeU32 } from './bytes.ts';
import { CodecError } from './codec-error.ts';
import { DSK_BYTES, readDsk, writeDsk } from './dsk.ts';
import {
  empty,
  type FormatTable,
  opaque,
  resultAndNotice,
  resultOnly,
  UID_AND_ADDRESS_BYTES,
  uidOnly,
} from './format.ts';
import { readSocketAddress, SOCKET_ADDRESS_BYTES, writeSocketAddress } from './socket-address.ts';
import { decodeUid, UID_BYTES, writeUid } from './uid.ts';

/** Relays, towards the rendezvous and the relay itself (docs/protocol/pppp.md, "Relay messages"). `magic` is a u32. */
export type RelayMessage =
  /** TCP relay of the vendor: bodies not documented. */
  | { type: 'TCP_RLY_LGN'; body: Uint8Array }
  | { type: 'TCP_RLY_START'; body: Uint8Array }
  | { type: 'TCP_RLY_REQ'; body: Uint8Array }
  | { type: 'TCP_RLY_ACK'; body: Uint8Array }
  | { type: 'RS_LGN'; uid: string; bandwidth: number; users: number }
  | { type: 'RS_LGN_ACK'; result: number }
  | { type: 'RS_LGN1'; uid: string; bandwidth: number; users: number; address: Endpoint | undefined }
  | { type: 'RS_LGN1_ACK'; result: number }
  | { type: 'LIST_REQ1'; uid: string }
  | { type: 'LIST_REQ' }
  /** `relays`: base ports, at most {@link MAX_LISTED_RELAYS}; empty means there is none. */
  | { type: 'LIST_REQ_ACK'; relays: readonly Endpoint[] }
  | { type: 'LIST_REQ_DSK'; uid: string; dsk: string }
  | { type: 'RLY_HELLO' }
  | { type: 'RLY_HELLO_ACK' }
  /** `uid` is an extension: a client may name the device; the request then has the length of its answer. */
  | { type: 'RLY_PORT'; uid: string | undefined }
  | { type: 'RLY_PORT_ACK'; magic: number; port: number }
  | { type: 'RLY_PORT_KEY'; body: Uint8Array }
  | { type: 'RLY_PORT_KEY_ACK'; body: Uint8Array }
  | { type: 'RLY_BYTE_COUNT'; bytes: number }
  /**
   * `dsk` is an extension, laid out as in P2P_REQ_DSK: in PPPP only LIST_REQ_DSK carries a secret on the way to a
   * relay.
   */
  | { type: 'RLY_REQ'; uid: string; relay: Endpoint | undefined; magic: number; dsk?: string }
  /** `contested` is an extension: several devices claim the UID. */
  | { type: 'RLY_REQ_ACK'; result: number; contested?: true }
  | { type: 'RLY_TO'; relay: Endpoint | undefined; magic: number }
  | { type: 'RLY_PKT'; magic: number; uid: string; side: 'client' | 'device' }
  | { type: 'RLY_RDY'; uid: string }
  | { type: 'RLY_TO_ACK'; body: Uint8Array }
  | { type: 'RLY_SERVER_REQ'; body: Uint8Array };

/** The most relays that a list carries (docs/protocol/pppp.md, "Relay messages"). */
export const MAX_LISTED_RELAYS = 8;

const RS_LGN_BYTES = 28;
const RLY_REQ_BYTES: number = UID_AND_ADDRESS_BYTES + 4;

export const relayFormats: FormatTable<RelayMessage> = {
  TCP_RLY_LGN: opaque('TCP_RLY_LGN'),
  TCP_RLY_START: opaque('TCP_RLY_START'),
  TCP_RLY_REQ: opaque('TCP_RLY_REQ'),
  TCP_RLY_ACK: opaque('TCP_RLY_ACK'),
  RS_LGN: {
    minBytes: RS_LGN_BYTES,
    decode(payload) {
      const load = readLoad(payload);
      return load && { type: 'RS_LGN', ...load };
    },
    encode: writeLoad,
  },
  RS_LGN_ACK: resultOnly('RS_LGN_ACK'),
  RS_LGN1: {
    minBytes: RS_LGN_BYTES + SOCKET_ADDRESS_BYTES,
    decode(payload) {
      const load = readLoad(payload);
      return load && { type: 'RS_LGN1', ...load, address: readSocketAddress(payload, 28) };
    },
    encode(message, payload) {
      writeLoad(message, payload);
      writeSocketAddress(payload, 28, message.address);
    },
  },
  RS_LGN1_ACK: resultOnly('RS_LGN1_ACK'),
  LIST_REQ1: uidOnly('LIST_REQ1'),
  LIST_REQ: empty('LIST_REQ'),
  LIST_REQ_ACK: {
    minBytes: 4,
    size: (message) => 4 + SOCKET_ADDRESS_BYTES * message.relays.length,
    decode(payload) {
      const count = payload[0]!;
      if (count > MAX_LISTED_RELAYS || payload.length < 4 + SOCKET_ADDRESS_BYTES * count) return undefined;
      const relays: Endpoint[] = [];
      for (let i = 0; i < count; i++) {
        const relay = readSocketAddress(payload, 4 + SOCKET_ADDRESS_BYTES * i);
        if (relay) relays.push(relay);
      }
      return { type: 'LIST_REQ_ACK', relays };
    },
    encode(message, payload) {
      if (message.relays.length > MAX_LISTED_RELAYS) {
        throw new CodecError('too-large', `A list has at most ${MAX_LISTED_RELAYS} relays.`);
      }
      payload[0] = message.relays.length;
      message.relays.forEach((relay, i) => {
        writeSocketAddress(payload, 4 + SOCKET_ADDRESS_BYTES * i, relay);
      });
    },
  },
  LIST_REQ_DSK: {
    minBytes: UID_BYTES + DSK_BYTES,
    decode(payload) {
      const uid = decodeUid(payload, 0);
      const dsk = readDsk(payload, 20);
      return uid === undefined || dsk === undefined ? undefined : { type: 'LIST_REQ_DSK', uid, dsk };
    },
    encode(message, payload) {
      writeUid(payload, 0, message.uid);
      writeDsk(payload, 20, message.dsk);
    },
  },
  RLY_HELLO: empty('RLY_HELLO'),
  RLY_HELLO_ACK: empty('RLY_HELLO_ACK'),
  RLY_PORT: {
    minBytes: 0,
    size: (message) => (message.uid === undefined ? 0 : UID_BYTES),
    decode: (payload) => ({ type: 'RLY_PORT', uid: decodeUid(payload, 0) }),
    encode(message, payload) {
      if (message.uid !== undefined) writeUid(payload, 0, message.uid);
    },
  },
  RLY_PORT_ACK: {
    minBytes: 8,
    // The one port that is big-endian.
    decode: (payload) => ({ type: 'RLY_PORT_ACK', magic: readU32(payload, 0), port: readU16(payload, 4) }),
    encode(message, payload) {
      writeU32(payload, 0, message.magic);
      writeU16(payload, 4, message.port);
    },
  },
  RLY_PORT_KEY: opaque('RLY_PORT_KEY'),
  RLY_PORT_KEY_ACK: opaque('RLY_PORT_KEY_ACK'),
  RLY_BYTE_COUNT: {
    minBytes: 4,
    decode: (payload) => ({ type: 'RLY_BYTE_COUNT', bytes: readU32(payload, 0) }),
    encode: (message, payload) => writeU32(payload, 0, message.bytes),
  },
  RLY_REQ: {
    minBytes: RLY_REQ_BYTES,
    size: ({ dsk }) => RLY_REQ_BYTES + (dsk === undefined ? 0 : DSK_BYTES),
    decode(payload) {
      const uid = decodeUid(payload, 0);
      if (uid === undefined) return undefined;
      const dsk = payload.length < RLY_REQ_BYTES + DSK_BYTES ? '' : readDsk(payload, RLY_REQ_BYTES);
      const relay = readSocketAddress(payload, 20);
      const magic = readU32(payload, 36);
      return { type: 'RLY_REQ', uid, relay, magic, ...(dsk === undefined || dsk === '' ? {} : { dsk }) };
    },
    encode(message, payload) {
      writeUid(payload, 0, message.uid);
      writeSocketAddress(payload, 20, message.relay);
      writeU32(payload, 36, message.magic);
      if (message.dsk !== undefined) writeDsk(payload, RLY_REQ_BYTES, message.dsk);
    },
  },
  RLY_REQ_ACK: resultAndNotice('RLY_REQ_ACK'),
  RLY_TO: {
    minBytes: SOCKET_ADDRESS_BYTES + 4,
    decode: (payload) => ({ type: 'RLY_TO', relay: readSocketAddress(payload, 0), magic: readU32(payload, 16) }),
    encode(message, payload) {
      writeSocketAddress(payload, 0, message.relay);
      writeU32(payload, 16, message.magic);
    },
  },
  RLY_PKT: {
    minBytes: 28,
    decode(payload) {
      const uid = decodeUid(payload, 4);
      if (uid === undefined) return undefined;
      return { type: 'RLY_PKT', magic: readU32(payload, 0), uid, side: payload[24] === 0 ? 'client' : 'device' };
    },
    encode(message, payload) {
      writeU32(payload, 0, message.magic);
      writeUid(payload, 4, message.uid);
      payload[24] = message.side === 'client' ? 0 : 1;
    },
  },
  RLY_RDY: uidOnly('RLY_RDY'),
  RLY_TO_ACK: opaque('RLY_TO_ACK'),
  RLY_SERVER_REQ: opaque('RLY_SERVER_REQ'),
};

interface RelayLoad {
  uid: string;
  bandwidth: number;
  users: number;
}

function readLoad(payload: Uint8Array): RelayLoad | undefined {
  const uid = decodeUid(payload, 0);
  return uid === undefined ? undefined : { uid, bandwidth: readU32(payload, 20), users: readU32(payload, 24) };
}

function writeLoad(load: RelayLoad, payload: Uint8Array): void {
  writeUid(payload, 0, load.uid);
  writeU32(payload, 20, load.bandwidth);
  writeU32(payload, 24, load.users);
}
