import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { type SigningKey, signingKeyFromSeed } from '@towpath/membership';

const KEY_BYTES = 32;

/**
 * What a relay and a control server derive from the secret of TURN credentials that both have, so that the relay can ask who
 * was removed: docs/protocol/control.md, "Removed members".
 */
export interface RelayKey {
  /** Signs the relay's requests. */
  readonly signing: SigningKey;
  /** Proves that the owner of the secret answered `removed` to the request with this challenge. */
  prove(challenge: string, removed: readonly string[]): string;
}

export function relayKey(secret: string): RelayKey {
  const derive = (info: string) => new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), info, KEY_BYTES));
  const proving = derive('towpath relay answer v1');
  return {
    signing: signingKeyFromSeed(derive('towpath relay key v1')),
    prove: (challenge, removed) =>
      createHmac('sha256', proving)
        .update(`${challenge}\n${removed.join(',')}`)
        .digest('base64url'),
  };
}

/** Whether two proofs are the same, in constant time. */
export function sameProof(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
