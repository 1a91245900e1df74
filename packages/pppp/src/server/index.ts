export type { RelayEvents, RelayLimits, RelayMetrics, RelayOptions } from '../relay/server/options.ts';
export { relayPlaneOptions } from '../relay/server/kernel-sessions.ts';
export { RelayServer } from '../relay/server/relay-server.ts';
export type { RendezvousEvents, RendezvousMetrics, RendezvousOptions } from '../rendezvous/server/options.ts';
export { RendezvousServer } from '../rendezvous/server/rendezvous-server.ts';
export type { RelayComponents, ServerComponents } from './components.ts';
