export { CipherSet, type OpenedDatagram } from '../cipher/cipher-set.ts';
export { decodeInitString, encodeInitString, type InitString, type InitStringFailure } from '../cipher/init-string.ts';
export { keyForUid, KNOWN_KEYS, NetworkKey } from '../cipher/known-keys.ts';
export { ApiResult, ResultCode } from './codes.ts';
export { HEADER_BYTES, MAX_DATAGRAM_BYTES, MAX_DRW_DATA_BYTES, peekType } from './header.ts';
export { type MessageName, messageName, MessageType } from './message-type.ts';
export {
  decodeMessage,
  encodeMessage,
  type MalformedMessage,
  type MalformedReason,
  type Message,
  type UnknownMessage,
} from './message.ts';
export { PaidInFullBytes } from './padding.ts';
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
} from './session-messages.ts';
export {
  encodeTcpFrame,
  MAX_TCP_BODY_BYTES,
  TCP_FRAME_HEADER_BYTES,
  TcpDeframer,
  type TcpFrameFailure,
} from './tcp-frame.ts';
export { decodeUid, encodeUid } from './uid.ts';
