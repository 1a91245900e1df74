import type { PathHistorySnapshot, RaceStatisticsSnapshot } from '@towpath/core';
import type { RememberedPath } from './candidates.ts';

/** What is known of one camera from earlier races; everything is a hint and may be absent. */
export interface CameraMemory {
  path?: RememberedPath;
  /** How each way fared. */
  history?: PathHistorySnapshot;
  /** What was counted. */
  statistics?: RaceStatisticsSnapshot;
}

/** Remembers what races have taught, also across processes. */
export interface PathMemory {
  recall(cameraIp: string): Promise<CameraMemory>;
  /** Fields that are absent stay as they are. */
  remember(cameraIp: string, changes: CameraMemory): Promise<void>;
}
