export { type ClientStorage, FileStorage, MemoryStorage, type SavedParty } from './client/client-storage.ts';
export { ControlClient, type ControlClientComponents } from './client/control-client.ts';
export { RemovedMembers, type RemovedMembersOptions } from './client/removed-members.ts';
export { HttpTransport } from './client/http-transport.ts';
export type { ControlTransport, LiveConnection } from './client/transport.ts';
export { ControlError, type ControlErrorCode } from './control-error.ts';
export type {
  ClockProblem,
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
export {
  generateNodeIdentity,
  loadNodeIdentity,
  type NodeIdentity,
  saveNodeIdentity,
} from './identity/node-identity.ts';
