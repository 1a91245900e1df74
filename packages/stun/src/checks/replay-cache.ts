import type { Endpoint } from '@towpath/net';
import type { StunMessage } from '../message/stun-message.ts';

/** Requests that are remembered: a minute at the highest rate that is answered in practice (8 per second). */
const MAX_REMEMBERED = 512;

/**
 * Tells a repeated request (same source, answered again) from a copied one (other source, ignored). An attacker on
 * the path can copy a signed request; without this check, such copies with forged source addresses would be probed.
 */
export class ReplayCache {
  /** By transaction id, in order of arrival: where it came from. */
  readonly #seen = new Map<string, Endpoint>();

  /** Takes a request whose integrity was verified. */
  classify({ transactionId }: StunMessage, from: Endpoint): 'fresh' | 'repeated' | 'copied' {
    const id = Buffer.from(transactionId).toString('latin1');
    const source = this.#seen.get(id);
    if (source !== undefined) {
      return source.address === from.address && source.port === from.port ? 'repeated' : 'copied';
    }
    this.#seen.set(id, { address: from.address, port: from.port });
    if (this.#seen.size > MAX_REMEMBERED) this.#seen.delete(this.#seen.keys().next().value!);
    return 'fresh';
  }
}
