export { type BackoffOptions, backoff } from './backoff.ts';
export { type Clock, SystemClock, sleepOn, type Timer } from './clock.ts';
export { AbortedError, errorCode, errorMessage, isAbort, TowpathError, type TowpathErrorOptions } from './errors.ts';
export { Events } from './events.ts';
export { type DeadlineIntervalOptions, deadlineInterval, type Tick } from './interval.ts';
export { Link, type LinkEvents, type LinkOptions, type RetryPolicy } from './link/link.ts';
export type { LinkPhase } from './link/machine.ts';
export { createLog, type Log, type LogFields, type LogLevel, type LogRecord, silentLog } from './log.ts';
export { PathHistory, type PathHistorySnapshot, type WayRecord } from './path/history.ts';
export {
  CONNECT_TIME_BOUNDS_MS,
  RaceStatistics,
  type RaceStatisticsSnapshot,
  type WayStatistics,
} from './path/statistics.ts';
export { type Lease, type PoolOptions, SharedPool } from './pool.ts';
export type { AttemptState, LaneOptions, LossReason } from './race/machine.ts';
export {
  type AttemptNotes,
  type AttemptReport,
  type Candidate,
  Race,
  type RaceOptions,
  type RaceProgress,
  type RaceReport,
  type RaceResult,
  race,
} from './race/race.ts';
export { type Random, SeededRandom, SystemRandom } from './random.ts';
export { RoundTripEstimator, type RoundTripOptions } from './rtt.ts';
export { VirtualClock } from './virtual-clock.ts';
