import { describe, expect, test } from 'vitest';
import { StreamCipher } from '../src/index.ts';
import { decodeMessage, encodeMessage, type Message, NetworkKey } from '../src/codec/index.ts';

// docs/protocol/pppp.md, "Test vectors": "captured" vectors come from a KJK230, the others were built from the layouts.
const UID = 'TEST-000001-BCDEF';
const CAPTURED_UID = 'LBCS-000000-CCCJJ';
const LAN = { address: '192.168.1.50', port: 41000 };
const WAN = { address: '192.0.2.10', port: 40000 };
const RELAY = { address: '198.51.100.7', port: 32100 };
const RELAY_SESSION = { address: '198.51.100.7', port: 51234 };
const MAGIC = 0xa1b2c3d4;

const ack = 'f1d1000cd10000040002000300040005';
const F9 =
  'f1f900540ccb9a2b5f951eb669dfaa375a6bbe3e76202e13c9d1aa3631be74e505ea33903e3ce2acc0aa1b2652d102a4cc9405c9d1aa37' +
  '19e12002fffcad9a788ca123af23af23af23ad3950f32cd63b2919e12235f44ec2';

const VECTORS: [name: string, hex: string, message: Message][] = [
  ['HELLO (captured)', 'f1000000', { type: 'HELLO' }],
  ['HELLO_ACK', 'f10100100002409c0a0200c00000000000000000', { type: 'HELLO_ACK', address: WAN }],
  [
    'DEV_LGN',
    'f1100028544553540000000000000001424344454600000000040000000228a03201a8c00000000000000000',
    { type: 'DEV_LGN', uid: UID, natType: 0, version: [4, 0, 0], local: LAN },
  ],
  ['DEV_LGN_ACK', 'f111000400000000', { type: 'DEV_LGN_ACK', result: 0 }],
  ['DEV_ONLINE_REQ', 'f11800145445535400000000000000014243444546000000', { type: 'DEV_ONLINE_REQ', uid: UID }],
  ['DEV_ONLINE_REQ_ACK', 'f11900080000000c00000000', { type: 'DEV_ONLINE_REQ_ACK', secondsSinceLogin: 12, result: 0 }],
  [
    'P2P_REQ',
    'f12000245445535400000000000000014243444546000000000228a03201a8c00000000000000000',
    { type: 'P2P_REQ', uid: UID, local: LAN },
  ],
  ['P2P_REQ_ACK ok', 'f121000400000000', { type: 'P2P_REQ_ACK', result: 0 }],
  ['P2P_REQ_ACK offline', 'f1210004fe000000', { type: 'P2P_REQ_ACK', result: 0xfe }],
  ['LAN_SEARCH (captured)', 'f1300000', { type: 'LAN_SEARCH' }],
  ['PUNCH_TO', 'f14000100002409c0a0200c00000000000000000', { type: 'PUNCH_TO', address: WAN }],
  ['PUNCH_PKT', 'f14100145445535400000000000000014243444546000000', { type: 'PUNCH_PKT', uid: UID }],
  ['P2P_RDY (captured)', 'f14200144c42435300000000000000004343434a4a000000', { type: 'P2P_RDY', uid: CAPTURED_UID }],
  [
    '0x43 (captured)',
    'f143002c4c42435300000000000000004343434a4a0000000002a39e012ba8c000000000000000000000000000000000',
    { type: 'P2P_RDY_ACK', uid: CAPTURED_UID, address: { address: '192.168.43.1', port: 40611 } },
  ],
  [
    'RS_LGN1',
    'f162002c5445535400000000000000014243444546000000000003e8000000030002647d076433c60000000000000000',
    { type: 'RS_LGN1', uid: UID, bandwidth: 1000, users: 3, address: RELAY },
  ],
  ['LIST_REQ1', 'f16700145445535400000000000000014243444546000000', { type: 'LIST_REQ1', uid: UID }],
  [
    'LIST_REQ_ACK, one relay',
    'f1690014010000000002647d076433c60000000000000000',
    { type: 'LIST_REQ_ACK', relays: [RELAY] },
  ],
  ['RLY_HELLO', 'f1700000', { type: 'RLY_HELLO' }],
  ['RLY_HELLO_ACK', 'f1710000', { type: 'RLY_HELLO_ACK' }],
  ['RLY_PORT', 'f1720000', { type: 'RLY_PORT', uid: undefined }],
  ['RLY_PORT_ACK', 'f1730008a1b2c3d4c8220000', { type: 'RLY_PORT_ACK', magic: MAGIC, port: 51234 }],
  [
    'RLY_REQ',
    'f18000285445535400000000000000014243444546000000000222c8076433c60000000000000000a1b2c3d4',
    { type: 'RLY_REQ', uid: UID, relay: RELAY_SESSION, magic: MAGIC },
  ],
  ['RLY_REQ_ACK', 'f181000400000000', { type: 'RLY_REQ_ACK', result: 0 }],
  [
    'RLY_TO',
    'f1820014000222c8076433c60000000000000000a1b2c3d4',
    { type: 'RLY_TO', relay: RELAY_SESSION, magic: MAGIC },
  ],
  [
    'RLY_PKT client',
    'f183001ca1b2c3d4544553540000000000000001424344454600000000000000',
    { type: 'RLY_PKT', magic: MAGIC, uid: UID, side: 'client' },
  ],
  [
    'RLY_PKT device',
    'f183001ca1b2c3d4544553540000000000000001424344454600000001000000',
    { type: 'RLY_PKT', magic: MAGIC, uid: UID, side: 'device' },
  ],
  ['RLY_RDY', 'f18400145445535400000000000000014243444546000000', { type: 'RLY_RDY', uid: UID }],
  [
    'DRW (captured)',
    'f1d00007d100000041434b',
    { type: 'DRW', channel: 0, index: 0, data: Uint8Array.from([0x41, 0x43, 0x4b]) },
  ],
  ['DRW_ACK (captured)', ack, { type: 'DRW_ACK', channel: 0, indices: [2, 3, 4, 5] }],
  ['ALIVE (captured)', 'f1e00000', { type: 'ALIVE' }],
  ['ALIVE_ACK (captured)', 'f1e10000', { type: 'ALIVE_ACK' }],
  ['CLOSE (captured)', 'f1f00000', { type: 'CLOSE' }],
  [
    'REPORT_SESSION_READY (captured)',
    F9,
    {
      type: 'REPORT_SESSION_READY',
      uid: CAPTURED_UID,
      handle: 1,
      tableSize: 256,
      sessionsInUse: 1,
      elapsedMs: 0x0223,
      connectMode: 0x3f,
      local: { address: '192.168.43.20', port: 39724 },
      wan: { address: '0.0.0.0', port: 39724 },
      peer: { address: '192.168.43.1', port: 40611 },
    },
  ],
];

describe('golden vectors of the wire format (B1)', () => {
  test.each(VECTORS)('encodes %s byte for byte', (_name, hex, message) => {
    expect(toHex(encodeMessage(message))).toBe(hex);
  });

  test.each(VECTORS)('decodes %s field by field', (_name, hex, message) => {
    expect(decodeMessage(bytes(hex))).toEqual(message);
  });

  test.each([
    [NetworkKey.CAMERA, '2ccb6293afc44673697ccf321e673715b9573c0dc415fb3c'],
    [NetworkKey.CS2, 'b1d7d1be206bae5e5a28b727e12235f57c4f6f14e4e5073a'],
  ])('enciphers and deciphers PUNCH_PKT under the key %s', (key, hex) => {
    const cipher = new StreamCipher(key);
    const clear = encodeMessage({ type: 'PUNCH_PKT', uid: UID });
    expect(toHex(cipher.encipher(clear))).toBe(hex);
    expect(decodeMessage(cipher.decipher(bytes(hex)))).toEqual({ type: 'PUNCH_PKT', uid: UID });
  });
});

function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

function toHex(data: Uint8Array): string {
  return Buffer.from(data).toString('hex');
}
