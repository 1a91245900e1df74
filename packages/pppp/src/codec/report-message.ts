import type { Endpoint } from '@towpath/net';
import { NetworkKey } from '../cipher/known-keys.ts';
import { StreamCipher } from '../cipher/stream-cipher.ts';
import { readU16, readU32, writeU16, writeU32 } from './bytes.ts';
import type { FormatTable } from './format.ts';
import { readSocketAddress, writeSocketAddress } from './socket-address.ts';
import { decodeUid, writeUid } from './uid.ts';

/**
 * 0xF9: a client's statistic after a connect, successful or not; not answered (docs/protocol/pppp.md, "Session
 * report").
 */
export interface SessionReport {
  type: 'REPORT_SESSION_READY';
  uid: string;
  /** Session handle (≥ 0) or an `ApiResult` (< 0). */
  handle: number;
  tableSize: number;
  sessionsInUse: number;
  /** From the connect call to its end, ms; at most 65535. */
  elapsedMs: number;
  /** Connect mode mask of docs/protocol/pppp.md, "Connect mode". */
  connectMode: number;
  local: Endpoint | undefined;
  wan: Endpoint | undefined;
  /** Device or relay; undefined after a failure. */
  peer: Endpoint | undefined;
}

const REPORT_BYTES = 84;

// Only the payload is enciphered, always with the network's own key, whatever the rest of the traffic uses.
const cipher: StreamCipher = new StreamCipher(NetworkKey.CS2);

export const reportFormats: FormatTable<SessionReport> = {
  REPORT_SESSION_READY: {
    minBytes: REPORT_BYTES,
    decode(payload) {
      const clear = cipher.decipher(payload.subarray(0, REPORT_BYTES));
      const uid = decodeUid(clear, 0);
      if (uid === undefined) return undefined;
      return {
        type: 'REPORT_SESSION_READY',
        uid,
        handle: readU32(clear, 20) | 0,
        tableSize: readU16(clear, 24),
        sessionsInUse: readU16(clear, 26),
        elapsedMs: readU16(clear, 28),
        connectMode: clear[32]!,
        local: readSocketAddress(clear, 36),
        wan: readSocketAddress(clear, 52),
        peer: readSocketAddress(clear, 68),
      };
    },
    encode(message, payload) {
      writeUid(payload, 0, message.uid);
      writeU32(payload, 20, message.handle);
      writeU16(payload, 24, message.tableSize);
      writeU16(payload, 26, message.sessionsInUse);
      writeU16(payload, 28, Math.min(0xffff, message.elapsedMs));
      payload[32] = message.connectMode;
      writeSocketAddress(payload, 36, message.local);
      writeSocketAddress(payload, 52, message.wan);
      writeSocketAddress(payload, 68, message.peer);
      cipher.encipher(payload, payload);
    },
  },
};
