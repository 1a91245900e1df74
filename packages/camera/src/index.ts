export { type AvFrame, AudioType, VideoType } from './artemis/av.ts';
export {
  BleReassembler,
  decodeHotspotCredentials,
  encodeWakeValue,
  type HotspotCredentials,
} from './artemis/ble-message.ts';
export { CameraError, type CameraErrorCode, type CameraErrorDetails } from './artemis/camera-error.ts';
export { CommandId } from './artemis/command-id.ts';
export type { CardSpace } from './artemis/commands.ts';
export type { DeviceInfo } from './artemis/device-info.ts';
export type { CameraEvent } from './artemis/event.ts';
export type { JsonObject } from './artemis/json.ts';
export { FileType, type ItemId, type MediaItem } from './artemis/media-item.ts';
export { CameraClient, type CameraClientComponents, type CameraClientOptions } from './client/camera-client.ts';
export type { CameraEvents } from './client/camera-link.ts';
export type { CameraPath } from './client/camera-path.ts';
export { CameraState } from './client/camera-state.ts';
export type { CameraConnector, ConnectedCamera, ConnectorOptions } from './client/connector.ts';
export type { HeartbeatReport } from './client/heartbeat.ts';
export type { ConnectRetryOptions } from './client/retry.ts';
export type { CameraStatus } from './client/status-stream.ts';
export type { TransferOptions, TransferResult } from './client/transfer.ts';
export type { ContestedUid, RememberedPath } from './connect/candidates.ts';
export {
  CameraRace,
  type CameraRaceComponents,
  type CameraRaceOptions,
  type CameraRaceResult,
  type CameraTargetOptions,
  type RaceFailure,
  type RaceRunOptions,
  type RaceSuccess,
} from './connect/camera-race.ts';
export { DEFAULT_PORTS, DEFAULT_UID } from './connect/defaults.ts';
export type { CameraMemory, PathMemory } from './connect/memory.ts';
export { CameraPool, type CameraPoolComponents, type CameraPoolOptions } from './connect/pool.ts';
export { RaceConnector, type RaceConnectorComponents, type RaceConnectorOptions } from './connect/race-connector.ts';
export type { PathWeights } from './connect/weights.ts';
export { type ConnectCameraOptions, connectCamera } from './connect-camera.ts';
export {
  type DamagedVideo,
  type DownloadEvent,
  type DownloadMediaOptions,
  type DownloadProgress,
  type DownloadSummary,
  downloadMedia,
  type ItemName,
} from './media/download-media.ts';
export type { IndexEntry } from './media/media-index.ts';
export { MediaLibrary, type MediaLibraryOptions } from './media/media-library.ts';
export type { MediaSource } from './media/media-source.ts';
export { captureTime, captureTimes, type CaptureTime, utcOffsetMinutes } from './media/capture-time.ts';
export { type MediaCheck, type WatchMediaOptions, watchChecks, watchMedia } from './media/watch-media.ts';
export type { DeviceRecord, DeviceStore } from './store/device-store.ts';
export { FileDeviceStore } from './store/file-device-store.ts';
export { StorePathMemory } from './store/store-path-memory.ts';
