import type { Endpoint } from '@towpath/net';
import type { StunMessage } from '../message/stun-message.ts';

/** Requests that are remembered: a minute at the highest rate that is answered in practice (8 per second). */
const MAX_REMEMBERED = 512;
/** Sources at once, each request's and that of a new one. */
const MAX_SOURCES = 2 * MAX_REMEMBERED;

/**
 * Tells a repeated request (same source, answered again) from a copied one (other source, ignored). An attacker on
 * the path can copy a signed request; without this check, such copies with forged source addresses would be probed.
 *
 * There is one for each peer, so it is compact: one number for each request. Of a transaction id a sum of 32 bits is kept. Of
 * 8 million new requests with random ids one has the sum of a remembered one and is taken for it; a copy is never taken for new.
 */
export class ReplayCache {
  /** A ring of the sum of the transaction id, times {@link MAX_SOURCES}, plus the place of the source in `#sources`. */
  #requests: number[] = [];
  #next = 0;
  /** Each source once; undefined where nothing remembered comes from it any more. */
  #sources: (Endpoint | undefined)[] = [];

  /** Requests that are remembered. */
  get size(): number {
    return this.#requests.length;
  }

  /** Takes a request whose integrity was verified. */
  classify({ transactionId }: Pick<StunMessage, 'transactionId'>, from: Endpoint): 'fresh' | 'repeated' | 'copied' {
    const least = sumOf(transactionId) * MAX_SOURCES;
    const known = this.#requests.find((request) => request >= least && request < least + MAX_SOURCES);
    if (known !== undefined) {
      const source = this.#sources[known - least];
      return source?.address === from.address && source.port === from.port ? 'repeated' : 'copied';
    }
    this.#remember(least, from);
    return 'fresh';
  }

  #remember(least: number, from: Endpoint): void {
    const request = least + this.#placeOf(from);
    if (this.#requests.length < MAX_REMEMBERED) {
      // A copy has no room for more than it holds.
      this.#requests = this.#requests.concat([request]);
      return;
    }
    const replaced = this.#requests[this.#next]!;
    this.#requests[this.#next] = request;
    this.#next = (this.#next + 1) % MAX_REMEMBERED;
    const place = replaced % MAX_SOURCES;
    if (!this.#requests.some((request) => request % MAX_SOURCES === place)) this.#sources[place] = undefined;
  }

  #placeOf({ address, port }: Endpoint): number {
    const known = this.#sources.findIndex((each) => each?.port === port && each.address === address);
    if (known >= 0) return known;
    const free = this.#sources.indexOf(undefined);
    const place = free >= 0 ? free : this.#sources.length;
    // A copy has no room for more than it holds: most peers have one source.
    if (free < 0) this.#sources = this.#sources.concat([{ address, port }]);
    else this.#sources[place] = { address, port };
    return place;
  }
}

/** Ids that differ in their last 32 bits alone have different sums: they may be counters. */
function sumOf(id: Uint8Array): number {
  const words = new DataView(id.buffer, id.byteOffset, id.length);
  const mixed =
    Math.imul(words.getInt32(0), 0x9e37_79b1) ^ Math.imul(words.getInt32(4), 0x85eb_ca77) ^ words.getInt32(8);
  return mixed >>> 0;
}
