/** The names of the documents 000 to 003, over the client of this package. */
export { CameraClient, type CameraClientOptions } from './camera-client.ts';
export type { CameraHandle } from './camera-handle.ts';
export {
  ARTEMIS_DISCOVERY_TIMEOUT,
  ARTEMIS_KEEPALIVE_INTERVAL,
  type CameraConfig,
  CMD_DEVICE_INFO,
  CMD_HEARTBEAT,
  CMD_LOGIN,
  CMD_MEDIA_LIST,
  CMD_START_AV,
  CMD_STOP_AV,
  DEFAULT_CONFIG,
  DEFAULT_LAN_PORTS,
  HEARTBEAT_INTERVAL_SEC,
  MAX_CONNECTION_RETRIES,
  MAX_TOTAL_CONNECTION_TIME,
  RETRY_BACKOFF_SEQUENCE,
} from './config.ts';
export {
  ConnectFailure,
  type ConnectResult,
  ConnectSuccess,
  connectResult,
  type ThreadSocketInfo,
  type ThreadsInfo,
} from './connect-result.ts';
export { ConnectionMode, type ConnectionThreadName, ConnectionThreadState } from './connection-mode.ts';
export { DeviceCommands, wrapHeartbeat } from './device-commands.ts';
export { HeartbeatManager, type HeartbeatManagerOptions } from './heartbeat-manager.ts';
export {
  type ConnectParallelOptions,
  type ModeWeights,
  ParallelConnectionManager,
  type ParallelConnectionOptions,
} from './parallel-connection-manager.ts';
