/**
 * Result byte at offset 0 of most acknowledgements; any other value is a failure as well (docs/protocol/pppp.md,
 * "Result byte").
 */
export const ResultCode = {
  OK: 0x00,
  /** Another device is logged in with this UID (our own number). */
  UID_IN_USE: 0xfa,
  /** The named relay does not belong to this network (our own number). */
  RELAY_NOT_SERVED: 0xfb,
  /** The device's key (DSK) is wrong. */
  WRONG_KEY: 0xfc,
  /** This prefix is not served here. */
  PREFIX_NOT_SERVED: 0xfd,
  DEVICE_OFFLINE: 0xfe,
  /** UID or check code invalid. */
  INVALID_UID: 0xff,
} as const;

/**
 * Numbers of the vendor's programming interface; they appear in session reports and logs (docs/protocol/pppp.md,
 * "Session report").
 */
export const ApiResult = {
  NOT_INITIALISED: -1,
  ALREADY_INITIALISED: -2,
  TIMEOUT: -3,
  INVALID_ID: -4,
  INVALID_PARAMETER: -5,
  DEVICE_OFFLINE: -6,
  NAME_RESOLUTION: -7,
  INVALID_PREFIX: -8,
  ID_OUT_OF_DATE: -9,
  NO_RELAY: -10,
  INVALID_HANDLE: -11,
  CLOSED_BY_PEER: -12,
  CLOSED_BY_TIMEOUT: -13,
  CLOSED_BY_CALLER: -14,
  PEER_BUFFER_FULL: -15,
  LISTEN_BROKEN_OFF: -16,
  SESSION_TABLE_FULL: -17,
  BIND_FAILED: -18,
  CONNECT_BROKEN_OFF: -19,
  OUT_OF_MEMORY: -20,
  LICENCE: -21,
  THREAD: -22,
} as const;
