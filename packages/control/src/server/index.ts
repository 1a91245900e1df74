/** The server of the control plane and its stores. */
export type { ControlServer, ControlServerOptions } from '../http/control-server.ts';
export { startControlServer } from '../http/start-control-server.ts';
export { createSetupCode } from './founding.ts';
export type { PartyLimitOptions } from './party-limits.ts';
export { DEFAULT_TURN_CREDENTIALS_MS } from './service.ts';
export { issueTurnCredentials } from './turn-credentials.ts';
export { MemoryStore } from '../store/memory-store.ts';
export { NatsStore, type NatsStoreOptions } from '../store/nats-store.ts';
export { SqliteStore } from '../store/sqlite-store.ts';
export type { ControlStore } from '../store/store.ts';
