export {
  type CredentialsOptions,
  type TimeLimitedCredentials,
  timeLimitedCredentials,
} from '../turn/server/credentials.ts';
export type {
  RelayAddressOptions,
  TurnLimits,
  TurnListenerOptions,
  TurnServerComponents,
  TurnServerOptions,
  TurnServerStats,
} from '../turn/server/options.ts';
export { DEFAULT_LIMITS } from '../turn/server/options.ts';
export type { TurnGroupLimits } from '../turn/server/group-quotas.ts';
export type { OptionalScope, PeerPolicyOptions } from '../turn/server/peer-policy.ts';
export { TurnServer } from '../turn/server/turn-server.ts';
export { BindingResponder, type BindingResponderOptions, errorResponse } from './binding-responder.ts';
export {
  StunServer,
  type StunServerComponents,
  type StunServerOptions,
  type StunServerStats,
} from './stun-server.ts';
