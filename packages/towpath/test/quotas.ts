import type { SharedQuotas } from '../src/commands/relay/quotas.ts';

/** Quotas that nothing reaches. */
export const NO_QUOTAS: SharedQuotas = {
  party: { allocations: 1_000, bytesPerSecond: 1e9 },
  founder: { allocations: 1_000, bytesPerSecond: 1e9 },
};
