import type { PathHistorySnapshot, RaceStatisticsSnapshot } from '@towpath/core';
import type { RememberedPath } from './candidates.ts';

/** Stored data of one camera from earlier races; every field is a hint and may be absent. */
export interface CameraMemory {
  path?: RememberedPath;
  /** The UID that the camera had. */
  uid?: string;
  /** Results by path kind. */
  history?: PathHistorySnapshot;
  /** Counters. */
  statistics?: RaceStatisticsSnapshot;
}

/** Stores data of earlier races, also across processes. `target` is the camera's address or UID. */
export interface PathMemory {
  recall(target: string): Promise<CameraMemory>;
  /** Absent fields are not changed. */
  remember(target: string, changes: CameraMemory): Promise<void>;
}
