import type { Endpoint } from '@towpath/net';
import type { StunMessage } from '../message/stun-message.ts';

/** Requests that are remembered: a minute at the highest rate that is answered in practice (8 per second). */
const MAX_REMEMBERED = 512;
/** Places at first; doubled when they are used up, because most peers are idle. */
const FIRST_PLACES = 8;

/**
 * Tells a repeated request (same source, answered again) from a copied one (other source, ignored). An attacker on
 * the path can copy a signed request; without this check, such copies with forged source addresses would be probed.
 *
 * There is one for each peer, so it is compact: 6 bytes for each request. Of a transaction id a sum of 32 bits is kept. Of
 * 8 million new requests with random ids one has the sum of a remembered one and is taken for it; a copy is never taken for new.
 */
export class ReplayCache {
  /** Rings of the same length: the sum of the transaction id, and the place of its source in `#sources`. */
  #sums = new Uint32Array(0);
  #from = new Uint16Array(0);
  #size = 0;
  #next = 0;
  /** Each source once; undefined where nothing remembered comes from it any more. */
  readonly #sources: (Endpoint | undefined)[] = [];

  /** Requests that are remembered. */
  get size(): number {
    return this.#size;
  }

  /** Takes a request whose integrity was verified. */
  classify({ transactionId }: Pick<StunMessage, 'transactionId'>, from: Endpoint): 'fresh' | 'repeated' | 'copied' {
    const sum = sumOf(transactionId);
    const at = this.#sums.indexOf(sum);
    // Places that were never used hold zeros.
    if (at >= 0 && at < this.#size) {
      const source = this.#sources[this.#from[at]!];
      return source?.address === from.address && source.port === from.port ? 'repeated' : 'copied';
    }
    this.#remember(sum, from);
    return 'fresh';
  }

  #remember(sum: number, from: Endpoint): void {
    if (this.#size === this.#sums.length && this.#size < MAX_REMEMBERED) this.#grow();
    const at = this.#next;
    const replaced = at < this.#size ? this.#from[at]! : undefined;
    this.#sums[at] = sum;
    this.#from[at] = this.#placeOf(from);
    this.#size = Math.max(this.#size, at + 1);
    this.#next = (at + 1) % MAX_REMEMBERED;
    if (replaced !== undefined && !this.#from.includes(replaced)) this.#sources[replaced] = undefined;
  }

  #grow(): void {
    const places = Math.min(MAX_REMEMBERED, Math.max(FIRST_PLACES, 2 * this.#sums.length));
    const [sums, from] = [new Uint32Array(places), new Uint16Array(places)];
    sums.set(this.#sums);
    from.set(this.#from);
    this.#sums = sums;
    this.#from = from;
  }

  #placeOf({ address, port }: Endpoint): number {
    const known = this.#sources.findIndex((each) => each?.port === port && each.address === address);
    if (known >= 0) return known;
    const free = this.#sources.indexOf(undefined);
    const place = free >= 0 ? free : this.#sources.length;
    this.#sources[place] = { address, port };
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
