export { type AvFrame, AudioType, VideoType } from './artemis/av.ts';
export {
  BleReassembler,
  decodeHotspotCredentials,
  encodeWakeValue,
  type HotspotCredentials,
} from './artemis/ble-message.ts';
export { CameraError, type CameraErrorCode, type CameraErrorDetails } from './artemis/camera-error.ts';
export { CommandId, type CommandName, commandName } from './artemis/command-id.ts';
export type { CardSpace } from './artemis/commands.ts';
export type { DeviceInfo } from './artemis/device-info.ts';
export type { CameraEvent } from './artemis/event.ts';
export type { JsonObject } from './artemis/json.ts';
export { FileType, type ItemId, type MediaItem } from './artemis/media-item.ts';
export { CameraClient, type CameraClientOptions } from './client/camera-client.ts';
export type { CameraEvents } from './client/camera-link.ts';
export type { CameraPath } from './client/camera-path.ts';
export { CameraState } from './client/camera-state.ts';
export type { CameraConnector, ConnectedCamera, ConnectorOptions } from './client/connector.ts';
export type { HeartbeatReport } from './client/heartbeat.ts';
export type { ConnectRetryOptions } from './client/retry.ts';
export type { TransferOptions, TransferResult } from './client/transfer.ts';
export type { RememberedPath } from './connect/candidates.ts';
export {
  type ConnectParallelOptions,
  ParallelConnectionManager,
  type ParallelConnectionOptions,
} from './connect/manager.ts';
export { CameraPool, type CameraPoolOptions } from './connect/pool.ts';
export type { CameraMemory, PathMemory } from './connect/memory.ts';
export { RaceConnector, type RaceConnectorOptions } from './connect/race-connector.ts';
export type { ConnectFailure, ConnectResult, ConnectSuccess, WayInfo, WayState, WaysInfo } from './connect/report.ts';
export { type ConnectionMode, DEFAULT_DESTINATION_PORTS, DEFAULT_UID, type WayName } from './connect/way.ts';
export { ConversationDecoder, type ConversationDecoderOptions } from './decode/conversation-decoder.ts';
export type { ModeWeights } from './connect/weights.ts';
export { captureJsonLines, conversationDocument, type DecodedCapture, decodeCapture } from './decode/decode-capture.ts';
export type { ConversationSummary, DecodedMessage, MessageJson } from './decode/decoded-message.ts';
export { type ExtractedFile, MediaExtractor, type MediaTarget } from './decode/media-extractor.ts';
export { summaryLines, transcriptLine } from './decode/transcript.ts';
export {
  type DownloadEvent,
  type DownloadMediaOptions,
  type DownloadProgress,
  type DownloadSummary,
  downloadMedia,
} from './media/download-media.ts';
export type { IndexEntry } from './media/media-index.ts';
export { MediaLibrary, type MediaLibraryOptions } from './media/media-library.ts';
export type { MediaSource } from './media/media-source.ts';
export { type WatchMediaOptions, watchMedia } from './media/watch-media.ts';
export { CameraEmulator } from './emulator/camera-emulator.ts';
export type {
  CameraEmulatorComponents,
  CameraEmulatorEvents,
  CameraEmulatorInit,
  RebootOptions,
} from './emulator/emulator-options.ts';
export type { EmulatorFaultOptions, EmulatorFaults } from './emulator/faults.ts';
export {
  drawnPictures,
  type PaddedPictureOptions,
  type PictureSource,
  paddedPictures,
} from './emulator/media/picture-source.ts';
export type { LinkFaults } from './emulator/network/link-faults.ts';
export { SharedPortNetwork } from './emulator/network/shared-port-network.ts';
export { type DeviceRecord, type DeviceStore, MemoryDeviceStore } from './store/device-store.ts';
export { FileDeviceStore } from './store/file-device-store.ts';
export { StorePathMemory } from './store/store-path-memory.ts';
