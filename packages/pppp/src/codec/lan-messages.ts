import type { Endpoint } from '@towpath/net';
import { empty, type FormatTable, opaque, UID_AND_ADDRESS_BYTES, uidOnly } from './format.ts';
import { readSocketAddress, writeSocketAddress } from './socket-address.ts';
import { decodeUid, writeUid } from './uid.ts';

/** Search and punching (docs/protocol/pppp.md, "LAN search", "Punch and ready", "Message 0x43"). */
export type LanMessage =
  | { type: 'LAN_SEARCH' }
  | { type: 'LAN_NOTIFY'; uid: string }
  /** Extended search of one dialect, acknowledgement of LAN_NOTIFY in another: the inside is not documented. */
  | { type: 'LAN_SEARCH_EXT'; body: Uint8Array }
  | { type: 'LAN_SEARCH_EXT_ACK'; body: Uint8Array }
  | { type: 'PUNCH_PKT'; uid: string }
  | { type: 'P2P_RDY'; uid: string }
  | P2pRdyAck;

/** 0x43: an offer to move the session to TCP; empty in one dialect (docs/protocol/pppp.md, "Message 0x43"). */
export interface P2pRdyAck {
  type: 'P2P_RDY_ACK';
  uid: string | undefined;
  /** The device's own address and listen port. */
  address: Endpoint | undefined;
}

const P2P_RDY_ACK_BYTES = 44;

export const lanFormats: FormatTable<LanMessage> = {
  LAN_SEARCH: empty('LAN_SEARCH'),
  LAN_NOTIFY: uidOnly('LAN_NOTIFY'),
  LAN_SEARCH_EXT: opaque('LAN_SEARCH_EXT'),
  LAN_SEARCH_EXT_ACK: opaque('LAN_SEARCH_EXT_ACK'),
  PUNCH_PKT: uidOnly('PUNCH_PKT'),
  P2P_RDY: uidOnly('P2P_RDY'),
  P2P_RDY_ACK: {
    minBytes: 0,
    size: (message) => (message.uid === undefined ? 0 : P2P_RDY_ACK_BYTES),
    decode(payload) {
      if (payload.length === 0) return { type: 'P2P_RDY_ACK', uid: undefined, address: undefined };
      if (payload.length < UID_AND_ADDRESS_BYTES) return undefined;
      const uid = decodeUid(payload, 0);
      return uid === undefined ? undefined : { type: 'P2P_RDY_ACK', uid, address: readSocketAddress(payload, 20) };
    },
    encode(message, payload) {
      if (message.uid === undefined) return;
      writeUid(payload, 0, message.uid);
      writeSocketAddress(payload, 20, message.address);
      // 36: eight zeros
    },
  },
};
