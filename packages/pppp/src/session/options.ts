import { DEFAULT_MONITOR_TIMES, type MonitorTimes } from '@towpath/core';

/** How a session sends: adaptively, or as the recorded cameras do (docs/protocol/pppp.md, "Sending"). */
export type SendingStyle = 'adaptive' | 'as-device';

/** What a user may tune of a session. */
export interface SessionOptions {
  /** Silence after which an ALIVE is sent, in ms. @default 1020 */
  aliveIntervalMs?: number;
  /** Unanswered ALIVEs after which the peer is dead. @default 7 */
  aliveLimit?: number;
  /** How long an acknowledgement may wait for others, in ms. @default 10 */
  ackDelayMs?: number;
  /**
   * `adaptive`: RFC 6298 timer, fast repeats, a window that follows the path. `as-device`: only the oldest packet of a
   * channel is repeated, every 40 ms, later every smallest round trip + 1 ms.
   * @default 'adaptive'
   */
  sending?: SendingStyle;
  /** Packets of one channel that may be under way at once. @default 1000 when adaptive, 110 as a device */
  maxWindow?: number;
  /** Bytes of one channel that may wait for missing packets or a paused reader. @default 1 MiB */
  receiveBudgetBytes?: number;
  /** Bytes of one channel that wait to be sent above which `write` returns false. @default 256 KiB */
  highWaterBytes?: number;
  /**
   * Close when an acknowledgement names an index that was never sent, more indices than any does, or no channel, as the
   * cameras do (docs/protocol/pppp.md, "Acknowledgement"). @default false
   */
  closeOnBadAck?: boolean;
  /** Copies of CLOSE when the session is closed; the cameras send one. @default 3 */
  closeCopies?: number;
}

export interface ResolvedSessionOptions extends Required<Omit<SessionOptions, 'aliveIntervalMs' | 'aliveLimit'>> {
  keepAlive: MonitorTimes;
}

/** A timer of the platform may fire this much before its time: what is due so soon is done at once. */
export const EARLY_MS = 0.5;

/** A CLOSE is not acknowledged (docs/protocol/pppp.md, "Closing"). */
const CLOSE_COPIES = 3;

/** Below our own receive window of 1024, so that a peer like ourselves never has to refuse a packet. */
const ADAPTIVE_WINDOW = 1000;

/** What the vendor's library keeps in flight (docs/protocol/pppp.md, "Sending"). */
const DEVICE_WINDOW = 110;

/** See docs/protocol/pppp.md, "Keep-alive". */
const ALIVE_INTERVAL_MS = 1_020;
const ALIVE_LIMIT = 7;

/** One object for all sessions: thousands are held at the same time. */
const DEFAULT_KEEP_ALIVE: MonitorTimes = keepAliveTimes(ALIVE_INTERVAL_MS, ALIVE_LIMIT);

export function resolveSessionOptions(options: SessionOptions): ResolvedSessionOptions {
  const { sending = 'adaptive', aliveIntervalMs, aliveLimit } = options;
  return {
    keepAlive:
      aliveIntervalMs === undefined && aliveLimit === undefined
        ? DEFAULT_KEEP_ALIVE
        : keepAliveTimes(aliveIntervalMs ?? ALIVE_INTERVAL_MS, aliveLimit ?? ALIVE_LIMIT),
    ackDelayMs: options.ackDelayMs ?? 10,
    sending,
    maxWindow: options.maxWindow ?? (sending === 'adaptive' ? ADAPTIVE_WINDOW : DEVICE_WINDOW),
    receiveBudgetBytes: options.receiveBudgetBytes ?? 1024 * 1024,
    highWaterBytes: options.highWaterBytes ?? 256 * 1024,
    closeOnBadAck: options.closeOnBadAck ?? false,
    closeCopies: options.closeCopies ?? CLOSE_COPIES,
  };
}

/** Times of the suspicion machine for one ALIVE per interval without a datagram, and `limit` unanswered ones. */
function keepAliveTimes(intervalMs: number, limit: number): MonitorTimes {
  return {
    ...DEFAULT_MONITOR_TIMES,
    onlyWhenSilent: true,
    startIntervalMs: intervalMs,
    activeIntervalMs: intervalMs,
    idleIntervalMs: intervalMs,
    minProbeLimitMs: intervalMs,
    maxProbeLimitMs: intervalMs,
    trustMs: Number.POSITIVE_INFINITY,
    suspectAfter: limit,
    deadAfter: limit,
  };
}
