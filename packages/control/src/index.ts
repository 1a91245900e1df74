export { type ClientStorage, FileStorage, MemoryStorage, type SavedParty } from './client/client-storage.ts';
export { ControlClient, type ControlClientComponents } from './client/control-client.ts';
export { HttpTransport } from './client/http-transport.ts';
export { LocalControlPlane } from './client/local-control-plane.ts';
export type { ControlTransport, LiveConnection } from './client/transport.ts';
export { ControlError, type ControlErrorCode } from './control-error.ts';
export type {
  ControlPlane,
  ControlPlaneEvents,
  InviteOptions,
  PartyView,
  PeerView,
  Relay,
  Suspicion,
  SuspicionKind,
  TurnCredentials,
} from './control-plane.ts';
export type { ControlServer, ControlServerInit } from './http/control-server.ts';
export { startControlServer } from './http/start-control-server.ts';
export type { PartyId, PeerId, SigningKey, WireGuardKey } from './identity/keys.ts';
export {
  generateNodeIdentity,
  loadNodeIdentity,
  type NodeIdentity,
  saveNodeIdentity,
} from './identity/node-identity.ts';
export { VIRTUAL_NETWORK } from './membership/address.ts';
export { formatInviteLink, type Invite, isInviteCode, parseInviteLink } from './membership/invite.ts';
export type { InviteRecord, LogHead, Member } from './membership/party-state.ts';
export type { InvitedRole, Role } from './membership/statement.ts';
export { verifyLog } from './membership/verify.ts';
export { issueTurnCredentials } from './server/turn-credentials.ts';
export { MemoryStore } from './store/memory-store.ts';
export { NatsStore, type NatsStoreInit } from './store/nats-store.ts';
export { SqliteStore } from './store/sqlite-store.ts';
export type { ControlStore } from './store/store.ts';
