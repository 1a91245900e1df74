/**
 * Every message code of the catalogue (docs/protocol/pppp.md, "Message catalogue") that has a name, under that name.
 */
export const MessageType = {
  HELLO: 0x00,
  HELLO_ACK: 0x01,
  HELLO_TO: 0x02,
  HELLO_TO_ACK: 0x03,
  QUERY_DID: 0x08,
  QUERY_DID_ACK: 0x09,
  DEV_LGN: 0x10,
  DEV_LGN_ACK: 0x11,
  DEV_LGN_CRC: 0x12,
  DEV_LGN_CRC_ACK: 0x13,
  DEV_LGN_KEY: 0x14,
  DEV_LGN_KEY_ACK: 0x15,
  DEV_LGN_DSK: 0x16,
  DEV_ONLINE_REQ: 0x18,
  DEV_ONLINE_REQ_ACK: 0x19,
  P2P_REQ: 0x20,
  P2P_REQ_ACK: 0x21,
  P2P_REQ_DSK: 0x26,
  LAN_SEARCH: 0x30,
  LAN_NOTIFY: 0x31,
  LAN_SEARCH_EXT: 0x32,
  LAN_SEARCH_EXT_ACK: 0x33,
  SMART_PUNCH: 0x3f,
  PUNCH_TO: 0x40,
  PUNCH_PKT: 0x41,
  P2P_RDY: 0x42,
  P2P_RDY_ACK: 0x43,
  TCP_RLY_LGN: 0x50,
  TCP_RLY_START: 0x52,
  TCP_RLY_REQ: 0x53,
  TCP_RLY_ACK: 0x55,
  RS_LGN: 0x60,
  RS_LGN_ACK: 0x61,
  RS_LGN1: 0x62,
  RS_LGN1_ACK: 0x63,
  LIST_REQ1: 0x67,
  LIST_REQ: 0x68,
  LIST_REQ_ACK: 0x69,
  LIST_REQ_DSK: 0x6a,
  RLY_HELLO: 0x70,
  RLY_HELLO_ACK: 0x71,
  RLY_PORT: 0x72,
  RLY_PORT_ACK: 0x73,
  RLY_PORT_KEY: 0x74,
  RLY_PORT_KEY_ACK: 0x75,
  RLY_BYTE_COUNT: 0x78,
  RLY_REQ: 0x80,
  RLY_REQ_ACK: 0x81,
  RLY_TO: 0x82,
  RLY_PKT: 0x83,
  RLY_RDY: 0x84,
  RLY_TO_ACK: 0x85,
  RLY_SERVER_REQ: 0x87,
  DRW: 0xd0,
  DRW_ACK: 0xd1,
  PSR: 0xd8,
  ALIVE: 0xe0,
  ALIVE_ACK: 0xe1,
  CLOSE: 0xf0,
  CLOSE_ACK: 0xf1,
  REPORT_SESSION_READY: 0xf9,
} as const;

/** The name of a message in docs/protocol/pppp.md, "Message catalogue"; the `type` of a decoded message. */
export type MessageName = keyof typeof MessageType;

/** The name of a code, or undefined for codes without a public name (0x90–0x94, 0xA0–0xA2, 0xF4–0xF8 among them). */
export function messageName(code: number): MessageName | undefined {
  return NAMES[code];
}

const NAMES: readonly (MessageName | undefined)[] = (() => {
  const names: (MessageName | undefined)[] = new Array(256).fill(undefined);
  for (const [name, code] of Object.entries(MessageType)) names[code] = name as MessageName;
  return names;
})();
