export { type BackoffOptions, backoff } from './backoff.ts';
export { type Clock, sleepOn, SystemClock, type Timer } from './clock.ts';
export { AbortedError, errorCode, errorMessage, isAbort, TowpathError, type TowpathErrorOptions } from './errors.ts';
export { Events } from './events.ts';
export { type DeadlineIntervalOptions, deadlineInterval, type Tick } from './interval.ts';
export { createLog, type Log, type LogFields, type LogLevel, type LogRecord, silentLog } from './log.ts';
export { type Random, SeededRandom, SystemRandom } from './random.ts';
export { RoundTripEstimator, type RoundTripOptions } from './rtt.ts';
export { VirtualClock } from './virtual-clock.ts';
