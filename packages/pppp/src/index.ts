export { CipherSet, type OpenedDatagram } from './cipher/cipher-set.ts';
export { decodeInitString, encodeInitString, type InitString, type InitStringFailure } from './cipher/init-string.ts';
export { KNOWN_KEYS, keyForUid, NetworkKey } from './cipher/known-keys.ts';
export { StreamCipher } from './cipher/stream-cipher.ts';
export { type ConnectByLanSearchOptions, connectByLanSearch } from './client/connect-by-lan-search.ts';
export { type ConnectDirectOptions, connectDirect } from './client/connect-direct.ts';
export type { ConnectOptions } from './client/options.ts';
export { CodecError, type CodecErrorCode } from './codec/codec-error.ts';
export { ApiResult, ResultCode } from './codec/codes.ts';
export { HEADER_BYTES, MAX_DATAGRAM_BYTES, MAX_DRW_DATA_BYTES, peekType } from './codec/header.ts';
export {
  decodeMessage,
  encodeMessage,
  type MalformedMessage,
  type MalformedReason,
  type Message,
  type UnknownMessage,
} from './codec/message.ts';
export { type MessageName, MessageType, messageName } from './codec/message-type.ts';
export { PaidInFullBytes } from './codec/padding.ts';
export {
  CHANNELS,
  DRW_HEADER_BYTES,
  drwAckCount,
  drwAckIndex,
  drwChannel,
  drwData,
  drwDataBytes,
  drwIndex,
  MAX_ACK_INDICES,
  writeDrwAck,
  writeDrwHeader,
} from './codec/session-messages.ts';
export {
  encodeTcpFrame,
  MAX_TCP_BODY_BYTES,
  TCP_FRAME_HEADER_BYTES,
  TcpDeframer,
  type TcpFrameFailure,
} from './codec/tcp-frame.ts';
export { decodeUid, encodeUid, parseUid } from './codec/uid.ts';
export type { PpppDeviceOptions } from './device/options.ts';
export { PpppDevice } from './device/pppp-device.ts';
export { type FoundDevice, type SearchLanOptions, searchLan } from './lan/search-lan.ts';
export { SEARCH_PORT, type SearchTargets } from './lan/targets.ts';
export { PpppError, type PpppErrorCode } from './pppp-error.ts';
export type { RelayLimits, RelayMetrics, RelayOptions } from './relay/options.ts';
export { RelayServer } from './relay/relay-server.ts';
export { connectByRelay } from './remote/connect-by-relay.ts';
export { type ConnectByRendezvousOptions, connectByRendezvous } from './remote/connect-by-rendezvous.ts';
export {
  DeviceRegistration,
  type DeviceRegistrationEvents,
  type DeviceRegistrationOptions,
  type RegistrationStatus,
} from './remote/device-registration.ts';
export type { NatView } from './remote/nat-view.ts';
export type { ConnectByRelayOptions, RelayTransport } from './remote/relay-options.ts';
export type { RendezvousMetrics, RendezvousOptions, ServerComponents } from './rendezvous/options.ts';
export { RendezvousServer } from './rendezvous/rendezvous-server.ts';
export type { SendingStyle, SessionOptions } from './session/options.ts';
export type {
  CloseReason,
  PpppSession,
  SessionHandlers,
  SessionMode,
  SessionRole,
  SessionStats,
} from './session-types.ts';
