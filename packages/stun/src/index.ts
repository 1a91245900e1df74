export { type Carrier, type CarrierOptions, openCarrier, type StunTransport } from './client/carrier.ts';
export { LongTermAuth, type LongTermCredentials } from './client/long-term-auth.ts';
export {
  type BindingResult,
  bindingResult,
  requestWithAuth,
  StunClient,
  type StunClientComponents,
  type StunClientInit,
  type StunCredentials,
  successOf,
} from './client/stun-client.ts';
export { StunError, type StunErrorName } from './client/stun-error.ts';
export {
  type RetransmissionOptions,
  type StunRequest,
  type StunResponse,
  StunTransactions,
  type StunTransactionsComponents,
} from './client/stun-transactions.ts';
export type {
  AddressErrorCodeValue,
  Attribute,
  ChangeRequestValue,
  ErrorCodeValue,
  IcmpValue,
  PasswordAlgorithmValue,
} from './message/attribute.ts';
export * as stunAttributes from './message/attributes.ts';
export {
  CHANNEL_HEADER_BYTES,
  channelOf,
  channelPayload,
  encodeChannelData,
  isChannelData,
  MAX_CHANNEL,
  MIN_CHANNEL,
} from './message/channel-data.ts';
export { reasonOf, StunErrorCode } from './message/error-codes.ts';
export { isStun, MessageClass, Method } from './message/header.ts';
export { type IntegrityKey, integrityKey, longTermKey, PasswordAlgorithm, shortTermKey } from './message/integrity.ts';
export { StreamFramer } from './message/stream-framer.ts';
export { decodeStun, type StunDecodeResult, type StunFailure, type StunMessage } from './message/stun-message.ts';
export { StunWriter } from './message/stun-writer.ts';
export { BindingResponder, type BindingResponderOptions, errorResponse } from './server/binding-responder.ts';
export {
  StunServer,
  type StunServerComponents,
  type StunServerInit,
  type StunServerStats,
} from './server/stun-server.ts';
export type { TurnHandlers } from './turn/client/allocation-parts.ts';
export type { TurnAllocation } from './turn/client/turn-allocation.ts';
export {
  type AllocateInit,
  allocate,
  allocateOn,
  type OwnCarrierInit,
  type SharedSocket,
  type TurnClientComponents,
} from './turn/client/turn-client.ts';
export {
  type CredentialsOptions,
  type TimeLimitedCredentials,
  timeLimitedCredentials,
} from './turn/server/credentials.ts';
export type {
  RelayAddressOptions,
  TurnLimits,
  TurnListenerOptions,
  TurnServerComponents,
  TurnServerInit,
  TurnServerStats,
} from './turn/server/options.ts';
export type { OptionalScope, PeerPolicyOptions } from './turn/server/peer-policy.ts';
export { TurnServer } from './turn/server/turn-server.ts';
export { type DiscoverOptions, discoverNatBehaviour } from './behaviour/discover.ts';
export {
  type MappingLifetime,
  type MappingLifetimeOptions,
  measureMappingLifetime,
} from './behaviour/mapping-lifetime.ts';
export type {
  Dependence,
  FilteringBehaviour,
  MappingBehaviour,
  NatBehaviour,
  PortAllocation,
  ServerReport,
} from './behaviour/nat-behaviour.ts';
export type { ProbeComponents } from './behaviour/probe-socket.ts';
