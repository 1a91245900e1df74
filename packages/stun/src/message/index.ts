export type {
  AddressErrorCodeValue,
  Attribute,
  ChangeRequestValue,
  ErrorCodeValue,
  IcmpValue,
  PasswordAlgorithmValue,
} from './attribute.ts';
export * as stunAttributes from './attributes.ts';
export {
  CHANNEL_HEADER_BYTES,
  channelOf,
  channelPayload,
  encodeChannelData,
  isChannelData,
  MAX_CHANNEL,
  MIN_CHANNEL,
} from './channel-data.ts';
export { reasonOf, StunErrorCode } from './error-codes.ts';
export { isStun, MessageClass, Method } from './header.ts';
export { type IntegrityKey, integrityKey, longTermKey, PasswordAlgorithm, shortTermKey } from './integrity.ts';
export { StreamFramer } from './stream-framer.ts';
export { decodeStun, type StunDecodeResult, type StunFailure, type StunMessage } from './stun-message.ts';
export { StunWriter } from './stun-writer.ts';
