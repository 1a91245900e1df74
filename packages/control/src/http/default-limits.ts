import type { BufferLimits } from './buffered-memory.ts';
import type { ConnectionLimitOptions } from './connection-limits.ts';
import type { RequestLimits } from './request-guard.ts';

/** One connection gets log and announcements of a party of a thousand, at their largest. */
export const DEFAULT_BUFFERS: BufferLimits = {
  perConnectionBytes: 8_388_608,
  perAddressBytes: 33_554_432,
  totalBytes: 268_435_456,
};
/** For nodes that share an address behind a NAT, and little for strangers. */
export const DEFAULT_CONNECTIONS: ConnectionLimitOptions = {
  total: 20_000,
  perAddress: 1_024,
  unprovenTotal: 2_048,
  unprovenPerAddress: 128,
};
/** Of requests over HTTP. */
export const DEFAULT_LIMITS: RequestLimits = {
  perAddress: { perSecond: 200, burst: 2_000 },
  perNode: { perSecond: 20, burst: 200 },
  creations: { perSecond: 0.5, burst: 50 },
};
