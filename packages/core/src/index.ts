export { type Clock, sleepOn, SystemClock, type Timer } from './clock.ts';
export { AbortedError, errorCode, errorMessage, isAbort, TowpathError, type TowpathErrorOptions } from './errors.ts';
export { Events } from './events.ts';
export { createLog, type Log, type LogFields, type LogLevel, type LogRecord, silentLog } from './log.ts';
export { type Random, SeededRandom, SystemRandom } from './random.ts';
export { VirtualClock } from './virtual-clock.ts';
