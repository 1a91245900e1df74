import { type Clock, type Rate, RateLimit, SparseMap } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';

/** What checks may send. Defaults keep a third party whose address a peer names from more than a few small datagrams. */
export interface CheckLimits {
  /** Remote endpoints known at once. @default 64 */
  maxRemotes?: number;
  /** Checks to an endpoint that never answered. @default 7 */
  probesPerRemote?: number;
  /** One more of these comes back after this time, ms. @default 5000 */
  probeRefillMs?: number;
  /** Checks to all endpoints of one address that never answered, together. @default 64 */
  probesPerAddress?: number;
  /** Checks to all endpoints together, per second; more wait for their turn. @default 50 */
  probesPerSecond?: number;
  /** Answers per second; more requests are ignored. @default 200 */
  answersPerSecond?: number;
}

const DEFAULTS: Required<CheckLimits> = {
  maxRemotes: 64,
  probesPerRemote: 7,
  probeRefillMs: 5_000,
  probesPerAddress: 64,
  probesPerSecond: 50,
  answersPerSecond: 200,
};

/** Rates of the limits that are the same for every peer. */
const DEFAULT_RATES = ratesOf(DEFAULTS);

/** Addresses with extra requests that are remembered. */
const MAX_EXTRA_ADDRESSES = 64;

/** Keeps count of what the checks of one peer may still send. */
export class ProbeBudget {
  readonly limits: Required<CheckLimits>;
  readonly #remotes: RateLimit;
  readonly #addresses: RateLimit;
  readonly #total: RateLimit;
  readonly #answers: RateLimit;
  /** Requests beyond the budget, by address. */
  readonly #extra = new SparseMap<string, number>();

  constructor(components: { clock: Clock }, limits: CheckLimits) {
    const isDefault = Object.keys(limits).length === 0;
    this.limits = isDefault ? DEFAULTS : { ...DEFAULTS, ...limits };
    const rates = isDefault ? DEFAULT_RATES : ratesOf(this.limits);
    this.#remotes = new RateLimit(components, rates.remotes);
    this.#addresses = new RateLimit(components, rates.addresses);
    this.#total = new RateLimit(components, rates.total);
    this.#answers = new RateLimit(components, rates.answers);
  }

  /** Takes one request to an endpoint that has not answered yet. */
  takeUnverified(remote: Endpoint): boolean {
    if (!this.#remotes.take(formatEndpoint(remote))) return false;
    return this.takeGranted(remote.address) || this.#addresses.take(remote.address);
  }

  /** Allows `count` more requests to an address, for a search among its ports that the caller has budgeted. */
  grant(address: string, count: number): void {
    const extra = this.#extra.get(address) ?? 0;
    this.#extra.delete(address);
    this.#extra.set(address, extra + count);
    const [oldest] = this.#extra.keys();
    if (this.#extra.size > MAX_EXTRA_ADDRESSES && oldest !== undefined) this.#extra.delete(oldest);
  }

  /** Takes one request of those that {@link grant} has allowed to an address. */
  takeGranted(address: string): boolean {
    const extra = this.#extra.get(address) ?? 0;
    if (extra === 0) return false;
    if (extra === 1) this.#extra.delete(address);
    else this.#extra.set(address, extra - 1);
    return true;
  }

  /** Takes a place in the order of all requests. Returns 0, or how long to wait before asking again, ms. */
  pace(): number {
    return this.#total.take() ? 0 : Math.max(1, this.#total.waitMs());
  }

  takeAnswer(): boolean {
    return this.#answers.take();
  }
}

function ratesOf(limits: Required<CheckLimits>): Record<'remotes' | 'addresses' | 'total' | 'answers', Rate> {
  const { probesPerRemote, probesPerAddress, probeRefillMs, probesPerSecond, answersPerSecond } = limits;
  const refill = 1_000 / probeRefillMs;
  return {
    remotes: { perSecond: refill, burst: probesPerRemote },
    addresses: { perSecond: refill, burst: probesPerAddress },
    total: { perSecond: probesPerSecond, burst: Math.max(1, probesPerSecond) },
    answers: { perSecond: answersPerSecond, burst: Math.max(1, answersPerSecond) },
  };
}
