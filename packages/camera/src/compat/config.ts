import { CommandId } from '../artemis/command-id.ts';
import { HEARTBEAT_INTERVAL_MS } from '../client/heartbeat.ts';
import { DEFAULT_RETRY } from '../client/retry.ts';
import { DEFAULT_PORTS } from '../connect/defaults.ts';

/** The configuration names of the documents. Times are in seconds. */

/** Ports of a camera, in order of preference. */
export const DEFAULT_LAN_PORTS: readonly number[] = DEFAULT_PORTS;

/** Attempts of {@link CameraClient.connectWithRetries}. */
export const MAX_CONNECTION_RETRIES: number = DEFAULT_RETRY.tries;
/** Time limit of all attempts together, s. */
export const MAX_TOTAL_CONNECTION_TIME: number = DEFAULT_RETRY.limitMs / 1_000;
/** Waits between the attempts, s. */
export const RETRY_BACKOFF_SEQUENCE: readonly number[] = DEFAULT_RETRY.backoffMs.map((ms) => ms / 1_000);
/** Time limit of one search for the camera, s. */
export const ARTEMIS_DISCOVERY_TIMEOUT: number = DEFAULT_RETRY.discoveryTimeoutMs / 1_000;
/** Time between two heartbeats, s. */
export const ARTEMIS_KEEPALIVE_INTERVAL: number = HEARTBEAT_INTERVAL_MS / 1_000;
/** The same under its other name, s. */
export const HEARTBEAT_INTERVAL_SEC: number = HEARTBEAT_INTERVAL_MS / 1_000;

/** The settings that a {@link CameraClient} takes. */
export interface CameraConfig {
  MAX_CONNECTION_RETRIES: number;
  MAX_TOTAL_CONNECTION_TIME: number;
  RETRY_BACKOFF_SEQUENCE: readonly number[];
  ARTEMIS_DISCOVERY_TIMEOUT: number;
  ARTEMIS_KEEPALIVE_INTERVAL: number;
  DEFAULT_LAN_PORTS: readonly number[];
}

export const DEFAULT_CONFIG: Readonly<CameraConfig> = {
  MAX_CONNECTION_RETRIES,
  MAX_TOTAL_CONNECTION_TIME,
  RETRY_BACKOFF_SEQUENCE,
  ARTEMIS_DISCOVERY_TIMEOUT,
  ARTEMIS_KEEPALIVE_INTERVAL,
  DEFAULT_LAN_PORTS,
};

export const CMD_LOGIN: number = CommandId.login;
export const CMD_START_AV: number = CommandId.startAv;
export const CMD_STOP_AV: number = CommandId.stopAv;
export const CMD_DEVICE_INFO: number = CommandId.deviceInfo;
export const CMD_HEARTBEAT: number = CommandId.heartbeat;
export const CMD_MEDIA_LIST: number = CommandId.mediaList;
