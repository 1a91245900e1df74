import './supported-node.ts';
export { type BackoffOptions, backoff, backoffMs } from './backoff.ts';
export { type Clock, SystemClock, sleepOn, type Timer } from './clock.ts';
export {
  AbortedError,
  type ErrorKind,
  errorCode,
  errorKind,
  errorMessage,
  firstError,
  isAbort,
  TowpathError,
  type TowpathErrorOptions,
} from './errors.ts';
export { Events } from './events.ts';
export { type DeadlineIntervalOptions, deadlineInterval } from './interval.ts';
export { Link } from './link/link.ts';
export type {
  ConnectContext,
  ConnectPurpose,
  ImproveOptions,
  LinkEvents,
  LinkOptions,
  RetryPolicy,
} from './link/options.ts';
export { createLog, type Log, type LogLevel, type LogRecord, silentLog } from './log.ts';
export { AVOIDED } from './paths/data-loss.ts';
export { PathHistory, type PathHistorySnapshot, type PathKindRecord } from './paths/history.ts';
export {
  CONNECT_TIME_BOUNDS_MS,
  RaceStatistics,
  type RaceStatisticsSnapshot,
  type PathKindStatistics,
} from './paths/statistics.ts';
export { type Lease, type PoolOptions, SharedPool } from './pool.ts';
export type { AttemptState, PathKindOptions } from './race/machine.ts';
export type { Candidate, RaceOptions } from './race/options.ts';
export { Race, race } from './race/race.ts';
export type { AttemptReport, RaceProgress, RaceReport, RaceResult } from './race/report.ts';
export { type Random, SeededRandom, SystemRandom } from './random.ts';
export { makeFolder } from './make-folder.ts';
export { readFailure } from './read-failure.ts';
export { openRegular, readRegular, readRegularSync, type ReadRegularOptions } from './read-regular.ts';
export { replaceFile } from './replace-file.ts';
export { RoundTripEstimator, type RoundTripOptions } from './rtt.ts';
export {
  DEFAULT_MONITOR_TIMES,
  initialMonitor,
  type MonitorEvent,
  type MonitorState,
  type MonitorTimes,
  monitorTimes,
  type PathHealth,
  type PathRole,
  stepMonitor,
} from './paths/monitor.ts';
export type { PathKind } from './paths/path-kind.ts';
export { Monitor, type MonitorOptions } from './paths/path-monitor.ts';
export { PathReason } from './paths/path-reason.ts';
export { PathSet } from './paths/path-set.ts';
export type { PathDescription, PathSetEvents, PathSetOptions, PathStatus } from './paths/path-set-options.ts';
export { type PathPolicy, policyAllows, SELECTION, type SelectionOptions } from './paths/selection.ts';
export { abortable } from './time/abortable.ts';
export { type Deadline, deadline } from './time/deadline.ts';
export { Mutex } from './time/mutex.ts';
export { SparseMap, SparseSet } from './sparse.ts';
export { nextIdleAt, type Rate, RateLimit, type RateLimitOptions } from './time/rate-limit.ts';
export { Repeat } from './time/repeat.ts';
export { RequestSchedule } from './time/request-schedule.ts';
export { Renewal, type RenewalOptions } from './time/renewal.ts';
export { evenSchedule, type RetransmitOptions, retransmit, stunSchedule } from './time/retransmit.ts';
export { SharedWork } from './time/shared-work.ts';
export { allDone, Tasks } from './time/tasks.ts';
export { Wakeup } from './time/wakeup.ts';
export { type WriteFailure, writeFailure } from './write-failure.ts';
