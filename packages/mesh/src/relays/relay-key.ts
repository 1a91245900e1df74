import { createHash } from 'node:crypto';

/** Names a relay in signals: 16 hexadecimal digits. */
export type RelayKey = string;

const KEY_BYTES = 8;

/** The key of a relay: the first bytes of its id's SHA-256, so that every relay takes the same room in a signal. */
export function relayKey(id: string): RelayKey {
  return createHash('sha256')
    .update(id)
    .digest('hex')
    .slice(0, 2 * KEY_BYTES);
}

/** Orders relays that are alike, differently for each pair, so that the load is spread; the same on both ends. */
export function pairOrder(pair: string, key: RelayKey): string {
  return createHash('sha256').update(`${pair} ${key}`).digest('hex');
}
