/** How a session sends: our own way, or as the recorded cameras do (spec §7.3). */
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
  /** Close when an acknowledgement names an index that was never sent, as the cameras do. @default false */
  closeOnBadAck?: boolean;
}

export type ResolvedSessionOptions = Required<SessionOptions>;

/** A timer of the platform may fire this much before its time: what is due so soon is done at once. */
export const EARLY_MS = 0.5;

/** Below our own receive window of 1024, so that a peer like ourselves never has to refuse a packet. */
const ADAPTIVE_WINDOW = 1000;

/** What the vendor's library keeps in flight (spec §7.3). */
const DEVICE_WINDOW = 110;

export function resolveSessionOptions(options: SessionOptions): ResolvedSessionOptions {
  const sending = options.sending ?? 'adaptive';
  return {
    aliveIntervalMs: options.aliveIntervalMs ?? 1020,
    aliveLimit: options.aliveLimit ?? 7,
    ackDelayMs: options.ackDelayMs ?? 10,
    sending,
    maxWindow: options.maxWindow ?? (sending === 'adaptive' ? ADAPTIVE_WINDOW : DEVICE_WINDOW),
    receiveBudgetBytes: options.receiveBudgetBytes ?? 1024 * 1024,
    highWaterBytes: options.highWaterBytes ?? 256 * 1024,
    closeOnBadAck: options.closeOnBadAck ?? false,
  };
}
