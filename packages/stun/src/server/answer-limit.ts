import { type Clock, RateLimit } from '@towpath/core';
import { subnetOf } from '@towpath/net';

export interface AnswerLimitOptions {
  /** Answers to one network (IPv4 /24, IPv6 /56) per second, with a burst of twice that. */
  perNetworkPerSecond: number;
  /** Answers to all networks together per second. */
  perSecond: number;
}

/** Sources within a network of this size share a limit: one host can send from all of it. */
const IPV6_PREFIX_LENGTH = 56;

/** Seconds of the rate that a network may use at once. */
const BURST_SECONDS = 2;

/**
 * Limits how many answers unauthenticated requests get, so that the server is no use as an amplifier or reflector with
 * forged source addresses. Memory is bounded.
 */
export class AnswerLimit {
  readonly #perNetwork: RateLimit | undefined;
  readonly #total: RateLimit | undefined;

  /** @param options rates; `Infinity` is no limit. */
  constructor(components: { clock: Clock }, { perNetworkPerSecond, perSecond }: AnswerLimitOptions) {
    const limit = (rate: number) =>
      Number.isFinite(rate) ? new RateLimit(components, { perSecond: rate, burst: BURST_SECONDS * rate }) : undefined;
    this.#perNetwork = limit(perNetworkPerSecond);
    this.#total = limit(perSecond);
  }

  /** Whether {@link allow} would be true; takes nothing. */
  allows(address: string): boolean {
    return (this.#perNetwork?.waitMs(networkOf(address)) ?? 0) <= 0 && (this.#total?.waitMs() ?? 0) <= 0;
  }

  /** Takes one answer to `address`; false when the limit is reached. */
  allow(address: string): boolean {
    if (this.#perNetwork?.take(networkOf(address)) === false) return false;
    return this.#total?.take() ?? true;
  }
}

function networkOf(address: string): string {
  if (!address.includes(':')) return address.slice(0, address.lastIndexOf('.'));
  return subnetOf(address.split('%')[0]!, IPV6_PREFIX_LENGTH)?.address ?? address;
}
